"""The history: one row in memory for each job, the outcome that its caller gets, and a picture of who ran when.

Circuits are kept as tuples of names and numbers. Thousands of circuits as PennyLane has them would be hundreds of
thousands of objects, through which Python's garbage collector looks over and over. Tuples of plain values it leaves
alone.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pennylane as qml
from pennylane.measurements import ExpectationMP, MeasurementProcess, ProbabilityMP, VarianceMP
from pennylane.operation import Operator
from pennylane.ops import Prod
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.circuits.fingerprint import fingerprint
from pennylane_qexec.circuits.structure import REAL, wire_labels
from pennylane_qexec.engine.batch import Ticket
from pennylane_qexec.engine.worker import Ran
from pennylane_qexec.errors import ExecutorError
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.job import CACHE, Job, JobState, Outcome, Result, Times, Usage, together
from pennylane_qexec.policies.amounts import SCALES
from pennylane_qexec.redaction import scrub
from pennylane_qexec.redaction.display import even_incomplete

if TYPE_CHECKING:
    import matplotlib.axes
    import pandas

_GATES = (
    *("Hadamard", "PauliX", "PauliY", "PauliZ", "S", "T", "SX", "SWAP", "ISWAP", "CNOT", "CZ", "CY", "Toffoli"),
    *("RX", "RY", "RZ", "PhaseShift", "Rot", "U1", "U2", "U3", "CRX", "CRY", "CRZ", "CRot", "ControlledPhaseShift"),
    *("IsingXX", "IsingYY", "IsingZZ", "SingleExcitation", "DoubleExcitation"),
)
_NAMES = {getattr(qml, name): name for name in _GATES}
_NUMBERS = (float, int, np.float64)
_SMALL = 64
"""Up to how many numbers the rows of a broadcasted parameter are kept."""


class Sketch(NamedTuple):
    """A circuit, taken apart.

    Attributes:
        operations: the operations, each as (name, wires, parameters).
        measurements: the measurements, each as it is (without an observable) or as (kind, observables or wires).
        shots: the shots, as they are.
        trainable: indices of the trainable parameters.
    """

    operations: tuple[Any, ...]
    measurements: tuple[Any, ...]
    shots: Any
    trainable: tuple[int, ...]

    def circuit(self) -> QuantumScript:
        """The circuit, put together again."""
        return QuantumScript(
            [_operator(part) for part in self.operations],
            [_measurement(part) for part in self.measurements],
            shots=self.shots,
            trainable_params=list(self.trainable),
        )


class Sketcher:
    """Takes the circuits of a batch apart. Those of a gradient share most of their gates, which are looked at once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Operator, tuple[Any, ...]]] = {}

    def sketch(self, circuit: QuantumScript) -> Sketch | None:
        """Take a circuit apart; ``None`` if it is not made of plain gates and few numbers."""
        operations = []
        for operation in circuit.operations:
            known = self._known.get(id(operation))
            part = self._part(operation) if known is None else known[1]
            if part is None:
                return None
            operations.append(part)
        measurements = tuple([_measured(measurement) for measurement in circuit.measurements])
        if None in measurements:
            return None
        return Sketch(tuple(operations), measurements, circuit.shots, tuple(circuit.trainable_params))

    def _part(self, operation: Operator) -> tuple[Any, ...] | None:
        part = _part(operation)
        if part is not None and not part[2]:
            self._known[id(operation)] = operation, part
        return part


def _part(operator: Operator) -> tuple[Any, ...] | None:
    name = _NAMES.get(type(operator))
    if name is None:
        return None
    parameters = []
    for parameter in operator.data:
        if type(parameter) in _NUMBERS:
            parameters.append(parameter)
        elif type(parameter) is np.ndarray and parameter.size <= _SMALL and parameter.dtype.kind in REAL:
            parameters.append(parameter.copy())  # whoever has made the array may write other numbers into it
        else:
            return None
    return name, wire_labels(operator), tuple(parameters)


def _operator(part: tuple[Any, ...]) -> Operator:
    name, labels, parameters = part
    return getattr(qml, name)(*parameters, wires=labels)


