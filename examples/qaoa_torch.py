"""Max-Cut by QAOA, trained with PyTorch over a cluster whose executors take circuits as they become free.

Usage: python qaoa_torch.py [STEPS]
"""

import sys

import networkx as nx
import pennylane as qml
import torch

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 15

graph = nx.Graph([(0, 1), (1, 2), (2, 3), (3, 4), (4, 0), (0, 2)])
cost, mixer = qml.qaoa.maxcut(graph)

dev = qml.device(
    "qexec.cluster",
    wires=len(graph),
    executors=[{"type": "lightning.qubit", "seed": 1}, {"type": "default.qubit", "seed": 2}],
    selector="least_loaded",
)


def ansatz(angles):
    for wire in graph:
        qml.H(wire)
    for gamma, alpha in angles:
        qml.qaoa.cost_layer(gamma, cost)
        qml.qaoa.mixer_layer(alpha, mixer)


@qml.set_shots(1000)
@qml.qnode(dev, interface="torch")
def expected_cost(angles):
    ansatz(angles)
    return qml.expval(cost)


@qml.set_shots(500)
@qml.qnode(dev)
def cuts(angles):
    ansatz(angles)
    return qml.counts()


angles = torch.full((2, 2), 0.5, dtype=torch.float64, requires_grad=True)
optimizer = torch.optim.Adam([angles], lr=0.1)
for step in range(STEPS):
    optimizer.zero_grad()
    loss = expected_cost(angles)
    loss.backward()
    optimizer.step()
    print(f"step {step:2d}  expected edges cut {-loss.item():.2f} of {graph.number_of_edges()}")

found = cuts(angles.detach())
best = max(found, key=found.get)
print(f"most frequent: {best} cuts {sum(best[a] != best[b] for a, b in graph.edges)}, in {found[best]} of 500 shots")
print(dev.history.to_dataframe().groupby("executor")["shots"].agg(circuits="count", shots="sum"))
dev.close()
