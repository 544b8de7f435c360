"""What is remembered of jobs that ended: a row for each circuit, and of a sweep one record, of which rows are made.

A history of thousands of circuits as PennyLane has them would be hundreds of thousands of objects, through which
Python's garbage collector looks over and over. Tuples of numbers it leaves alone, and arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from itertools import chain, islice
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from pennylane.measurements import MeasurementProcess
from pennylane.ops import Prod
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.fingerprint import fingerprint
from pennylane_qexec.circuits.structure import CONTROLLED, structure_of
from pennylane_qexec.engine.tables import OF_HISTORY, shown
from pennylane_qexec.job import Job, JobState, Sweep, Usage, shared_out


class CompactCircuit(NamedTuple):
    """A circuit of plain gates, taken apart. Circuits that differ in numbers only share all but these.

    Attributes:
        structure: what the circuit is beside its numbers, see :func:`structure_of`.
        measurements: those of its measurements that have no observable; ``None`` in place of the others.
        numbers: the numbers of all gates, one after the other.
        trainable: indices of the trainable parameters.
    """

    structure: Any
    measurements: tuple[MeasurementProcess | None, ...]
    numbers: tuple[Any, ...]
    trainable: tuple[int, ...]

    def circuit(self) -> QuantumScript:
        """The circuit, put together again."""
        kinds, targets, control_wires, measured, shots = self.structure
        numbers, controls = iter(self.numbers), iter(control_wires)
        operations = []
        for kind, labels in zip(kinds, targets, strict=True):
            wires = (*next(controls), *labels) if kind in CONTROLLED else labels
            operations.append(kind(*islice(numbers, kind.num_params), wires=wires))
        measurements = [
            _of_letters(*key) if measurement is None else measurement
            for measurement, key in zip(self.measurements, measured, strict=True)
        ]
        return QuantumScript(operations, measurements, shots=shots, trainable_params=list(self.trainable))


SmallCircuit: TypeAlias = QuantumScript | CompactCircuit | str


@dataclass(frozen=True, slots=True)
class Row:
    """One job that ended.

    Attributes:
        circuit: the circuit, as it is or taken apart, or its fingerprint.
        executor: name of the executor that had it last; ``""`` if none had taken it.
        backend: name of that executor's backend.
        shots: the shots that were run for its result, in all bases that are measured; of a job that did not end well,
            those of all attempts. 0 if analytic.
        batch: number of the batch it ran in; 0 if it ran in none.
        attempt: attempts made.
        state: how it ended.
        submitted: when it was asked for; UTC, in seconds since 1970.
        started: when its batch began.
        finished: when its batch ended.
        seconds: the job's part of the running time of its batch, so that these add up.
        cost: US dollars, for the same attempts.
        error: what went wrong last, if it did not end well.
        circuits: the circuits that the backend ran for it, in the same attempts; 0 if a cache knew the result.
        division: a number that all rows of a sweep have that ran in parts; else 0.
    """

    circuit: SmallCircuit
    executor: str
    backend: str
    shots: int
    batch: int
    attempt: int
    state: JobState
    submitted: float
    started: float
    finished: float
    seconds: float = 0.0
    cost: float = 0.0
    error: str = ""
    circuits: int = 1
    division: int = 0

    @property
    def number(self) -> int:
        """How many circuits it tells of."""
        return 1

    def rows(self) -> list[Row]:
        """It is its only row."""
        return [self]

    @property
    def fingerprint(self) -> str:
        """The circuit's fingerprint; ``""`` if it has none (see :mod:`pennylane_qexec.circuits.fingerprint`)."""
        return self.circuit if isinstance(self.circuit, str) else fingerprint_of(self.circuit)

    def to_dict(self) -> dict[str, Any]:
        """The row as the table shows it: times in UTC, seconds queued and running."""
        return shown(self, OF_HISTORY)


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """Circuits of one sweep that ended together: what all rows share, and their numbers. Rows are made when asked for.

    Attributes:
        whole: what is to be said of all of them; its circuit is the template.
        circuits: the numbers of the gates of each; or the sweep, or a fingerprint of each, if more is in the template
            than numbers.
        first: the first of them that is not dropped.
    """

    whole: Row
    circuits: np.ndarray | Sweep | list[SmallCircuit]
    first: int = 0

    @property
    def circuit(self) -> SmallCircuit:
        """The template."""
        return self.whole.circuit

    @property
    def number(self) -> int:
        """How many circuits it tells of."""
        return len(self.circuits) - self.first

    def without(self, dropped: int) -> SweepRecord:
        """The same without the first circuits."""
        return replace(self, first=self.first + dropped)

    def rows(self) -> list[Row]:
        """A row for each circuit; what all have used is shared out among them."""
        whole, number = self.whole, len(self.circuits)
        usages = shared_out(Usage(whole.circuits, whole.shots, whole.cost, whole.seconds), [1] * number)
        return [
            replace(
                whole,
                circuit=self.small(index),
                circuits=usages[index].circuits,
                shots=usages[index].shots,
                cost=usages[index].cost or 0.0,
                seconds=usages[index].seconds or 0.0,
            )
            for index in range(self.first, number)
        ]

    def small(self, index: int) -> SmallCircuit:
        """A circuit, as its row has it."""
        if isinstance(self.circuits, Sweep):
            return compact(self.circuits.circuit(index))
        if isinstance(self.circuits, list):
            return self.circuits[index]
        template, numbers = self.circuit, self.circuits[index].tolist()
        assert isinstance(template, CompactCircuit)
        return template._replace(numbers=tuple(numbers), trainable=tuple(range(len(numbers))))


