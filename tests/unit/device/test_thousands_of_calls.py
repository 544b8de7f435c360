"""Thousands of calls, from many threads, while others run: every result belongs to its call."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from beside import PATIENCE
from pennylane import numpy as pnp
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Result
from pennylane_qexec.testing import ScriptedExecutor

CALLS = 1000
THREADS = 16
EACH = 60
ANGLES = np.linspace(-3, 3, CALLS)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Reads(qexec.Executor):
    """Gives the angles of a circuit as results, and keeps its gates."""

    def __init__(self) -> None:
        super().__init__("reads", workers=4)
        self.gates: list[tuple[Any, ...]] = []

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        for circuit in circuits:
            self.gates.append(tuple((gate.name, tuple(gate.wires), tuple(gate.data)) for gate in circuit.operations))
        return [np.array(sum(circuit.get_parameters(trainable_only=False))) for circuit in circuits]


def turn(angle: Any) -> Any:
    qml.RX(angle, 0)
    qml.CNOT([0, 1])
    qml.RZ(2 * angle, 1)
    return qml.expval(qml.Z(1))


def gates(angle: float) -> tuple[Any, ...]:
    return (("RX", (0,), (angle,)), ("CNOT", (0, 1), ()), ("RZ", (1,), (2 * angle,)))


def qnode(**options: Any) -> qml.QNode:
    return qml.QNode(turn, qml.device("default.qubit", wires=2), **options)


def at_the_same_time(function: Any) -> list[Any]:
    """What a function of the thread's number returns in all threads, which begin together."""
    barrier = threading.Barrier(THREADS)

    def begin(number: int) -> Any:
        barrier.wait(PATIENCE)
        return function(number)

    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(begin, range(THREADS)))


def test_a_thousand_calls_of_one_thread_are_all_right(electron: Any) -> None:
    circuit = electron(qnode())
    futures = [circuit.run_later(angle) for angle in ANGLES]
    assert np.allclose(qexec.gather(futures), np.cos(ANGLES))


def test_a_thousand_waiting_calls_need_few_threads(electron: Any) -> None:
    gate = threading.Event()
    circuit = electron(qnode(), executors=ScriptedExecutor(gate=gate))
    before = threading.active_count()
    futures = [circuit.run_later(angle) for angle in ANGLES]
    assert threading.active_count() - before <= 4
    gate.set()
    assert np.allclose(qexec.gather(futures), np.cos(ANGLES))


def held_up(electron: Any) -> tuple[threading.Event, ScriptedExecutor, Any, list[Any]]:
    """A gate, the executor that waits at it with a first call, and many calls that wait for that."""
    gate = threading.Event()
    executor = ScriptedExecutor(gate=gate, workers=1)
    circuit = electron(qnode(), executors=executor)
    first = circuit.run_later(0.0)
    assert executor.started.wait(PATIENCE)
    return gate, executor, first, [circuit.run_later(angle) for angle in ANGLES]


def test_calls_that_wait_share_batches(electron: Any) -> None:
    gate, executor, first, futures = held_up(electron)
    gate.set()
    qexec.gather([first, *futures])
    assert [len(batch) for batch in executor.batches] == [1, CALLS]


def test_calls_of_sixteen_threads_are_all_right(electron: Any) -> None:
    circuit = electron(qnode(), executors=["default.qubit", "lightning.qubit", ScriptedExecutor()])

    def calls(number: int) -> Any:
        angles = number + np.arange(EACH) / EACH
        return angles, qexec.gather([circuit.run_later(angle) for angle in angles])

    for angles, results in at_the_same_time(calls):
        assert np.allclose(results, np.cos(angles))


def test_sixteen_threads_record_their_own_circuits(electron: Any) -> None:
    """Calls now and later, of one QElectron, while other threads make other circuits and tapes."""
    executor = Reads()
    circuit = electron(qnode(), executors=executor)

    def calls(number: int) -> list[Any]:
        values = []
        for index in range(EACH):
            angle = float(number * EACH + index)
            future = circuit.run_later(angle)
            with qml.queuing.AnnotatedQueue() as queue:
                qml.Hadamard(number)
            assert len(queue) == 1
            values += [(angle, future), (angle + 0.5, circuit(angle + 0.5))]
        return [(angle, value.result(PATIENCE) if isinstance(value, Future) else value) for angle, value in values]

    results = [pair for of_thread in at_the_same_time(calls) for pair in of_thread]
    assert all(float(value) == pytest.approx(3 * angle) for angle, value in results)
    assert sorted(executor.gates) == sorted(gates(angle) for angle, _ in results)


def test_sixteen_threads_differentiate_one_qelectron(electron: Any) -> None:
    circuit = electron(qnode(diff_method="parameter-shift"))

    def gradients(number: int) -> Any:
        angles = number + np.arange(5) / 5
        futures = [qexec.run_later(qml.grad(circuit), pnp.array(angle)) for angle in angles]
        plain = qml.grad(lambda angle: circuit.run_later(angle).result(PATIENCE))(pnp.array(angles[0]))
        return angles, [plain, *qexec.gather(futures)]

    for angles, (plain, *found) in at_the_same_time(gradients):
        assert float(plain) == pytest.approx(-np.sin(angles[0]))
        assert np.allclose(found, -np.sin(angles))


def test_every_thread_sees_the_tape_of_a_whole_call(electron: Any) -> None:
    circuit = electron(qnode())

    def calls(number: int) -> bool:
        circuit(float(number))
        (gate, *_) = circuit._tape.operations
        return float(gate.data[0]) in range(THREADS)

    assert all(at_the_same_time(calls))


def test_results_asked_for_in_other_threads_belong_to_their_calls(electron: Any) -> None:
    circuit = electron(qnode())
    futures = [circuit.run_later(angle) for angle in ANGLES[:200]]
    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(lambda future: future.result(PATIENCE), reversed(futures)))
    assert np.allclose(results[::-1], np.cos(ANGLES[:200]))


def test_some_of_many_calls_can_be_cancelled_while_the_others_go_on(electron: Any) -> None:
    gate, executor, first, futures = held_up(electron)
    assert all(future.cancel() for future in futures[::2])
    gate.set()
    assert np.allclose(qexec.gather([first, *futures[1::2]]), [1, *np.cos(ANGLES[1::2])])
    assert [len(batch) for batch in executor.batches] == [1, CALLS // 2]
