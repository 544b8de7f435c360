"""States that JAX computes for all rows at once, against those that default.qubit computes one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.operation import Operator
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.templates import fuse
from pennylane_qexec.executors.jax.compiler import Functions, Platform, padded
from pennylane_qexec.executors.jax.functions import exact
from pennylane_qexec.executors.jax.simulation import steps_of


def one_wire(a: float, b: float) -> Sequence[Operator]:
    return [qml.H(0), qml.RX(a, 0), qml.S(0), qml.Rot(a, b, 0.3, 1), qml.RY(b, 0), qml.adjoint(qml.T(1)), qml.X(1)]


def several_wires(a: float, b: float) -> Sequence[Operator]:
    return [
        *(qml.RY(a, 2), qml.CNOT([2, 0]), qml.SWAP([0, 1]), qml.CRX(b, [1, 2]), qml.CZ([0, 2])),
        *(qml.IsingXY(a, [2, 0]), qml.Toffoli([2, 1, 0]), qml.SingleExcitation(b, [0, 2]), qml.CY([2, 0])),
    ]


def large_ones(a: float, b: float) -> Sequence[Operator]:
    return [
        *(qml.RY(a, wire) for wire in range(5)),
        *(qml.DoubleExcitation(b, [3, 0, 2, 1]), qml.MultiRZ(a, range(5)), qml.PauliRot(b, "XYZ", [4, 0, 2])),
        *(qml.ctrl(qml.RX(a, 1), [3, 0, 2, 4], [1, 0, 1, 1]), qml.GlobalPhase(a), qml.GlobalPhase(b, 2)),
    ]


def prepared(a: float, b: float) -> Sequence[Operator]:
    vector = np.array([0.6, 0, 0, 0.8j])
    unitary = qml.IsingXX.compute_matrix(0.3)
    return [qml.StatePrep(vector, [2, 0]), qml.RX(a, 2), qml.QubitUnitary(unitary, [1, 2]), qml.CRY(b, [0, 1])]


SLOW = pytest.param(large_ones, marks=pytest.mark.slow)


@pytest.mark.slow
@pytest.mark.parametrize("operations", [one_wire, several_wires, prepared, SLOW])
def test_states_are_those_of_default_qubit(operations: Callable[[float, float], Sequence[Operator]]) -> None:
    angles = [(0.3, 1.1), (-0.7, 0.4), (2.0, -1.3)]
    batch = [QuantumScript(list(operations(*row)), [qml.state()]) for row in angles]
    (group,) = fuse(batch)
    functions = Functions(lambda: exact(group.template), Platform("cpu"), None)
    functions.compile(3)
    ((states,),) = functions.run(group.parameters)
    assert np.allclose(states, qml.execute(batch, qml.device("default.qubit")), rtol=0, atol=1e-12)


def test_a_large_batch_uses_what_was_compiled_for_a_smaller_large_one() -> None:
    rng = np.random.default_rng(0)
    batch = [QuantumScript([qml.RX(rng.uniform(), 0)], [qml.expval(qml.Z(0))]) for _ in range(300)]
    (group,) = fuse(batch)
    functions = Functions(lambda: exact(group.template), Platform("cpu"), None)
    functions.compile(128)
    assert functions.ready(300)
    assert not functions.ready(20)
    values = np.concatenate([chunk for (chunk,) in functions.run(group.parameters)])
    assert np.allclose(values, np.cos(group.parameters[:, 0]), rtol=0, atol=1e-12)


def test_operations_on_one_wire_wait_for_the_next_that_joins_it_with_others() -> None:
    operations: list[Any] = [qml.RX(0.1, 0), qml.H(1), qml.RZ(0.2, 0), qml.CNOT([0, 2]), qml.RX(0.3, 0)]
    steps = [step.operations for step in steps_of(operations)]
    assert steps == [(0, 2), (3,), (1,), (4,)]


def test_batches_are_padded_to_a_few_sizes_that_are_not_much_larger() -> None:
    sizes = {padded(rows) for rows in range(1, 1025)}
    assert len(sizes) == 29
    assert all(rows <= padded(rows) <= (1.25 if rows > 15 else 2) * rows for rows in range(1, 1025))
