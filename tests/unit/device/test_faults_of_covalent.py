"""What Covalent's QElectrons got wrong, and no other test holds: one test each.

Held elsewhere: gradients and Hessians through futures (``test_run_later_gradients``), shapes of results and
measurements that crashed (``test_side_by_side``), settings that were dropped (``test_settings_of_the_qnode``), trackers
(there too), equal executors and executors of the user (``test_decorator``), a bad circuit in a batch
(``test_run_later``), threads (``test_thousands_of_calls``), the end of the program (``integration/test_leaving``),
nested clusters (``test_nested``), secrets in ``repr`` (``test_covalent_names``).
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import pennylane as qml

import pennylane_qexec as qexec
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor

PATIENCE = 60.0


def turn(x: Any) -> Any:
    qml.RX(x, 0)
    return qml.expval(qml.Z(0))


def python_calls(function: Callable[[], Any]) -> int:
    """How many functions are called inside of a function: its work, whatever the speed of the machine."""
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return calls


def test_a_call_does_not_do_much_more_than_the_qnode() -> None:
    """Theirs took 22 to 41 times as long."""
    qnode = qml.QNode(turn, qml.device("lightning.qubit", wires=1))
    circuit = qexec.qelectron(qnode, executors="lightning.qubit")
    qnode(0.1), circuit(0.1)
    assert python_calls(lambda: circuit(0.3)) < 1.5 * python_calls(lambda: qnode(0.3))


def test_run_later_does_less_in_the_calling_thread_than_a_call() -> None:
    circuit = qexec.qelectron(qml.QNode(turn, qml.device("lightning.qubit", wires=1)), executors="lightning.qubit")
    circuit(0.1), circuit.run_later(0.1).result(PATIENCE)
    assert python_calls(lambda: circuit.run_later(0.3)) < python_calls(lambda: circuit(0.3))


def test_jobs_start_at_backends_with_a_queue_before_anybody_asks_for_results() -> None:
    qpu = FakeQPU()
    circuit = qexec.qelectron(qml.QNode(turn, qml.device("default.qubit", wires=1)), executors=qpu)
    future = circuit.run_later(0.3)
    assert qpu.submitted.wait(PATIENCE)
    assert future.result(PATIENCE) == circuit(0.3)


def test_results_reach_callbacks_although_nobody_asks_for_them() -> None:
    executor = ScriptedExecutor()
    circuit = qexec.qelectron(qml.QNode(turn, qml.device("default.qubit", wires=1)), executors=executor)
    reached = threading.Event()
    circuit.run_later(0.3).add_done_callback(lambda _: reached.set())
    assert reached.wait(PATIENCE)