def _measured(measurement: MeasurementProcess) -> Any:
    kind, observable = type(measurement), measurement.obs
    plain = observable is None and measurement.mv is None and measurement.eigvals() is None
    if kind is ProbabilityMP and plain and measurement.wires:
        return "probs", measurement.wires.labels
    if kind in (ExpectationMP, VarianceMP) and observable is not None:
        factors = observable.operands if type(observable) is Prod else (observable,)
        parts = tuple([_part(factor) for factor in factors])
        if None not in parts:
            return ("expval" if kind is ExpectationMP else "var"), type(observable) is Prod, parts
    return measurement if observable is None else None


def _measurement(part: Any) -> MeasurementProcess:
    if isinstance(part, MeasurementProcess):
        return part
    if part[0] == "probs":
        return ProbabilityMP(wires=Wires(part[1]))
    kind, is_product, factors = part
    operators = [_operator(factor) for factor in factors]
    observable = Prod(*operators) if is_product else operators[0]
    return ExpectationMP(observable) if kind == "expval" else VarianceMP(observable)


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
        """The circuit's fingerprint; ``""`` if it has none (see :mod:`pennylane_qexec.circuits.fingerprint`)."""
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


def record_done(
    history: History, executor: Executor, jobs: Sequence[Job], ran: Ran, times: Sequence[Times], batch: int
) -> list[Outcome]:
    """Write jobs that are done into the history, and make their outcomes.

    Args:
        history: where to write.
        executor: who ran them.
        jobs: the jobs.
        ran: their results, and what each has used.
        times: of each job.
        batch: number of the batch.
    """
    now = time.time()
    name = executor.name
    sketcher = Sketcher()
    rows, outcomes = [], []
    for job, result, usage, when in zip(jobs, ran.results, ran.usages, times, strict=True):
        submitted, started, attempt = when
        circuits, shots, cost, seconds = usage
        backend = executor.place(job.circuit, job.call)
        rows.append(
            Row(
                compact(job.circuit, sketcher),
                name,
                backend,
                shots,
                batch,
                attempt,
                JobState.DONE,
                submitted,
                started,
                now,
                seconds or 0.0,
                cost or 0.0,
                "",
                circuits,
            )
        )
        times_of = (batch, attempt, submitted, started, now)
        outcomes.append(Outcome(result, name, shots, *times_of, cost or 0.0, backend, seconds or 0.0, circuits))
    history.add(rows)
    return outcomes


def record_answered(history: History, answered: Sequence[tuple[QuantumScript, Executor, Result]]) -> list[Outcome]:
    """Write jobs that a cache answered into the history, and make their outcomes: nothing was run, at no cost.

    Args:
        history: where to write.
        answered: of each job the circuit, the executor whose result it is, and the result.
    """
    now, sketcher = time.time(), Sketcher()
    rows, outcomes = [], []
    for circuit, executor, result in answered:
        sketch = compact(circuit, sketcher)
        rows.append(Row(sketch, executor.name, CACHE, 0, 0, 0, JobState.DONE, now, now, now, circuits=0))
        outcomes.append(Outcome(result, executor.name, 0, 0, 0, now, now, now, 0.0, CACHE, circuits=0))
    history.add(rows)
    return outcomes


def record_failed(history: History, ticket: Ticket, error: BaseException) -> None:
    """Write a job that failed or was cancelled into the history."""
    job, executor, now = ticket.job, ticket.executor, time.time()
    cause = error.cause if isinstance(error, ExecutorError) else error
    circuits, shots, cost, seconds = together(ticket.spent)
    row = Row(
        circuit=compact(job.circuit),
        executor=executor.name if executor is not None else "",
        backend=executor.backend if executor is not None else "",
        shots=shots,
        batch=0,
        attempt=ticket.attempts,
        state=ticket.state,
        submitted=ticket.submitted,
        started=ticket.started if ticket.started > ticket.submitted else now,
        finished=now,
        seconds=seconds or 0.0,
        cost=cost or 0.0,
        circuits=circuits,
        error=scrub(f"{type(cause).__name__}: {cause}"),
    )
    history.add([row])


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
