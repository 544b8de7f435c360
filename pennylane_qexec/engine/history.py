"""The history: what jobs that ended have used, by circuit or by job, and the picture of who ran when."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal

from pennylane_qexec.concurrency.clock import SYSTEM_CLOCK, Clock
from pennylane_qexec.engine.queued_jobs import QueuedJob
from pennylane_qexec.engine.records import Record, Row, SmallCircuit, SweepRecord, by_job, compact, record_of
from pennylane_qexec.engine.tables import OF_HISTORY, to_dataframe
from pennylane_qexec.errors import ConfigurationError, ExecutorError, unknown
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


class History(Sequence[Row]):
    """The circuits of the last jobs that ended, oldest first; and what all have used, also those that are dropped.

    Args:
        kept: how many circuits to keep; of more, the oldest are dropped. ``None`` for all.
        clock: whose times the rows have.

    Attributes:
        clock: as above.
        last: the last circuit, as its row keeps it.
    """

    def __init__(self, kept: int | None = KEPT_ROWS, clock: Clock = SYSTEM_CLOCK) -> None:
        self.clock = clock
        self._kept = kept
        self._records: deque[Record] = deque()
        self._count = 0
        self.last: SmallCircuit = ""
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
    def keeps_rows(self) -> bool:
        """Whether it keeps any row."""
        return self._kept != 0

    @property
    def dropped(self) -> int:
        """How many of the circuits that ended have no row any more, as there were too many."""
        with self._lock:
            return self._ended - self._count

    def spend(self, usages: Sequence[Usage]) -> None:
        """Add what attempts have used to the totals."""
        with self._lock:
            for circuits, shots, cost, seconds in usages:
                self._circuits += circuits
                self._shots += shots
                self._cost += round((cost or 0.0) * SCALES[2])
                self._seconds += round((seconds or 0.0) * SCALES[3])

    def add(self, records: Sequence[Record]) -> None:
        """Add records, with their circuits made small by :func:`compact`."""
        if not records:
            return
        circuits = sum(map(attrgetter("number"), records))
        with self._lock:
            self._records.extend(records)
            self._ended += circuits
            self._count += circuits
            self.last = records[-1].circuit
            while self._kept is not None and self._count > self._kept:
                record = self._records.popleft()
                dropped = min(record.number, self._count - self._kept)
                self._count -= dropped
                if isinstance(record, SweepRecord) and dropped < record.number:
                    self._records.appendleft(record.without(dropped))

    def clear(self) -> None:
        """Forget all rows, and begin to count anew."""
        with self._lock:
            self._records.clear()
            self._count = self._ended = self._circuits = self._shots = self._cost = self._seconds = 0

    def to_dataframe(self, by: Literal["circuit", "job"] = "circuit") -> pandas.DataFrame:
        """One row for each circuit, or for each job: circuits that differ in numbers only may run as one.

        Args:
            by: of what to make a row: ``"circuit"`` or ``"job"``.

        Returns:
            A table with the columns ``fingerprint``, ``executor``, ``backend``, ``shots``, ``batch``, ``attempt``,
            ``state``, ``submitted``, ``started``, ``finished`` (UTC), ``seconds_queued``, ``seconds_running`` (the
            circuit's part of its batch, so that they add up), ``cost`` (US dollars) and ``error``. Its
            ``attrs["dropped"]`` says how many older circuits are not in it any more; :attr:`totals` has what they used.
            One with a row for each job has ``circuits``, how many they are, after the fingerprint of the first.

        Raises:
            ConfigurationError: ``by`` is none of these.
        """
        if by not in ("circuit", "job"):
            raise ConfigurationError(unknown("kind of row", by, ("circuit", "job")))
        with self._lock:
            records, dropped = list(self._records), self._ended - self._count
        if by == "circuit":
            table = to_dataframe([row for record in records for row in record.rows()], OF_HISTORY)
        else:
            jobs = by_job(records)
            table = to_dataframe([row for row, _ in jobs], OF_HISTORY)
            table.insert(1, "circuits", [circuits for _, circuits in jobs])
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
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return list(self)[index]
        with self._lock:
            records = list(self._records if index >= 0 else reversed(self._records))
        place = index if index >= 0 else -1 - index
        for record in records:
            if place < record.number:
                return record.rows()[place if index >= 0 else -1 - place]
            place -= record.number
        raise IndexError("history index out of range")

    def __iter__(self) -> Iterator[Row]:
        with self._lock:
            records = list(self._records)
        return (row for record in records for row in record.rows())

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
    records: list[Record] = []
    outcomes = []
    for job, result, usage, (submitted, started, attempt, division) in done:
        circuits, shots, cost, seconds = usage[0], usage[1], usage[2] or 0.0, usage[3] or 0.0
        backend, when = executor.place(job.circuit, job.call), (submitted, started, now)
        small = compact(job.circuit, small) if history.keeps_rows else ""
        row = Row(
            small, name, backend, shots, batch, attempt, JobState.DONE, *when, seconds, cost, "", circuits, division
        )
        records.append(row if job.sweep is None else record_of(job, row))
        outcomes.append(Outcome(result, name, shots, batch, attempt, *when, cost, backend, seconds, circuits))
    history.add(records)
    return outcomes


def record_answered(history: History, answered: Sequence[tuple[Job, Executor, Result]]) -> list[Outcome]:
    """Write jobs that a cache answered into the history, and make their outcomes: nothing was run, at no cost.

    Args:
        history: where to write.
        answered: each job, the executor whose result it is, and the result.
    """
    now, small = history.clock.time(), history.last
    records, outcomes = [], []
    for job, executor, result in answered:
        small = compact(job.circuit, small)
        row = Row(small, executor.name, CACHE, 0, 0, 0, JobState.DONE, now, now, now, circuits=0)
        records.append(record_of(job, row))
        outcomes.append(Outcome(result, executor.name, 0, 0, 0, now, now, now, 0.0, CACHE, circuits=0))
    history.add(records)
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
        division=queued_job.number,
    )
    history.add([record_of(job, row)])
