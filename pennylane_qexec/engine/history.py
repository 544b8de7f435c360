"""The history: one row in memory for each job that ended, with its circuit made small, and the picture of who ran when.

A history of thousands of circuits as PennyLane has them would be hundreds of thousands of objects, through which
Python's garbage collector looks over and over. Tuples of numbers it leaves alone.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from itertools import chain, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from pennylane.measurements import MeasurementProcess
from pennylane.ops import Prod
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.fingerprint import fingerprint
from pennylane_qexec.circuits.structure import CONTROLLED, structure_of
from pennylane_qexec.concurrency.clock import SYSTEM_CLOCK, Clock
from pennylane_qexec.engine.batch import QueuedJob
from pennylane_qexec.engine.tables import OF_HISTORY, shown, to_dataframe
from pennylane_qexec.errors import ExecutorError
from pennylane_qexec.executors import Executor
from pennylane_qexec.job import CACHE, Job, JobState, Outcome, Result, Times, Usage, together
from pennylane_qexec.policies.budgets import SCALES
from pennylane_qexec.redaction import scrub
from pennylane_qexec.redaction.display import even_incomplete

if TYPE_CHECKING:
    import matplotlib.axes
    import pandas

FAILED = "#d1495b"
"""The colour of what failed."""

_COLOURS = {"done": "#3b7dd8", "running": "#8db8ee", "failed": FAILED, "cancelled": "#9aa0a6"}
_QUEUED = "#dfe3e8"


def draw(rows: Sequence[Row], ax: matplotlib.axes.Axes | None = None, queued: bool = False) -> matplotlib.axes.Axes:
    """Draw a bar for each batch, one line for each executor, over seconds since the first job was submitted.

    Args:
        rows: the jobs.
        ax: matplotlib axes to draw on; default: new ones.
        queued: whether to draw also, thin and grey, how long jobs waited; the colours are explained then.
    """
    if ax is None:
        import matplotlib.pyplot as plt

        height = 1 + 0.5 * max(1, len({row.executor for row in rows}))
        ax = plt.subplots(figsize=(8, height), layout="constrained")[1]
    names = list(dict.fromkeys(row.executor or "(none)" for row in rows))
    start = min((row.submitted for row in rows), default=0.0)
    if queued:
        for line, name in enumerate(names):
            waited = [row for row in rows if row.started > row.submitted and (row.executor or "(none)") == name]
            bars = sorted({(row.submitted - start, row.started - row.submitted) for row in waited})
            ax.broken_barh(bars, (line - 0.15, 0.3), color=_QUEUED)
    for state, colour in _COLOURS.items():
        for line, name in enumerate(names):
            chosen = [row for row in rows if row.state == state and (row.executor or "(none)") == name]
            bars = sorted({(row.started - start, row.finished - row.started) for row in chosen})
            ax.broken_barh(bars, (line - 0.35, 0.7), color=colour, edgecolor=colour, linewidth=0.6)
    if queued:
        _explain(ax, [state for state in _COLOURS if any(row.state == state for row in rows)])
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(max(len(names), 1) - 0.5, -0.5)
    ax.set_xlabel("seconds since the first job was submitted")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _explain(ax: matplotlib.axes.Axes, states: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    colours = {"waiting": _QUEUED, **{state: _COLOURS[state] for state in states}}
    patches = [Patch(color=colour, label=state) for state, colour in colours.items()]
    ax.legend(
        handles=patches, frameon=False, fontsize=8, ncols=len(patches), loc="lower right", bbox_to_anchor=(1.0, 1.0)
    )


KEPT_ROWS = 10_000


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


_CONSTANT = frozenset({int, float, complex, np.float64})


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


class History(Sequence[Row]):
    """The last jobs that ended, oldest first; and what all of them have used, also those that are dropped.

    Args:
        kept: how many jobs to keep; of more, the oldest are dropped. ``None`` for all.
        clock: whose times the rows have.

    Attributes:
        clock: as above.
        last: the last circuit, as its row keeps it.
    """

    def __init__(self, kept: int | None = KEPT_ROWS, clock: Clock = SYSTEM_CLOCK) -> None:
        self.clock = clock
        self._rows: deque[Row] = deque(maxlen=kept)
        self.last: QuantumScript | CompactCircuit | str = ""
        self._ended = 0
        self._circuits = self._shots = self._cost = self._seconds = 0  # in whole units, as budgets have them
        self._lock = threading.Lock()

    @property
    def totals(self) -> Usage:
        """What everything that was sent has used: circuits, shots, cost (US dollars) and seconds of running time.

        Counted whenever an attempt ends, as a :class:`Budget` does: with attempts that failed or were given up, and
        with jobs whose rows were dropped. What a cache answers is not in it.
        """
        with self._lock:
            return Usage(self._circuits, self._shots, self._cost / SCALES[2], self._seconds / SCALES[3])

    @property
    def dropped(self) -> int:
        """How many of the jobs that ended have no row any more, as there were too many."""
        with self._lock:
            return self._ended - len(self._rows)

    def spend(self, usages: Sequence[Usage]) -> None:
        """Add what attempts have used to the totals."""
        with self._lock:
            for circuits, shots, cost, seconds in usages:
                self._circuits += circuits
                self._shots += shots
                self._cost += round((cost or 0.0) * SCALES[2])
                self._seconds += round((seconds or 0.0) * SCALES[3])

    def add(self, rows: Sequence[Row]) -> None:
        """Add rows, with their circuits made small by :func:`compact`."""
        with self._lock:
            self._rows.extend(rows)
            self._ended += len(rows)
            if rows:
                self.last = rows[-1].circuit

    def clear(self) -> None:
        """Forget all rows, and begin to count anew."""
        with self._lock:
            self._rows.clear()
            self._ended = self._circuits = self._shots = self._cost = self._seconds = 0

    def to_dataframe(self) -> pandas.DataFrame:
        """One row for each job.

        Returns:
            A table with the columns ``fingerprint``, ``executor``, ``backend``, ``shots``, ``batch``, ``attempt``,
            ``state``, ``submitted``, ``started``, ``finished`` (UTC), ``seconds_queued``, ``seconds_running`` (the
            job's part of its batch, so that they add up), ``cost`` (US dollars) and ``error``. Its
            ``attrs["dropped"]`` says how many older jobs are not in it any more; :attr:`totals` has what they used.
        """
        with self._lock:
            rows, dropped = list(self._rows), self._ended - len(self._rows)
        table = to_dataframe(rows, OF_HISTORY)
        table.attrs["dropped"] = dropped
        return table

    def plot_timeline(self, ax: matplotlib.axes.Axes | None = None) -> matplotlib.axes.Axes:
        """Draw when each executor ran its jobs, as bars over seconds since the first was submitted.

        Args:
            ax: matplotlib axes to draw on; default: new ones.

        Returns:
            The axes.
        """
        return draw(list(self), ax)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        with self._lock:
            return list(self._rows)[index] if isinstance(index, slice) else self._rows[index]

    def __iter__(self) -> Iterator[Row]:
        with self._lock:
            return iter(list(self._rows))

    @even_incomplete
    def __repr__(self) -> str:
        older = f", and {dropped:,} older ones that were dropped" if (dropped := self.dropped) else ""
        return f"<History of {len(self)} jobs{older}>"


def record_done(
    history: History, executor: Executor, done: Iterable[tuple[Job, Result, Usage, Times]], batch: int
) -> list[Outcome]:
    """Write jobs that are done into the history, and make their outcomes.

    Args:
        history: where to write.
        executor: who ran them.
        done: each job, its result, what it has used, and its times.
        batch: number of the batch.
    """
    now, name, small = history.clock.time(), executor.name, history.last
    rows, outcomes = [], []
    for job, result, usage, (submitted, started, attempt) in done:
        circuits, shots, cost, seconds = usage[0], usage[1], usage[2] or 0.0, usage[3] or 0.0
        backend, when = executor.place(job.circuit, job.call), (submitted, started, now)
        small = compact(job.circuit, small)
        rows.append(Row(small, name, backend, shots, batch, attempt, JobState.DONE, *when, seconds, cost, "", circuits))
        outcomes.append(Outcome(result, name, shots, batch, attempt, *when, cost, backend, seconds, circuits))
    history.add(rows)
    return outcomes


def record_answered(history: History, answered: Sequence[tuple[QuantumScript, Executor, Result]]) -> list[Outcome]:
    """Write jobs that a cache answered into the history, and make their outcomes: nothing was run, at no cost.

    Args:
        history: where to write.
        answered: of each job the circuit, the executor whose result it is, and the result.
    """
    now, small = history.clock.time(), history.last
    rows, outcomes = [], []
    for circuit, executor, result in answered:
        small = compact(circuit, small)
        rows.append(Row(small, executor.name, CACHE, 0, 0, 0, JobState.DONE, now, now, now, circuits=0))
        outcomes.append(Outcome(result, executor.name, 0, 0, 0, now, now, now, 0.0, CACHE, circuits=0))
    history.add(rows)
    return outcomes


def record_failed(history: History, queued_job: QueuedJob, error: BaseException) -> None:
    """Write a job that failed or was cancelled into the history."""
    job, executor, now = queued_job.job, queued_job.executor, history.clock.time()
    cause = error.cause if isinstance(error, ExecutorError) else error
    circuits, shots, cost, seconds = together(queued_job.spent)
    row = Row(
        circuit=compact(job.circuit),
        executor=executor.name if executor is not None else "",
        backend=executor.backend if executor is not None else "",
        shots=shots,
        batch=0,
        attempt=queued_job.attempts,
        state=queued_job.state,
        submitted=queued_job.submitted,
        started=queued_job.started if queued_job.started > queued_job.submitted else now,
        finished=now,
        seconds=seconds or 0.0,
        cost=cost or 0.0,
        circuits=circuits,
        error=scrub(f"{type(cause).__name__}: {cause}"),
    )
    history.add([row])
