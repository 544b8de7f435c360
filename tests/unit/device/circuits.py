"""What the tests of QElectrons run, and who runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pennylane as qml
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Result

NO_RETRY = qexec.retries.backoff(attempts=1)


class Broken(qexec.Executor):
    """A backend that fails, in a function with a name that can be found in a traceback."""

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        return self.the_origin_of_the_error()

    def the_origin_of_the_error(self) -> Any:
        raise ZeroDivisionError("the fridge is warm")


def turn(angle: Any, factor: Any = 1.0) -> Any:
    qml.RX(angle * factor, 0)
    return qml.expval(qml.Z(0))


def qnode(**options: Any) -> qml.QNode:
    return qml.QNode(turn, qml.device("default.qubit", wires=1), **options)


def ansatz(x: Any) -> None:
    qml.RX(x, 0)
    qml.RY(0.7, 1)
    qml.CNOT([0, 1])
    qml.RZ(0.3, 1)
    qml.RY(0.2, 2)
