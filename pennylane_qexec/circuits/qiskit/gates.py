"""Gates in both directions: what PennyLane's operations are in Qiskit, and what Qiskit's gates are in PennyLane.

What goes there and back is what it was. Gates of Qiskit that are not here are taken apart by Qiskit's own definitions,
which say the same up to a phase of the whole circuit. Importing this imports Qiskit, so it is imported when the first
circuit is converted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.operation import Operator
from pennylane.ops import Adjoint
from pennylane.ops.functions import bind_new_parameters
from pennylane.queuing import QueuingManager
from qiskit.circuit import Instruction, ParameterExpression
from qiskit.circuit import library as gates
from qiskit.circuit.library import UnitaryGate

Wires = Sequence[int]


# From PennyLane to Qiskit

MATRIX_WIRES = 10
"""The most wires of an operation that is passed on as a matrix."""

_SAME_FIXED: dict[type[Operator], type[Instruction]] = {
    qml.X: gates.XGate,
    qml.Y: gates.YGate,
    qml.Z: gates.ZGate,
    qml.H: gates.HGate,
    qml.S: gates.SGate,
    qml.T: gates.TGate,
    qml.SX: gates.SXGate,
    qml.SWAP: gates.SwapGate,
    qml.ISWAP: gates.iSwapGate,
    qml.ECR: gates.ECRGate,
    qml.CNOT: gates.CXGate,
    qml.CY: gates.CYGate,
    qml.CZ: gates.CZGate,
    qml.CH: gates.CHGate,
    qml.Toffoli: gates.CCXGate,
    qml.CCZ: gates.CCZGate,
    qml.CSWAP: gates.CSwapGate,
}
"""Gates without numbers that are the same in both."""

_SAME_TURNS: dict[type[Operator], type[Instruction]] = {
    qml.RX: gates.RXGate,
    qml.RY: gates.RYGate,
    qml.RZ: gates.RZGate,
    qml.PhaseShift: gates.PhaseGate,
    qml.U3: gates.UGate,
    qml.CRX: gates.CRXGate,
    qml.CRY: gates.CRYGate,
    qml.CRZ: gates.CRZGate,
    qml.ControlledPhaseShift: gates.CPhaseGate,
    qml.IsingXX: gates.RXXGate,
    qml.IsingYY: gates.RYYGate,
    qml.IsingZZ: gates.RZZGate,
}
"""Gates with numbers that are the same in both."""

_PLAIN: dict[type, Callable[..., Instruction]] = {
    **_SAME_FIXED,
    **_SAME_TURNS,
    qml.U1: gates.PhaseGate,
    qml.U2: lambda phi, delta: gates.UGate(np.pi / 2, phi, delta),
    qml.IsingXY: lambda phi: gates.XXPlusYYGate(-phi, 0),
    qml.SISWAP: lambda: gates.XXPlusYYGate(-np.pi / 2, 0),
    qml.SingleExcitation: lambda phi: gates.XXPlusYYGate(phi, -np.pi / 2),
}
"""Gates that take the numbers, and the wires in the order, of the operation."""

_INVERSE: dict[type, type[Instruction]] = {qml.S: gates.SdgGate, qml.T: gates.TdgGate, qml.SX: gates.SXdgGate}

_BY_NUMBERS = frozenset(
    {qml.CRot, qml.MultiRZ, qml.PauliRot, qml.PSWAP, qml.OrbitalRotation, qml.DoubleExcitation}
    | {qml.CPhaseShift00, qml.CPhaseShift01, qml.CPhaseShift10}
)
"""Operations that PennyLane takes apart whatever their numbers are, symbols too."""

_MATRICES = frozenset({qml.QubitUnitary, qml.DiagonalQubitUnitary})

_NOTHING = frozenset({qml.Identity, qml.Snapshot})

_SPECIAL = frozenset({qml.Rot, qml.GlobalPhase, qml.Barrier, qml.MultiControlledX, qml.StatePrep, qml.BasisState})

KINDS = frozenset(_PLAIN) | _BY_NUMBERS | _NOTHING | _SPECIAL
"""The kinds of operations that can be converted as they are, whatever is in them."""


def convertible(operation: Operator) -> bool:
    """Whether an operation can be converted as it is; else PennyLane has to take it apart first."""
    if type(operation) in _MATRICES:
        return len(operation.wires) <= MATRIX_WIRES
    if isinstance(operation, Adjoint):
        return type(operation.base) in _INVERSE
    return type(operation) in KINDS


def taken_apart(operation: Operator) -> list[Operator]:
    """What an operation that cannot be converted consists of; its matrix, if that is all that is known of it."""
    if not operation.has_decomposition and operation.has_matrix and len(operation.wires) <= MATRIX_WIRES:
        return [qml.QubitUnitary(operation.matrix(), wires=operation.wires)]
    parts = operation.decomposition()
    return [parts] if isinstance(parts, Operator) else list(parts)


def instructions(operation: Operator, numbers: Sequence[Any]) -> Iterator[tuple[Instruction, Sequence[Any]]]:
    """What an operation is in Qiskit.

    Args:
        operation: an operation that is :func:`convertible`.
        numbers: what takes the place of its data, if they are numbers: numbers or Qiskit's parameters.

    Yields:
        Instructions in order, each with the wires that it acts on, in Qiskit's order.
    """
    kind, wires = type(operation), operation.wires.tolist()
    if kind in _PLAIN:
        yield _PLAIN[kind](*map(_plain, numbers)), wires
    elif kind is qml.Rot:
        phi, theta, omega = map(_plain, numbers)
        yield gates.RZGate(phi), wires
        yield gates.RYGate(theta), wires
        yield gates.RZGate(omega), wires
    elif kind is qml.GlobalPhase:
        yield gates.GlobalPhaseGate(-_plain(numbers[0])), []
    elif kind in _BY_NUMBERS:
        with QueuingManager.stop_recording():
            parts = bind_new_parameters(operation, list(numbers)).decomposition()
        yield from chain.from_iterable(instructions(part, part.data) for part in parts)
    elif convertible(operation):
        yield from _fixed(operation)
    else:
        yield from chain.from_iterable(instructions(part, part.data) for part in taken_apart(operation))


def _fixed(operation: Operator) -> Iterator[tuple[Instruction, Sequence[Any]]]:
    """Instructions of what has no numbers: arrays, control values, barriers, matrices."""
    wires = operation.wires.tolist()
    if isinstance(operation, Adjoint) and type(operation.base) in _INVERSE:
        yield _INVERSE[type(operation.base)](), wires
    elif isinstance(operation, qml.Barrier):
        if not operation.hyperparameters["only_visual"]:
            yield gates.Barrier(len(wires)), wires
    elif isinstance(operation, qml.MultiControlledX):
        controls = operation.hyperparameters["control_values"]
        yield gates.XGate().control(len(controls), ctrl_state="".join("01"[bool(bit)] for bit in controls[::-1])), wires
    elif isinstance(operation, qml.BasisState):
        yield from (
            (gates.XGate(), [wire]) for wire, bit in zip(wires, np.asarray(operation.data[0]), strict=True) if bit
        )
    elif isinstance(operation, qml.StatePrep):
        vector = np.asarray(qml.math.toarray(operation.state_vector()), dtype=complex)
        yield gates.Initialize(vector.reshape(-1)), wires[::-1]
    elif type(operation) in _MATRICES:
        yield UnitaryGate(qml.math.toarray(operation.matrix())), wires[::-1]


def _plain(number: Any) -> Any:
    """A number as Qiskit takes it; its parameters are left as they are."""
    return number if isinstance(number, ParameterExpression) else float(np.real(qml.math.toarray(number)))


# From Qiskit to PennyLane

_FIXED: dict[str, Callable[[Wires], Operator]] = {
    **{gate().name: kind for kind, gate in _SAME_FIXED.items()},
    "sdg": lambda wires: qml.adjoint(qml.S(wires)),
    "tdg": lambda wires: qml.adjoint(qml.T(wires)),
    "sxdg": lambda wires: qml.adjoint(qml.SX(wires)),
    "cs": lambda wires: qml.ControlledPhaseShift(np.pi / 2, wires),
    "csdg": lambda wires: qml.ControlledPhaseShift(-np.pi / 2, wires),
    "csx": lambda wires: qml.ctrl(qml.SX(wires[1]), wires[0]),
}
"""Gates without numbers."""

TURNS: dict[str, Callable[..., Operator]] = {
    **{gate(*[0.0] * kind.num_params).name: kind for kind, gate in _SAME_TURNS.items()},
    "u1": qml.PhaseShift,
    "u2": qml.U2,
    "u3": qml.U3,
    "r": lambda theta, phi, wires: qml.U3(theta, phi - np.pi / 2, np.pi / 2 - phi, wires),
    "cu1": qml.ControlledPhaseShift,
    "cu3": lambda theta, phi, lam, wires: qml.ctrl(qml.U3(theta, phi, lam, wires[1]), wires[0]),
    "rzx": lambda theta, wires: qml.PauliRot(theta, "ZX", wires),
}
"""Gates with numbers, which come before the wires."""

FIXED = frozenset(_FIXED)
"""The names of the gates without numbers."""


@lru_cache(maxsize=4096)
def fixed(name: str, wires: tuple[int, ...]) -> Operator:
    """A gate without numbers on wires.

    Nobody changes operators, so that circuits share them: making one takes longer than all else that reading takes.
    """
    return _FIXED[name](wires)
