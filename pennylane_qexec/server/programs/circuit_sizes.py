"""How large circuits are, said by a file before it is read, and counted after."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pennylane_qexec.server.limits import Limits
from pennylane_qexec.server.programs.tasks import INVALID, ProgramError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_LEAST_QPY = 13
"""The oldest QPY that is read: expressions of older versions are parsed by SymPy or symengine (CVE-2025-2000)."""


def check_qpy(content: bytes, limits: Limits, programs: int = 1) -> None:
    """Refuse a file of circuits that says that they are too large: a few bytes may ask for any memory, and end Python.

    Args:
        content: in Qiskit's format QPY.
        limits: how large the circuits may be.
        programs: how many there must be.

    Raises:
        ProgramError: they are, or it is no QPY, of an old version, or of another number of circuits; or it has gates
            that would be read as others.
    """
    from qiskit.qpy import formats

    from pennylane_qexec.circuits.qiskit.open_controls import are_lost

    try:
        (magic,) = struct.unpack_from("!6s", content)
        if magic != b"QISKIT":
            raise ProgramError("a circuit of the payload is damaged: it is no QPY.", INVALID)
        file = formats.FILE_HEADER_V10(*struct.unpack_from(formats.FILE_HEADER_V10_PACK, content))
        if file.qpy_version < _LEAST_QPY:
            raise ProgramError(
                f"a circuit of the payload is in version {file.qpy_version} of QPY: versions from {_LEAST_QPY} on are "
                "read here. Take a newer version of Qiskit.",
                INVALID,
            )
        # before version 16, nothing says where another circuit than the first one begins
        if file.num_programs != programs or (programs > 1 and file.qpy_version < 16):
            raise ProgramError(f"a file of circuits has {file.num_programs} in it, in place of {programs}.", INVALID)
        place = formats.FILE_HEADER_V10_SIZE + formats.TYPE_KEY_SIZE
        starts = [place]
        if file.qpy_version >= 16:
            starts = list(struct.unpack_from(f"!{programs}{formats.CIRCUIT_TABLE_ENTRY_PACK[1:]}", content, place))
        for start in starts:
            said = formats.CIRCUIT_HEADER_V12(*struct.unpack_from(formats.CIRCUIT_HEADER_V12_PACK, content, start))
            _check_bits(said.num_qubits, said.num_clbits, limits)
            if said.num_instructions > limits.operations:
                raise _too_many(limits)
    except struct.error:
        raise ProgramError("a circuit of the payload is damaged: its file ends too early.", INVALID) from None
    if are_lost(content):
        raise ProgramError(
            "a circuit has a gate with several controls of which some are open, which this version of Qiskit would "
            "read as closed ones: transpile the circuit, or put X gates before and after these controls.",
            INVALID,
        )


def check_circuits(circuits: Iterable[QuantumCircuit], limits: Limits) -> None:
    """Refuse circuits that are too large, alone or together.

    Raises:
        ProgramError: they are.
    """
    left = limits.operations
    for circuit in circuits:
        _check_bits(circuit.num_qubits, circuit.num_clbits, limits)
        left -= _operations(circuit, {})
        if left < 0:
            raise _too_many(limits)


def _check_bits(qubits: int, clbits: int, limits: Limits) -> None:
    for count, most, what in ((qubits, limits.qubits, "qubits"), (clbits, limits.clbits, "classical bits")):
        if count > most:
            raise ProgramError(f"a circuit has {count:,} {what}: at most {most:,} are taken.", INVALID)


def _too_many(limits: Limits) -> ProgramError:
    return ProgramError(
        f"the circuits of the job have more than {limits.operations:,} operations, which is the most here. Make "
        "several jobs of them.",
        INVALID,
    )


def _operations(circuit: QuantumCircuit, known: dict[int, int]) -> int:
    """How many operations a circuit has, those in control flow and in definitions of a user's own included.

    Definitions that use each other are small in a payload, and can be larger than any memory once they are expanded.

    Args:
        circuit: the circuit.
        known: the counts of the definitions that were counted, by the definition's ``id``; filled.
    """
    if id(circuit) not in known:
        count = len(circuit.data)
        for instruction in circuit.data:
            if not instruction.is_standard_gate():
                count += sum(_operations(part, known) for part in _parts(instruction.operation))
        known[id(circuit)] = count
    return known[id(circuit)]


def _parts(operation: Any) -> Sequence[QuantumCircuit]:
    """The circuits that an operation is made of, as far as they came with it."""
    from qiskit.circuit import ControlFlowOp, ControlledGate, Gate, Instruction

    if isinstance(operation, ControlFlowOp):
        blocks: Sequence[QuantumCircuit] = operation.blocks
        return blocks
    if type(operation) in (Gate, Instruction, ControlledGate) and operation.definition is not None:
        return [operation.definition]
    return []
