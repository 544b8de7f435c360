"""Six circuits sent at once to a machine that takes half a second for each, and a drawing of who ran when.

Usage: python six_circuits.py
"""

import time

import numpy as np
import pennylane as qml

import pennylane_qexec as qexec

SECONDS = 0.5


class FarAway(qexec.Executor):
    """A backend that is slow to answer, and takes six circuits at the same time."""

    def run(self, circuits):
        time.sleep(SECONDS)
        return qml.execute(circuits, qml.device("default.qubit", seed=7))


far_away = FarAway(name="far away", workers=6, max_circuits=1)


@qexec.qelectron(executors=far_away)
@qml.qnode(qml.device("default.qubit", wires=2))
def circuit(angle):
    qml.RY(angle, wires=0)
    qml.CNOT(wires=[0, 1])
    return qml.expval(qml.Z(1))


angles = np.linspace(0, np.pi, 6)
start = time.perf_counter()
futures = [circuit.run_later(angle) for angle in angles]
sent = time.perf_counter() - start
values = [future.result() for future in futures]
took = time.perf_counter() - start

outcomes = [future.outcomes[0] for future in futures]
first = min(outcome.started for outcome in outcomes)
for angle, value, outcome in zip(angles, values, outcomes, strict=True):
    before, during = (round(40 * span) for span in (outcome.started - first, outcome.finished - outcome.started))
    print(f"circuit({angle:.2f}) = {value:+.2f}  {outcome.executor}  |{' ' * before}{'=' * during}")

together = sum(outcome.started < outcomes[0].finished for outcome in outcomes)
print(f"{together} circuits ran at the same time")
print(f"sent in {sent:.2f} s, done in {took:.2f} s; one after the other would have taken {6 * SECONDS:.1f} s")
circuit.cluster.close()
