"""Files of circuits of Qiskit 2.6, rewritten as those of the version before, which older ones read too.

IBM's newest clients write circuits in the newest format that their Qiskit has, whatever a server reads. Version 18 of
QPY says what version 17 says: vectors of parameters once for each circuit, the bits of a register as a range, numbers
in the order of bytes of all else. https://quantum.cloud.ibm.com/docs/api/qiskit/qpy describes both.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from qiskit.qpy import QPY_VERSION, formats, type_keys

from pennylane_qexec.server.limits import Limits
from pennylane_qexec.server.programs.tasks import INVALID, ProgramError

NEWEST, OLDER = 18, 17
"""Versions of QPY: the newest that is read, and what is made of it for a Qiskit that knows none newer."""

_VERSION = 6  # where a file says its version
_REGISTER_PACK = "!c?IH?B"
_VECTOR_PACK = "!HQ16s"
_NOT_IN_CIRCUIT = 0xFFFFFFFF
_CONDITION = 0b11


def readable(content: bytes, limits: Limits) -> bytes:
    """A file of circuits, in a version that the installed Qiskit reads.

    Args:
        content: of the file.
        limits: how large circuits may be.

    Raises:
        ProgramError: its version is newer than 18, or it has something that is not rewritten.
        ValueError: it is damaged.
    """
    version = content[_VERSION]
    if version > max(NEWEST, QPY_VERSION):
        raise ProgramError(
            f"the circuits are in version {version} of QPY, and versions up to {NEWEST} are read here: use Qiskit 2.6.",
            INVALID,
        )
    return rewritten(content, limits) if version == NEWEST > QPY_VERSION else content


def rewritten(content: bytes, limits: Limits) -> bytes:
    """A file of version 17 with the circuits of one of version 18.

    Args:
        content: of the file.
        limits: how large circuits may be.

    Raises:
        ProgramError: it has something that is not rewritten.
        ValueError: it is damaged.
    """
    reader = _Reader(content)
    header = bytearray(reader.take(formats.FILE_HEADER_V10_SIZE + formats.TYPE_KEY_SIZE))
    header[_VERSION] = OLDER
    count = formats.FILE_HEADER_V10(*struct.unpack_from(formats.FILE_HEADER_V10_PACK, header)).num_programs
    starts = reader.many(formats.CIRCUIT_TABLE_ENTRY_PACK[1:], count)
    ends = [*starts[1:], len(content)]
    circuits = [_circuit(content[start:end], limits) for start, end in zip(starts, ends, strict=True)]
    place = len(header) + 8 * count
    table = []
    for circuit in circuits:
        table.append(place)
        place += len(circuit)
    return b"".join((header, struct.pack(f"!{count}Q", *table), *circuits))


class _Reader:
    """Reads bytes one part after the other.

    Args:
        content: what is read.
    """

    def __init__(self, content: bytes) -> None:
        self._stream = io.BytesIO(content)

    def take(self, count: int) -> bytes:
        found = self._stream.read(count)
        if len(found) != count:
            raise ValueError("a file of circuits ends too early")
        return found

    def unpack(self, pack: str) -> tuple[Any, ...]:
        return struct.unpack(pack, self.take(struct.calcsize(pack)))

    def many(self, pack: str, count: int) -> Sequence[int]:
        """Numbers of one kind."""
        found = self.take(struct.calcsize(f"!{pack}") * count)
        return struct.unpack(f"!{count}{pack}", found)

    def rest(self) -> bytes:
        return self._stream.read()


def _refused(what: str) -> ProgramError:
    return ProgramError(
        f"a circuit has {what}, which is not read here as Qiskit 2.6 writes it: transpile the circuit, or use Qiskit "
        "2.5.",
        INVALID,
    )


# Circuits


def _circuit(content: bytes, limits: Limits) -> bytes:
    reader = _Reader(content)
    header = formats.CIRCUIT_HEADER_V12(*reader.unpack(formats.CIRCUIT_HEADER_V12_PACK))
    name, phase = reader.take(header.name_size), reader.take(header.global_phase_size)
    metadata = reader.take(header.metadata_size)
    before = [_register(reader, limits) for _ in range(header.num_registers)]
    before += [_variable(reader) for _ in range(header.num_vars)]
    before.append(_annotation_states(reader))
    scope = _Scope(_vectors(reader), limits)
    phase = scope.value(header.global_phase_type, phase)
    header = header._replace(global_phase_size=len(phase))
    (definitions,) = reader.unpack(formats.CUSTOM_CIRCUIT_DEF_HEADER_PACK)
    return b"".join(
        (
            struct.pack(formats.CIRCUIT_HEADER_V12_PACK, *header),
            *(name, phase, metadata),
            *before,
            struct.pack(formats.CUSTOM_CIRCUIT_DEF_HEADER_PACK, definitions),
            *(scope.definition(reader) for _ in range(definitions)),
            *(scope.instruction(reader) for _ in range(header.num_instructions)),
            struct.pack(formats.CALIBRATION_PACK, 0),
            *_layout(reader, limits),
        )
    )


def _register(reader: _Reader, limits: Limits) -> bytes:
    kind, standalone, size, name_size, in_circuit, contiguous = reader.unpack(_REGISTER_PACK)
    if size > limits.clbits:
        raise ProgramError(f"a register has {size:,} bits: at most {limits.clbits:,} are taken.", INVALID)
    name = reader.take(name_size)
    if contiguous:
        (first,) = reader.unpack("!I")
        bits: Sequence[int] = range(first, first + size)
    else:
        bits = [-1 if bit == _NOT_IN_CIRCUIT else bit for bit in reader.many("I", size)]
    kind = b"q" if kind == b"a" else kind  # ancillas were registers as others
    head = struct.pack(formats.REGISTER_V4_PACK, kind, standalone, size, name_size, in_circuit)
    return head + name + struct.pack(f"!{size}q", *bits)


def _variable(reader: _Reader) -> bytes:
    head = reader.take(formats.EXPR_VAR_DECLARATION_SIZE)
    kind = reader.take(1)
    width = reader.take(struct.calcsize(formats.EXPR_TYPE_UINT_PACK)) if kind == type_keys.ExprType.UINT else b""
    declared = formats.EXPR_VAR_DECLARATION(*struct.unpack(formats.EXPR_VAR_DECLARATION_PACK, head))
    return head + kind + width + reader.take(declared.name_size)


def _annotation_states(reader: _Reader) -> bytes:
    (count,) = reader.unpack(formats.ANNOTATION_HEADER_STATIC_PACK)
    parts = [struct.pack(formats.ANNOTATION_HEADER_STATIC_PACK, count)]
    for _ in range(count):
        head = reader.take(formats.ANNOTATION_STATE_HEADER_SIZE)
        parts += [head, reader.take(sum(struct.unpack(formats.ANNOTATION_STATE_HEADER_PACK, head)))]
    return b"".join(parts)


def _vectors(reader: _Reader) -> list[_Vector]:
    (count,) = reader.unpack("!H")
    found = []
    for _ in range(count):
        name_size, size, root = reader.unpack(_VECTOR_PACK)
        found.append(_Vector(reader.take(name_size), size, UUID(bytes=root).int))
    return found


def _layout(reader: _Reader, limits: Limits) -> list[bytes]:
    head = reader.take(formats.LAYOUT_V2_SIZE)
    layout = formats.LAYOUT_V2(*struct.unpack(formats.LAYOUT_V2_PACK, head))
    registers = layout.extra_registers if layout.exists else 0
    return [head, *(_register(reader, limits) for _ in range(registers)), reader.rest()]


@dataclass(frozen=True)
class _Vector:
    """A vector of parameters: its name, its size, and the number of its first element."""

    name: bytes
    size: int
    root: int


@dataclass(frozen=True)
class _Scope:
    """What is in a circuit, rewritten.

    Attributes:
        vectors: of parameters, of the circuit.
        limits: how large circuits may be.
    """

    vectors: Sequence[_Vector]
    limits: Limits

    def definition(self, reader: _Reader) -> bytes:
        """That of an instruction of the user's."""
        head = formats.CUSTOM_CIRCUIT_INST_DEF_V2(*reader.unpack(formats.CUSTOM_CIRCUIT_INST_DEF_V2_PACK))
        if head.type == type_keys.CircuitInstruction.PAULI_EVOL_GATE:
            raise _refused("a PauliEvolutionGate")
        name = reader.take(head.gate_name_size)
        circuit = _circuit(reader.take(head.size), self.limits) if head.custom_definition else b""
        base = reader.take(head.base_gate_size)
        base = self.instruction(_Reader(base), placed=False) if base else b""
        head = head._replace(size=len(circuit), base_gate_size=len(base))
        return b"".join((struct.pack(formats.CUSTOM_CIRCUIT_INST_DEF_V2_PACK, *head), name, circuit, base))

    def instruction(self, reader: _Reader, placed: bool = True) -> bytes:
        """One of a circuit's; or the gate that another one controls, which has no qubits of its own."""
        head = formats.CIRCUIT_INSTRUCTION_V2(*reader.unpack(formats.CIRCUIT_INSTRUCTION_V2_PACK))
        names = reader.take(head.name_size + head.label_size)
        condition = reader.take(head.condition_register_size)
        kind = head.extras_key & _CONDITION
        if kind == type_keys.Condition.TWO_TUPLE:
            condition = _bit_or_register(condition)
        expression = _typed(reader, self.value) if kind == type_keys.Condition.EXPRESSION else b""
        bits = head.num_qargs + head.num_cargs if placed else 0
        places = reader.take(formats.CIRCUIT_INSTRUCTION_ARG_SIZE * bits)
        parameters = [_typed(reader, self.parameter) for _ in range(head.num_parameters)]
        annotated = head.extras_key & type_keys.InstructionExtraFlags.HAS_ANNOTATIONS
        annotations = _annotations(reader) if annotated else b""
        head = head._replace(condition_register_size=len(condition))
        return b"".join(
            (
                struct.pack(formats.CIRCUIT_INSTRUCTION_V2_PACK, *head),
                *(names, condition, expression, places, *parameters, annotations),
            )
        )

    def parameter(self, kind: bytes, data: bytes) -> bytes:
        """One of an instruction's."""
        if kind in (type_keys.Value.INTEGER, type_keys.Value.FLOAT):
            return data[::-1]
        if kind == type_keys.Value.REGISTER:
            return _bit_or_register(data)
        if kind == type_keys.Container.TUPLE:
            reader = _Reader(data)
            (count,) = reader.unpack(formats.SEQUENCE_PACK)
            return b"".join((data[: formats.SEQUENCE_SIZE], *(_typed(reader, self.parameter) for _ in range(count))))
        if kind == type_keys.Program.CIRCUIT:
            return _circuit(data, self.limits)
        return self.value(kind, data)

    def value(self, kind: bytes, data: bytes) -> bytes:
        """A number, a parameter, or an expression of parameters."""
        if kind == type_keys.Value.PARAMETER_VECTOR:
            return self._element(_Reader(data))
        if kind == type_keys.Value.PARAMETER_EXPRESSION:
            return self._expression(_Reader(data))
        return data

    def _element(self, reader: _Reader) -> bytes:
        index, element = reader.unpack("!HQ")
        vector = self.vectors[index]
        own = UUID(int=vector.root + element).bytes
        sizes = len(vector.name), vector.size
        return b"".join((struct.pack(formats.PARAMETER_VECTOR_ELEMENT_PACK, *sizes, own, element), vector.name))

    def _expression(self, reader: _Reader) -> bytes:
        head = formats.PARAMETER_EXPR(*reader.unpack(formats.PARAMETER_EXPR_PACK))
        steps = reader.take(head.expr_size)
        for step in struct.iter_unpack(formats.PARAM_EXPR_ELEM_V13_PACK, steps):
            if b"u" in (step[1], step[3]):
                raise _refused("a parameter that was replaced in an expression")
        parts = [struct.pack(formats.PARAMETER_EXPR_PACK, *head), steps]
        for _ in range(head.map_elements):
            entry = formats.PARAM_EXPR_MAP_ELEM_V3(*reader.unpack(formats.PARAM_EXPR_MAP_ELEM_V3_PACK))
            symbol = self._symbol(entry.symbol_type, reader)
            data = reader.take(entry.size)
            data = self._expression(_Reader(data)) if entry.type == type_keys.Value.PARAMETER_EXPRESSION else data
            entry = entry._replace(size=len(data))
            parts += [struct.pack(formats.PARAM_EXPR_MAP_ELEM_V3_PACK, *entry), symbol, data]
        return b"".join(parts)

    def _symbol(self, kind: bytes, reader: _Reader) -> bytes:
        if kind == type_keys.Value.PARAMETER_VECTOR:
            return self._element(reader)
        if kind == type_keys.Value.PARAMETER:
            head = reader.take(formats.PARAMETER_SIZE)
            name_size, _ = struct.unpack(formats.PARAMETER_PACK, head)
            return head + reader.take(name_size)
        return self._expression(reader)


def _typed(reader: _Reader, change: Callable[[bytes, bytes], bytes]) -> bytes:
    kind, size = reader.unpack(formats.INSTRUCTION_PARAM_PACK)
    data = change(kind, reader.take(size))
    return struct.pack(formats.INSTRUCTION_PARAM_PACK, kind, len(data)) + data


def _bit_or_register(data: bytes) -> bytes:
    if data[0]:
        return data[1:]
    return b"\0" + str(*struct.unpack("!I", data[1:])).encode()


def _annotations(reader: _Reader) -> bytes:
    (count,) = reader.unpack(formats.INSTRUCTION_ANNOTATIONS_HEADER_PACK)
    parts = [struct.pack(formats.INSTRUCTION_ANNOTATIONS_HEADER_PACK, count)]
    for _ in range(count):
        head = reader.take(formats.INSTRUCTION_ANNOTATION_SIZE)
        _, size = struct.unpack(formats.INSTRUCTION_ANNOTATION_PACK, head)
        parts += [head, reader.take(size)]
    return b"".join(parts)
