"""Gates of which Qiskit, up to some version, loses something when it reads a file of circuits: their open controls.

https://github.com/Qiskit/qiskit/issues/11377 describes it. Importing this imports Qiskit.
"""

from __future__ import annotations

import io
import re
import struct
from functools import lru_cache
from typing import Any

from qiskit import QuantumCircuit, qpy
from qiskit.circuit import ControlledGate, Gate, Instruction
from qiskit.circuit.library import MCXGate
from qiskit.qpy import formats

_KINDS = ("MCPhaseGate", "MCU1Gate", "MCXGrayCode", "MCXGate", "MCXRecursive", "MCXVChain")
_NAMES = re.compile("|".join(_KINDS).encode())


def would_be_lost(operation: Any) -> bool:
    """Whether an operation, or something in its definition, would be another one after it was written and read."""
    if type(operation).__name__ in _KINDS:
        closed = operation.ctrl_state == 2**operation.num_ctrl_qubits - 1
        return not closed or bool(getattr(operation, "_dirty_ancillas", False))
    if type(operation) not in (Gate, Instruction, ControlledGate) or operation.definition is None:
        return False
    return any(would_be_lost(item.operation) for item in operation.definition.data)


def are_lost(content: bytes) -> bool:
    """Whether a file of circuits has open controls that the installed Qiskit would read as closed ones.

    Args:
        content: in the format QPY, version 5 or newer.
    """
    return _has_open_controls(content) and _loses_open_controls()


def _has_open_controls(content: bytes) -> bool:
    size = formats.CIRCUIT_INSTRUCTION_V2_SIZE
    for name in _NAMES.finditer(content):
        if name.start() < size:
            continue
        said = struct.unpack_from(formats.CIRCUIT_INSTRUCTION_V2_PACK, content, name.start() - size)
        head = formats.CIRCUIT_INSTRUCTION_V2(*said)
        if head.name_size != len(name[0]) or not 0 < head.num_ctrl_qubits <= head.num_qargs:
            continue
        if head.ctrl_state != 2**head.num_ctrl_qubits - 1:
            return True
    return False


@lru_cache(1)
def _loses_open_controls() -> bool:
    circuit = QuantumCircuit(4)
    circuit.append(MCXGate(3, ctrl_state=0), range(4))
    file = io.BytesIO()
    qpy.dump(circuit, file)
    (read,) = qpy.load(io.BytesIO(file.getvalue()))
    return bool(read.data[0].operation.ctrl_state != 0)
