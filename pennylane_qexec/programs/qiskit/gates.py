"""What Qiskit's standard gates are in PennyLane.

The reverse of ``executors.qiskit.gates``: what goes there and back is what it was. Gates that are not here are taken
apart by Qiskit's own definitions, which say the same up to a phase of the whole circuit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import pennylane as qml
from pennylane.operation import Operator

Wires = Sequence[int]

_FIXED: dict[str, Callable[[Wires], Operator]] = {
    "x": qml.X,
    "y": qml.Y,
    "z": qml.Z,
    "h": qml.H,
    "s": qml.S,
    "t": qml.T,
    "sx": qml.SX,
    "sdg": lambda wires: qml.adjoint(qml.S(wires)),
    "tdg": lambda wires: qml.adjoint(qml.T(wires)),
    "sxdg": lambda wires: qml.adjoint(qml.SX(wires)),
    "cx": qml.CNOT,
    "cy": qml.CY,
    "cz": qml.CZ,
    "ch": qml.CH,
    "cs": lambda wires: qml.ControlledPhaseShift(np.pi / 2, wires),
    "csdg": lambda wires: qml.ControlledPhaseShift(-np.pi / 2, wires),
    "csx": lambda wires: qml.ctrl(qml.SX(wires[1]), wires[0]),
    "swap": qml.SWAP,
    "iswap": qml.ISWAP,
    "ecr": qml.ECR,
    "ccx": qml.Toffoli,
    "ccz": qml.CCZ,
    "cswap": qml.CSWAP,
}
"""Gates without numbers."""

TURNS: dict[str, Callable[..., Operator]] = {
    "rx": qml.RX,
    "ry": qml.RY,
    "rz": qml.RZ,
    "p": qml.PhaseShift,
    "u1": qml.PhaseShift,
    "u2": qml.U2,
    "u": qml.U3,
    "u3": qml.U3,
    "r": lambda theta, phi, wires: qml.U3(theta, phi - np.pi / 2, np.pi / 2 - phi, wires),
    "crx": qml.CRX,
    "cry": qml.CRY,
    "crz": qml.CRZ,
    "cp": qml.ControlledPhaseShift,
    "cu1": qml.ControlledPhaseShift,
    "cu3": lambda theta, phi, lam, wires: qml.ctrl(qml.U3(theta, phi, lam, wires[1]), wires[0]),
    "rxx": qml.IsingXX,
    "ryy": qml.IsingYY,
    "rzz": qml.IsingZZ,
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
