"""What goes into a store and comes out of it: frozen records. Times are UTC, in seconds since 1970; 0 if unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class WorkerHeartbeat(NamedTuple):
    """A worker as the database shows it: it beats whenever the worker renews."""

    worker: str
    beat: int
    lease: float


@dataclass(frozen=True, slots=True)
class Run:
    """A run of a program, which may have been interrupted and taken up again.

    Attributes:
        id: its number in the store.
        name: its name.
        created: when it was begun.
        opened: when it was last begun or taken up.
        seed: drawn when it was begun; at least 0, below 2**63.
        argv: of the program.
        versions: with what it was begun, as its program put it.
        finished: whether it came to its end.
        concurrent: whether several threads asked for its jobs.
        parent: id of the run that it was forked from; ``None`` if it was begun by a program.
        fork_point: how many circuits came along from there.
    """

    id: int
    name: str
    created: float
    opened: float
    seed: int
    argv: tuple[str, ...]
    versions: str
    finished: bool
    concurrent: bool = False
    parent: int | None = None
    fork_point: int | None = None


class Mark(NamedTuple):
    """A place in a run that its program has named.

    Attributes:
        name: of the mark.
        number: how many circuits come before it.
        value: what the program has computed there, such as an energy; ``None`` if it has not said.
    """

    name: str
    number: int
    value: float | None = None


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to be recorded.

    Attributes:
        number: its position in the run, or that of its first circuit.
        key: what identifies it: a digest of circuit, executor, backend and options.
        circuit: digest of the circuit, or of the sweep.
        text: the circuit, or the sweep.
        executor: name of the executor that it is meant for.
        backend: name of that executor's backend.
        shots: its shots, in all bases that are measured; 0 if analytic.
        submitted: when it was asked for; 0 for now.
        circuits: how many its backend runs for it.
        rows: how many were asked for in it: those of a sweep.
    """

    number: int
    key: str
    circuit: str
    text: str
    executor: str = ""
    backend: str = ""
    shots: int = 0
    submitted: float = 0.0
    circuits: int = 1
    rows: int = 1


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended.

    Attributes:
        id: of the job.
        result: the result, if it is done.
        error: what went wrong, if it is not.
        started: when it began to run.
        finished: when it ended; 0 for now.
        seconds: its part of the running time of its batch.
        cost: US dollars.
        executor: name of the executor that ran it, if it is another one than recorded.
        backend: name of the backend that ran it, if it is another one than recorded.
        attempt: attempts made, if other than recorded.
        shots: the shots that an attempt ran, if other than recorded.
        circuits: the circuits that an attempt ran, if other than recorded.
    """

    id: int
    result: str | None = None
    error: str = ""
    started: float = 0.0
    finished: float = 0.0
    seconds: float = 0.0
    cost: float = 0.0
    executor: str | None = None
    backend: str | None = None
    attempt: int | None = None
    shots: int | None = None
    circuits: int | None = None


class StoredJob(NamedTuple):
    """A job as the store has it.

    Attributes:
        id: its number in the store.
        run: id of its run.
        number: its position in the run, or that of its first circuit.
        key: what identifies it.
        circuit: digest of its circuit, or of its sweep.
        executor: name of the executor.
        backend: name of the executor's backend.
        shots: its shots, in all bases that are measured and in one attempt; 0 if analytic.
        submitted: when it was asked for.
        state: a :class:`~pennylane_qexec.persistence.store.State`, as a text.
        attempt: which attempt this is, or was.
        worker: who has it, or had it last; ``None`` if nobody.
        remote_id: the backend's id of the job that it was sent in; the label of that job, if no id is known yet.
        remote_index: its position in that job.
        started: when it began to run.
        finished: when it ended; ``None`` if it has not.
        seconds: its part of the running time of its batches, in all attempts.
        circuits: how many its backend runs for it in one attempt.
        rows: how many were asked for in it: those of a sweep.
        cost: US dollars, in all attempts.
        error: what went wrong.
        copied_from: id of the job, in the run that this one was forked from, that was run and paid in its place.
        result: the result, where results are asked for.
    """

    id: int
    run: int
    number: int
    key: str
    circuit: str
    executor: str
    backend: str
    shots: int
    submitted: float
    state: str = "waiting"
    attempt: int = 1
    worker: str | None = None
    remote_id: str | None = None
    remote_index: int | None = None
    started: float = 0.0
    finished: float | None = None
    seconds: float = 0.0
    circuits: int = 1
    rows: int = 1
    cost: float = 0.0
    error: str = ""
    copied_from: int | None = None
    result: str | None = None


class Cached(NamedTuple):
    """A result for the cache."""

    key: str
    result: str


class CacheInfo(NamedTuple):
    """How much is cached.

    Attributes:
        entries: how many results.
        bytes: how many bytes of text.
        uses: how often they were used.
        oldest: when the first of them was cached; 0 if there is none.
    """

    entries: int
    bytes: int
    uses: int
    oldest: float


class BackendResults(NamedTuple):
    """What came back from a backend in one run of an experiment.

    Attributes:
        provider: name of the provider.
        backend: name of the backend.
        shots: how many were asked for, of all circuits together.
        seconds: the running time of its batches.
        cost: US dollars.
        error: what went wrong, the first of it; empty if nothing did.
        results: the results of all circuits, as a text.
    """

    provider: str
    backend: str
    shots: int
    seconds: float
    cost: float
    error: str
    results: str


@dataclass(frozen=True, slots=True)
class NewExperimentRun:
    """A run of an experiment, to be recorded.

    Attributes:
        key: unlike that of any other run.
        started: when it began.
        finished: when the last of its circuits ended.
        circuits: digest of its circuits.
        text: its circuits.
        backends: what came back from each backend.
    """

    key: str
    started: float
    finished: float
    circuits: str
    text: str
    backends: tuple[BackendResults, ...]


@dataclass(frozen=True, slots=True)
class ExperimentRun:
    """A run of an experiment, as the store has it.

    Attributes:
        id: its number in the store; later runs have higher ones.
        started: when it began.
        finished: when the last of its circuits ended.
        circuits: digest of its circuits.
        backends: what came back from each backend, by provider and backend.
    """

    id: int
    started: float
    finished: float
    circuits: str
    backends: tuple[BackendResults, ...]


class StoredExperiment(NamedTuple):
    """An experiment that was recorded.

    Attributes:
        name: of the experiment.
        created: when it was first recorded.
        runs: how many of its runs are there.
        last: when the last one began.
    """

    name: str
    created: float
    runs: int
    last: float
