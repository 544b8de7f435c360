"""The ground-state energy of H2: all terms of the Hamiltonian at the same time, and a gradient through the futures.

Usage: python vqe_run_later.py [STEPS]
"""

import sys

import numpy as np
import pennylane as qml
from pennylane import numpy as pnp

import pennylane_qexec as qexec

STEPS = int(sys.argv[1]) if len(sys.argv) > 1 else 8

molecule = qml.qchem.Molecule(["H", "H"], np.array([[0.0, 0.0, -0.66], [0.0, 0.0, 0.66]]))
hamiltonian, wires = qml.qchem.molecular_hamiltonian(molecule)
exact = np.linalg.eigvalsh(qml.matrix(hamiltonian, wire_order=range(wires)))[0]
terms = list(zip(*hamiltonian.terms(), strict=True))
constant = sum(coefficient for coefficient, observable in terms if not observable.wires)
measured = [(coefficient, observable) for coefficient, observable in terms if observable.wires]


@qexec.qelectron(executors=["lightning.qubit", "default.qubit"], name="term")
@qml.qnode(qml.device("default.qubit", wires=wires))
def term(angle, observable):
    for electron in range(2):
        qml.X(electron)
    qml.DoubleExcitation(angle, wires=range(wires))
    return qml.expval(observable)


def energy(angle):
    futures = [(coefficient, term.run_later(angle, observable)) for coefficient, observable in measured]
    return constant + sum(coefficient * future.result() for coefficient, future in futures)


angle = pnp.array(0.0, requires_grad=True)
optimizer = qml.GradientDescentOptimizer(1.0)
for step in range(STEPS):
    angle, before = optimizer.step_and_cost(energy, angle)
    print(f"step {step:2d}  {float(before):+.6f} Ha")

found = float(energy(angle))
print(f"found {found:+.6f} Ha, exact {exact:+.6f} Ha")
print(term.history.to_dataframe().groupby("executor").agg(circuits=("batch", "count"), batches=("batch", "nunique")))
term.cluster.close()
