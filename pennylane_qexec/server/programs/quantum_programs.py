"""The program ``executor``: quantum programs of IBM's newer clients, whose samplers and estimators make them too.

A quantum program has items. Each is a circuit with a table of parameters, or one with a samplex, which draws parameters
at random, to twirl gates and measurements. Importing this imports Qiskit.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
from ibm_quantum_schemas.common import CompressedTensorModel
from ibm_quantum_schemas.executor.version_2_0.models import (
    ChunkPart,
    ChunkSpan,
    ItemMetadataModel,
    MetadataModel,
    QuantumProgramResultItemModel,
    QuantumProgramResultModel,
)
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.primitives import BitArray, PrimitiveResult

from pennylane_qexec.concurrency.thread_pool import tamed
from pennylane_qexec.server.programs.payloads import bounded_memory
from pennylane_qexec.server.programs.tasks import ProgramError

Arrays = dict[str, NDArray[Any]]

Sampler = Callable[[Mapping[str, Any]], PrimitiveResult]
"""Runs the parameters of a job of the program ``sampler``."""

_SHOTS_AT_A_TIME = 8 * 100_000
"""Of which bits are packed anew; a multiple of 8, so that no byte is in two parts."""


class Item(Protocol):
    """A part of a quantum program.

    Attributes:
        circuit: that is run.
        shape: of its results, but for their own axes; the circuit is run once for each element.
    """

    @property
    def circuit(self) -> QuantumCircuit: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def drawn(self, rng: np.random.Generator) -> tuple[NDArray[np.float64], Arrays]:
        """What the circuit is run with, and what results have besides what is measured.

        Args:
            rng: draws what is random.

        Returns:
            Values of the circuit's parameters, of the item's shape and an axis of parameters more; and arrays by names.
        """
        ...


@dataclass(frozen=True)
class CircuitItem:
    """A circuit with a table of parameters.

    Attributes:
        circuit: that is run.
        values: of its parameters, on the last axis.
    """

    circuit: QuantumCircuit
    values: NDArray[np.float64]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.values.shape[:-1]

    def drawn(self, rng: np.random.Generator) -> tuple[NDArray[np.float64], Arrays]:
        return self.values, {}


@dataclass(frozen=True)
class SamplexItem:
    """A circuit with parameters that a samplex draws.

    Attributes:
        circuit: that is run.
        samplex: of samplomatic, finalized.
        arguments: of the samplex, all bound, with axes of their own.
        shape: to which the arguments' axes are broadcast; what it has more is drawn anew.
    """

    circuit: QuantumCircuit
    samplex: Any
    arguments: Any
    shape: tuple[int, ...]

    def drawn(self, rng: np.random.Generator) -> tuple[NDArray[np.float64], Arrays]:
        given = (1,) * (len(self.shape) - self.arguments.ndim) + self.arguments.shape
        swept = [axis for axis, size in enumerate(given) if size > 1]
        random = [axis for axis, size in enumerate(given) if size == 1]
        drawn = self._drawn_rows([self.shape[axis] for axis in swept], [self.shape[axis] for axis in random], rng)
        places = (*swept, *random)
        arrays = {
            name: np.moveaxis(
                np.reshape(rows, [*(self.shape[axis] for axis in places), *rows.shape[2:]]),
                range(len(places)),
                places,
            )
            for name, rows in drawn.items()
        }
        return arrays.pop("parameter_values"), arrays

    def _drawn_rows(self, swept: list[int], random: list[int], rng: np.random.Generator) -> Arrays:
        """What is drawn, with an axis of the arguments and one of the randomizations of each before its own."""
        count, arguments = math.prod(random), self.arguments
        axes = [axis for axis, size in enumerate(arguments.shape) if size > 1]
        rows: dict[str, list[NDArray[Any]]] = {}
        for place in np.ndindex(*swept):
            where = [0] * arguments.ndim
            for axis, index in zip(axes, place, strict=True):
                where[axis] = index
            one = self.samplex.sample(arguments[tuple(where)], num_randomizations=count, rng=rng, max_workers=1)
            for name, array in one.items():
                rows.setdefault(name, []).append(array)
        return {name: np.stack(arrays) for name, arrays in rows.items()}


@dataclass(frozen=True)
class QuantumProgram:
    """What a job asks for.

    Attributes:
        items: its parts.
        shots: of each circuit with each set of parameters.
        seed: of the simulation and of what is drawn; ``None`` for none.
        passthrough: JSON that comes back with the result as it is.
        role: says to the client which of its primitives has made the program.
    """

    items: tuple[Item, ...]
    shots: int
    seed: int | None
    passthrough: Any
    role: str | None


def run(program: QuantumProgram, job: str, sampler: Sampler, memory: int) -> str:
    """The result of a job, as IBM's client reads it.

    Args:
        program: of the job.
        job: its id, by which it draws if its user has given no seed. A job that is run again, after a power cut, asks a
            vendor for the same circuits, and finds those that were sent.
        sampler: runs the circuits.
        memory: bytes that may be taken while parameters are drawn.

    Raises:
        ProgramError: nothing can be drawn, or the circuits cannot be run.
        QExecError: they were not run.
    """
    drawn = _drawn(program, job, memory)
    pubs = [(item.circuit, values, program.shots) for item, (values, _) in zip(program.items, drawn, strict=True)]
    start = datetime.now(UTC)
    found = sampler({"pubs": pubs, "options": {"simulator": {"seed_simulator": program.seed}}})
    span = _span(program, start)
    results = [_item_result(arrays, one.data) for (_, arrays), one in zip(drawn, found, strict=True)]
    return _result(program, results, [span])


def dry_run(program: QuantumProgram, job: str, memory: int) -> str:
    """The result of a dry run: of the right shapes, and all 0.

    Args:
        program: of the job.
        job: its id.
        memory: bytes that may be taken while parameters are drawn.

    Raises:
        ProgramError: nothing can be drawn.
    """
    results = []
    for item, (_, arrays) in zip(program.items, _drawn(program, job, memory), strict=True):
        bits = {
            one.name: BitArray(np.zeros((*item.shape, program.shots, (one.size + 7) // 8), np.uint8), one.size)
            for one in item.circuit.cregs
        }
        results.append(_item_result({name: np.zeros_like(array) for name, array in arrays.items()}, bits))
    return _result(program, results, [])


def _drawn(program: QuantumProgram, job: str, memory: int) -> list[tuple[NDArray[np.float64], Arrays]]:
    """Of all items, in their order."""
    own = int.from_bytes(hashlib.sha256(job.encode()).digest(), "big")
    rng = np.random.default_rng(own if program.seed is None else program.seed)
    drawn = []
    for number, item in enumerate(program.items):
        try:
            with bounded_memory(memory):
                values, arrays = tamed(item.drawn, rng)  # Rust may panic
        except MemoryError:
            raise ProgramError(
                f"item {number}: drawing its parameters takes more than {memory:,} bytes of memory, which is the most "
                "here. Draw fewer in one job."
            ) from None
        except Exception as error:
            raise ProgramError(f"item {number}: its samplex cannot be drawn from: {error}") from error
        if values.shape != (*item.shape, item.circuit.num_parameters):
            raise ProgramError(
                f"item {number}: {values.shape[-1]} values are given for the {item.circuit.num_parameters} parameters "
                "of its circuit. Build circuit and samplex together."
            )
        if not np.isfinite(values).all():
            raise ProgramError(f"item {number}: the value of a parameter is not finite.")
        drawn.append((values, arrays))
    return drawn


# Results


def _result(program: QuantumProgram, results: list[QuantumProgramResultItemModel], spans: list[ChunkSpan]) -> str:
    model = QuantumProgramResultModel(
        data=results, metadata=MetadataModel(chunk_timing=spans), semantic_role=program.role
    )
    return json.dumps({**model.model_dump(mode="json"), "passthrough_data": program.passthrough})


def _span(program: QuantumProgram, start: datetime) -> ChunkSpan:
    """All items run together, from a start until now."""
    parts = []
    for number, item in enumerate(program.items):
        size = math.prod(item.shape)
        axes = list(range(len(item.shape)))
        parts.append(ChunkPart(idx_item=number, size=size, permutation=axes, element_range=(0, size, 1)))
    return ChunkSpan(start=start, stop=datetime.now(UTC), parts=parts)


def _item_result(arrays: Arrays, bits: Mapping[str, BitArray]) -> QuantumProgramResultItemModel:
    tensors = {name: CompressedTensorModel.from_numpy(array) for name, array in arrays.items()}
    tensors.update((name, _tensor(register)) for name, register in bits.items())
    return QuantumProgramResultItemModel(results=tensors, metadata=ItemMetadataModel())


def _tensor(bits: BitArray) -> CompressedTensorModel:
    """Of booleans, with an axis of shots and one of bits, from bit 0 on.

    They are packed in parts: as one array with a byte for each bit, they would take 8 times the memory.
    """
    shots = bits.array.reshape(math.prod(bits.array.shape[:-1]), bits.array.shape[-1])
    stream, parts = zlib.compressobj(), []
    for start in range(0, len(shots), _SHOTS_AT_A_TIME):
        some = np.unpackbits(shots[start : start + _SHOTS_AT_A_TIME], axis=-1)[:, ::-1][:, : bits.num_bits]
        parts.append(stream.compress(np.packbits(some, bitorder="little").tobytes()))
    data = base64.b64encode(b"".join((*parts, stream.flush()))).decode()
    return CompressedTensorModel(data=data, shape=[*bits.shape, bits.num_shots, bits.num_bits], dtype="bool")
