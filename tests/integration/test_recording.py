"""Threads record circuits while others execute, prepare, differentiate and merge on the same cluster.

Without ``concurrency.isolation``, PennyLane lets what one thread does change what another records, mostly
without an error. Here every circuit recorded is compared, operation by operation, and so is every result.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.testing import flip

pytestmark = [pytest.mark.integration, pytest.mark.slow]

RECORDERS = 2
RECORDED = 2000  # circuits by each recorder
HAMILTONIAN = qml.Hamiltonian([0.5, 0.2], [qml.Z(0) @ qml.Z(1), qml.X(0) @ qml.Y(2)])


def everything(x: Any) -> Any:
    """A quantum function with plain gates, templates, wrapped operators and composed observables."""
    for wire in range(3):
        qml.RX(x[wire], wire)
    qml.CNOT([0, 1])
    qml.adjoint(qml.S)(1)
    qml.ctrl(qml.RY, control=0)(0.1, wires=2)
    qml.QFT(wires=[0, 1, 2])
    qml.StronglyEntanglingLayers(np.full((1, 3, 3), 0.1), wires=[0, 1, 2])
    qml.cond(qml.measure(0), qml.RZ)(0.2, wires=1)
    return qml.expval(qml.Z(0) @ qml.X(1) + 0.5 * qml.Z(2)), qml.expval(HAMILTONIAN), qml.probs(wires=[0, 1])


def energy(x: Any) -> Any:
    """A quantum function whose energy and gradient are known: cos(x) and -sin(x)."""
    qml.RX(x, 0)
    qml.CNOT([0, 1])
    return qml.expval(qml.Hamiltonian([1.0], [qml.Z(1)]))


def shape(tape: QuantumScript) -> list[Any]:
    """What a recorded circuit is made of."""
    operations = [(operation.name, operation.wires.tolist()) for operation in tape.operations]
    return [operations, [repr(type(measured)) + repr(measured.wires) for measured in tape.measurements]]


def repeat(times: int) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Make a test of one thing one of many."""

    def decorate(check: Callable[[Any], None]) -> Callable[[Any], None]:
        @functools.wraps(check)
        def repeated(cluster: Any) -> None:
            for _ in range(times):
                check(cluster)

        return repeated

    return decorate


def record(cluster: Any) -> None:
    qnode = qml.QNode(everything, qml.device("default.qubit", wires=3))
    expected = shape(qml.workflow.construct_tape(qnode)(np.ones(3)))
    shapes = [shape(qml.workflow.construct_tape(qnode)(np.full(3, 0.1))) for _ in range(RECORDED)]
    wrong = [one for one in shapes if one != expected]
    assert wrong == []


@repeat(40)
def differentiate_by_shifts(cluster: Any) -> None:
    qnode = qml.QNode(energy, qexec.ClusterDevice(2, cluster=cluster), diff_method="parameter-shift")
    assert qml.grad(qnode)(qml.numpy.array(0.4, requires_grad=True)) == pytest.approx(-np.sin(0.4))


@repeat(40)
def differentiate_by_adjoint(cluster: Any) -> None:
    device = qexec.ClusterDevice(2, executors=["lightning.qubit", "default.qubit"])
    qnode = qml.QNode(energy, device, diff_method="adjoint")
    assert qml.grad(qnode)(qml.numpy.array(0.4, requires_grad=True)) == pytest.approx(-np.sin(0.4))


@repeat(60)
def execute_a_batch(cluster: Any) -> None:
    angles = 0.1 * np.arange(10)
    assert np.allclose(cluster.execute([flip(angle) for angle in angles]), np.cos(angles))


@repeat(40)
def call_a_qnode_with_shots(cluster: Any) -> None:
    qnode = qml.set_shots(qml.QNode(everything, qexec.ClusterDevice(3, cluster=cluster)), shots=20)
    first, second, probs = qnode(np.ones(3))
    assert abs(first) <= 1.5 + 1e-9
    assert abs(second) <= 0.7 + 1e-9
    assert probs.sum() == pytest.approx(1)


def split_and_merge(cluster: Any) -> None:
    executors = ["default.qubit", {"type": "lightning.qubit", "parallel": "thread"}]
    circuit = QuantumScript([qml.X(0)], [qml.counts(qml.Z(0)), qml.expval(HAMILTONIAN), qml.var(qml.Z(0))], shots=21)
    with qexec.QCluster(executors, split="uniform") as splitting:
        for _ in range(40):
            ((counts, mean, variance),) = splitting.execute([circuit])
            assert {float(key): int(value) for key, value in counts.items()} == {-1.0: 21}
            assert abs(mean) <= 0.7 + 1e-9
            assert variance == pytest.approx(0)


def make_operators(cluster: Any) -> None:
    for _ in range(20_000):
        qml.RX(0.1, 0)


@pytest.fixture
def cluster() -> Iterator[qexec.QCluster]:
    executors = [
        "lightning.qubit",
        {"type": "default.qubit", "parallel": "thread", "workers": 2},
        {"type": "default.mixed", "parallel": "thread"},
    ]
    with qexec.QCluster(executors) as opened:
        yield opened


def test_every_circuit_and_every_result_is_right_while_threads_do_everything_at_once(cluster: Any) -> None:
    others = (
        differentiate_by_shifts,
        differentiate_by_adjoint,
        execute_a_batch,
        call_a_qnode_with_shots,
        split_and_merge,
        make_operators,
    )
    with ThreadPoolExecutor(RECORDERS + len(others)) as pool:
        checks = [pool.submit(check, cluster) for check in (*[record] * RECORDERS, *others)]
    errors = [error for check in checks if (error := check.exception())]
    assert errors == []
