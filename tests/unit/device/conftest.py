"""What the tests of QElectrons share: QNodes beside QElectrons, and QElectrons whose clusters are closed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pennylane as qml
import pytest
from beside import SEED
from circuits import turn

import pennylane_qexec as qexec


@pytest.fixture
def electron() -> Iterator[Any]:
    """A function that makes QElectrons, whose clusters are closed after the test."""
    made: list[qexec.QElectron] = []

    def make(qnode: Any, **options: Any) -> qexec.QElectron:
        made.append(qexec.qelectron(qnode, **options))
        return made[-1]

    yield make
    for one in made:
        one.cluster.close()


@pytest.fixture
def pair(electron: Any) -> Any:
    """A function that makes a QNode and a QElectron of an equal one, with simulators of the same seed.

    ``executors`` of ``True`` stands for an executor named after the QNode's device.
    """

    def make(
        function: Any,
        name: str = "default.qubit",
        executors: Any = None,
        shots: Any = None,
        wires: Any = 3,
        **options: Any,
    ) -> tuple[qml.QNode, qexec.QElectron]:
        def qnode() -> Any:
            return qml.set_shots(qml.QNode(function, qml.device(name, wires=wires, seed=SEED), **options), shots)

        named = {"type": name, "seed": SEED} if executors is True else executors
        return qnode(), electron(qnode(), executors=named)

    return make


@pytest.fixture
def circuit(electron: Any) -> qexec.QElectron:
    """A QElectron of one qubit, whose expectation value is the cosine of the angle."""
    made: qexec.QElectron = electron(qml.QNode(turn, qml.device("default.qubit", wires=1)))
    return made


@pytest.fixture
def turned_by(electron: Any) -> Callable[..., qexec.QElectron]:
    """A function that makes the QElectron run on other executors."""
    return lambda executors, **options: electron(
        qml.QNode(turn, qml.device("default.qubit", wires=1)), executors=executors, **options
    )


@pytest.fixture
def gate() -> Any:
    """An event on which executors wait, set at the latest when the test is over."""
    event = threading.Event()
    yield event
    event.set()