Record = Row | SweepRecord
"""What a history keeps: of jobs of one circuit a row, of others what rows are made of."""


def record_of(job: Job, row: Row) -> Record:
    """What is kept of a job; others may change the arrays of its sweep from now on.

    Args:
        job: the job.
        row: what is to be said of it, with its circuit made small.
    """
    if job.sweep is None:
        return row
    numbers = np.array(job.sweep.parameters)
    if isinstance(row.circuit, CompactCircuit) and len(row.circuit.numbers) == numbers.shape[1]:
        return SweepRecord(row, numbers)
    sweep = replace(job.sweep, template=job.circuit, parameters=numbers)
    if not isinstance(row.circuit, str):
        return SweepRecord(row, sweep)
    with suppress(Exception):  # whatever an interface's arrays do when they are measured, or copied
        values = job.circuit.get_parameters(trainable_only=False)
        if sum(map(np.size, values)) <= _FEW_NUMBERS:
            own = job.circuit.bind_new_parameters(deepcopy(values), range(len(values)))
            return SweepRecord(row, replace(sweep, template=own))
    return SweepRecord(row, list(map(compact, sweep.circuits())))


def by_job(records: Iterable[Record]) -> list[tuple[Row, int]]:
    """A row for each job, and how many circuits it was; that of a sweep which ran in parts is put together."""
    jobs: dict[Any, tuple[Row, int]] = {}
    for index, record in enumerate(records):
        if isinstance(record, SweepRecord):
            row, number = replace(record.whole, circuit=record.small(record.first)), len(record.circuits)
        else:
            row, number = record, 1
        key = row.division or f"record {index}"
        before, others = jobs.get(key, (None, 0))
        jobs[key] = row if before is None else _together(before, row), others + number
    return list(jobs.values())


_WORST = (JobState.FAILED, JobState.CANCELLED, JobState.DONE)


def _together(one: Row, other: Row) -> Row:
    """The row of a sweep, of those of two of its parts."""
    worst, _ = sorted((one, other), key=lambda row: _WORST.index(row.state))
    return replace(
        worst,
        circuit=one.circuit,
        shots=one.shots + other.shots,
        attempt=max(one.attempt, other.attempt),
        started=min(one.started, other.started),
        finished=max(one.finished, other.finished),
        seconds=one.seconds + other.seconds,
        cost=one.cost + other.cost,
        circuits=one.circuits + other.circuits,
    )


_FEW_NUMBERS = 4096
_CONSTANT = frozenset({int, float, complex, np.float64})


def compact(circuit: QuantumScript, last: Any = None) -> SmallCircuit:
    """A circuit as rows keep it: taken apart; as it is, if it cannot be; its fingerprint if there are arrays in it.

    Arrays may be large, part of a gradient's graph, or written to after the circuit was run.

    Args:
        circuit: the circuit.
        last: what became of a circuit before it, of which it may be a variation.
    """
    structure: Any = structure_of(circuit)
    if structure is None:
        return circuit if _has_numbers_only(circuit) else fingerprint_of(circuit)
    numbers = tuple(chain.from_iterable(map(attrgetter("data"), circuit.operations)))
    if not _CONSTANT.issuperset(map(type, numbers)):  # whoever has made an array may write another number into it
        numbers = tuple([copy(number) if isinstance(number, np.ndarray) else number for number in numbers])
    trainable = tuple(circuit.trainable_params)
    if isinstance(last, CompactCircuit) and structure == last.structure:
        return CompactCircuit(last.structure, last.measurements, numbers, trainable)
    measurements = tuple([one if one.obs is None else None for one in circuit.measurements])
    return CompactCircuit(structure, measurements, numbers, trainable)


def fingerprint_of(circuit: QuantumScript | CompactCircuit) -> str:
    """The fingerprint of a circuit; ``""`` if it has none."""
    try:
        return fingerprint(circuit.circuit() if isinstance(circuit, CompactCircuit) else circuit)
    except Exception:  # whatever an interface's numbers do when they are looked at: a row must not lose a job
        return ""


def _of_letters(kind: type[MeasurementProcess], letters: Sequence[Any], *targets: Any) -> MeasurementProcess:
    factors = [outgoing(wires=labels) for outgoing, labels in zip(letters, targets, strict=True)]
    return kind(Prod(*factors) if len(factors) > 1 else factors[0])


def _has_numbers_only(circuit: QuantumScript) -> bool:
    observables = [measurement.obs for measurement in circuit.measurements if measurement.obs is not None]
    for operator in (*circuit.operations, *observables):
        for parameter in operator.data:
            if not isinstance(parameter, float | int | np.generic):
                return False
    return True
