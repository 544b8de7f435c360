"""The ground-state energy of the hydrogen molecule, with shots split over three simulators.

Usage: python vqe_h2.py [STEPS]
"""

import sys

import numpy as np
import pennylane as qml
from pennylane import numpy as pnp

import pennylane_qexec as qexec

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 8
SHOTS = 4000

molecule = qml.qchem.Molecule(["H", "H"], np.array([[0.0, 0.0, -0.66], [0.0, 0.0, 0.66]]))
hamiltonian, wires = qml.qchem.molecular_hamiltonian(molecule)
exact = np.linalg.eigvalsh(qml.matrix(hamiltonian, wire_order=range(wires)))[0]

dev = qml.device(
    "qexec.cluster",
    wires=wires,
    executors=["lightning.qubit", "aer", "cirq.simulator"],
    split=qexec.splits.weighted({"lightning.qubit": 2, "aer": 1, "cirq.simulator": 1}),
)


@qml.set_shots(SHOTS)
@qml.qnode(dev)
def energy(angle):
    for electron in range(2):
        qml.X(electron)
    qml.DoubleExcitation(angle, wires=range(4))
    return qml.expval(hamiltonian)


angle = pnp.array(0.0, requires_grad=True)
optimizer = qml.GradientDescentOptimizer(0.5)
for step in range(STEPS):
    angle, before = optimizer.step_and_cost(energy, angle)
    print(f"step {step:2d}  {float(before):+.4f} Ha")

print(f"found {float(energy(angle)):+.4f} Ha, exact {exact:+.4f} Ha")
print(dev.history.to_dataframe().groupby("executor")["shots"].agg(circuits="count", shots="sum"))
dev.close()
