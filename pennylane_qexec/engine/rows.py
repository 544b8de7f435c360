"""Rows of jobs: what became of a job, with its circuit made small, and one list of columns for all tables of jobs.

A history of thousands of circuits as PennyLane has them would be hundreds of thousands of objects, through which
Python's garbage collector looks over and over. Tuples of numbers it leaves alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from pennylane.measurements import MeasurementProcess
from pennylane.ops import Prod
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.fingerprint import fingerprint
from pennylane_qexec.circuits.structure import CONTROLLED, structure_of
from pennylane_qexec.job import JobState

if TYPE_CHECKING:
    import pandas


class JobRecord(Protocol):
    """What every record of a job says: a row of a history, a job of a store, a circuit of an experiment.

    Attributes:
        backend: name of the backend.
        shots: the shots that were run for it, or are asked for; 0 if analytic.
        attempt: attempts made.
        state: what has become of it.
        submitted: when it was asked for; UTC, in seconds since 1970, 0 if it was not.
        started: when it began to run.
        finished: when it ended.
        seconds: its part of the running time of its batch, so that these add up.
        cost: US dollars.
        error: what went wrong; nothing, or an empty text, if nothing did.
    """

    @property
    def backend(self) -> str: ...
    @property
    def shots(self) -> int: ...
    @property
    def attempt(self) -> int: ...
    @property
    def state(self) -> str: ...
    @property
    def submitted(self) -> float: ...
    @property
    def started(self) -> float: ...
    @property
    def finished(self) -> float | None: ...
    @property
    def seconds(self) -> float: ...
    @property
    def cost(self) -> float: ...
    @property
    def error(self) -> str | None: ...


_MOMENTS = ("submitted", "started", "finished")
_USE = (*_MOMENTS, "seconds_queued", "seconds_running", "cost")

OF_HISTORY = ("fingerprint", "executor", "backend", "shots", "batch", "attempt", "state", *_USE, "error")
"""The columns of a history."""

OF_EXPERIMENT = (
    *("job", "circuit", "provider", "backend", "shots", "state", *_USE),
    *("attempt", "error", "instead_of", "result"),
)
"""The columns of an experiment."""


def shown(job: JobRecord, columns: Sequence[str]) -> dict[str, Any]:
    """What a table shows of a job, by column: times in UTC, ``None`` where it has not come to that."""
    return {name: _column(name, [job])[0] for name in columns}


def to_dataframe(jobs: Sequence[JobRecord], columns: Sequence[str]) -> pandas.DataFrame:
    """A table with one row for each job."""
    import pandas

    table = pandas.DataFrame({name: _column(name, jobs) for name in columns}, dtype=None if jobs else object)
    for name in _MOMENTS:
        if table[name].dtype == object:  # it has not come to that for any job
            table[name] = pandas.to_datetime(table[name], utc=True)
    table["seconds_queued"] = table["seconds_queued"].astype(float)
    return table


def _column(name: str, jobs: Sequence[Any]) -> list[Any]:
    if name in _MOMENTS:
        return [datetime.fromtimestamp(one, UTC) if one else None for one in map(attrgetter(name), jobs)]
    if name == "seconds_queued":
        return [job.started - job.submitted if job.submitted and job.started else None for job in jobs]
    if name == "seconds_running":
        return [job.seconds for job in jobs]
    if name == "state":
        return [str(job.state) for job in jobs]
    if name in ("error", "instead_of"):
        return [one or "" for one in map(attrgetter(name), jobs)]
    return list(map(attrgetter(name), jobs))


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
    """

    circuit: QuantumScript | CompactCircuit | str
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

    @property
    def fingerprint(self) -> str:
        """The circuit's fingerprint; ``""`` if it has none (see :mod:`pennylane_qexec.circuits.fingerprint`)."""
        return self.circuit if isinstance(self.circuit, str) else fingerprint_of(self.circuit)

    def to_dict(self) -> dict[str, Any]:
        """The row as the table shows it: times in UTC, seconds queued and running."""
        return shown(self, OF_HISTORY)


def compact(circuit: QuantumScript, last: Any = None) -> QuantumScript | CompactCircuit | str:
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
    if np.ndarray in map(type, numbers):  # whoever has made the array may write another number into it
        numbers = tuple(map(copy, numbers))
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
