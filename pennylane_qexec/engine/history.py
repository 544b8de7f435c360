"""What happened: one row for each job, in memory."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from pennylane.tape import QuantumScript

from pennylane_qexec.budget.amounts import SCALES
from pennylane_qexec.engine.sketches import Sketch, Sketcher
from pennylane_qexec.fingerprint import fingerprint
from pennylane_qexec.job import JobState, Usage
from pennylane_qexec.shown import even_incomplete

if TYPE_CHECKING:
    import matplotlib.axes
    import pandas

KEPT_ROWS = 10_000


@dataclass(frozen=True, slots=True)
class Row:
    """One job that ended.

    Attributes:
        circuit: the circuit, a sketch of it, or its fingerprint.
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

    circuit: QuantumScript | Sketch | str
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
        """The circuit's fingerprint; ``""`` if it has none (see :mod:`pennylane_qexec.fingerprint`)."""
        return self.circuit if isinstance(self.circuit, str) else _fingerprint(self.circuit)

    def to_dict(self) -> dict[str, Any]:
        """The row as the table shows it: times in UTC, seconds queued and running."""
        return {
            "fingerprint": self.fingerprint,
            "executor": self.executor,
            "backend": self.backend,
            "shots": self.shots,
            "batch": self.batch,
            "attempt": self.attempt,
            "state": str(self.state),
            "submitted": datetime.fromtimestamp(self.submitted, UTC),
            "started": datetime.fromtimestamp(self.started, UTC),
            "finished": datetime.fromtimestamp(self.finished, UTC),
            "seconds_queued": self.started - self.submitted,
            "seconds_running": self.seconds,
            "cost": self.cost,
            "error": self.error,
        }


class History(Sequence[Row]):
    """The last jobs that ended, oldest first; and what all of them have used, also those that are dropped.

    Args:
        kept: how many jobs to keep; of more, the oldest are dropped. ``None`` for all.
    """

    def __init__(self, kept: int | None = KEPT_ROWS) -> None:
        self._rows: deque[Row] = deque(maxlen=kept)
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
        import pandas

        columns = list(Row("", "", "", 0, 0, 0, JobState.DONE, 0.0, 0.0, 0.0).to_dict())
        with self._lock:
            rows, dropped = list(self._rows), self._ended - len(self._rows)
        table = pandas.DataFrame([row.to_dict() for row in rows], columns=columns)
        table.attrs["dropped"] = dropped
        return table

    def plot_timeline(self, ax: matplotlib.axes.Axes | None = None) -> matplotlib.axes.Axes:
        """Draw when each executor ran its jobs, as bars over seconds since the first was submitted.

        Args:
            ax: matplotlib axes to draw on; default: new ones.

        Returns:
            The axes.
        """
        from pennylane_qexec.engine.timeline import draw

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


def compact(circuit: QuantumScript, sketcher: Sketcher | None = None) -> QuantumScript | Sketch | str:
    """A circuit as rows keep it: a sketch; the circuit, if that cannot be; its fingerprint if there are arrays in it.

    Arrays may be large, part of a gradient's graph, or written to after the circuit was run.

    Args:
        circuit: the circuit.
        sketcher: that of the batch the circuit is of, if it is of one.
    """
    sketch = (sketcher or Sketcher()).sketch(circuit)
    return sketch or (circuit if _has_numbers_only(circuit) else _fingerprint(circuit))


def _has_numbers_only(circuit: QuantumScript) -> bool:
    observables = [measurement.obs for measurement in circuit.measurements if measurement.obs is not None]
    for operator in (*circuit.operations, *observables):
        for parameter in operator.data:
            if not isinstance(parameter, float | int | np.generic):
                return False
    return True


def _fingerprint(circuit: QuantumScript | Sketch) -> str:
    try:
        return fingerprint(circuit.circuit() if isinstance(circuit, Sketch) else circuit)
    except Exception:  # whatever an interface's numbers do when they are looked at: a row must not lose a job
        return ""
