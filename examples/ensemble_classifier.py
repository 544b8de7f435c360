"""Three small variational classifiers learn side by side; each then votes on a simulator of its own.

Usage: python ensemble_classifier.py [STEPS]
"""

import sys

import numpy as np
import pennylane as qml
from pennylane import numpy as pnp

import pennylane_qexec as qexec

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 20
SIMULATORS = ["lightning.qubit", "default.qubit", "cirq.simulator"]

rng = np.random.default_rng(5)
points = rng.uniform(-1, 1, (110, 2))
labels = np.where(points[:, 1] > np.sin(np.pi * points[:, 0]) / 2, 1.0, -1.0)
new = slice(60, None)  # the first 60 points are known to those who learn


@qml.qnode(qml.device("default.qubit", wires=2))
def classifier(point, weights):
    for layer in weights:
        for wire in range(2):
            qml.RX(np.pi * point[..., wire], wires=wire)
            qml.Rot(*layer[wire], wires=wire)
        qml.CNOT(wires=[0, 1])
    return qml.expval(qml.Z(1))


learner = qexec.qelectron(classifier, name="learner")
voters = [qexec.qelectron(classifier, executors=qexec.Simulator(name), name=name) for name in SIMULATORS]


def learned(seed):
    """Weights that fit 40 of the known points, which go through the circuit together."""
    own = np.random.default_rng(seed)
    chosen = own.choice(60, 40, replace=False)
    weights = pnp.array(own.normal(0, 1, (3, 2, 3)), requires_grad=True)
    optimizer = qml.AdamOptimizer(0.2)
    for _ in range(STEPS):
        weights = optimizer.step(lambda w: ((learner(points[chosen], w) - labels[chosen]) ** 2).mean(), weights)
    return weights


members = qexec.gather(qexec.run_later(learned, seed) for seed in range(3))
votes = []
for voter, weights in zip(voters, members, strict=True):
    votes.append(np.sign(voter.map(points[new], [weights] * 50)))
    print(f"{voter.name:16} {np.mean(votes[-1] == labels[new]):4.0%} of the new points right")
print(f"{'the majority':16} {np.mean(np.sign(np.sum(votes, axis=0)) == labels[new]):4.0%} of the new points right")
print(f"{len(learner.history)} circuits to learn, {sum(len(voter.history) for voter in voters)} to vote")
for electron in (learner, *voters):
    electron.cluster.close()
