"""A job of a durable run on its way to the store, and what is written of it: its circuit, and what identifies it."""

from __future__ import annotations

import contextvars
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pennylane as qml
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.fingerprint import fingerprint
from pennylane_qexec.circuits.serialization import circuit_text, circuit_texts, result_text, sweep_text, template_text
from pennylane_qexec.concurrency.futures import AskedFuture
from pennylane_qexec.errors import ConfigurationError, JobTimeoutError
from pennylane_qexec.executors import DelegatingExecutor, Executor, QueuedExecutor
from pennylane_qexec.job import Call, Job, Outcome, Sweep
from pennylane_qexec.persistence.runners import BaseRunner, Runner
from pennylane_qexec.persistence.store import State, StoredJob

# Entries

UNRECORDED = "done, but its result cannot be recorded"
"""How the error begins of a circuit that is done without a result in the store."""


class RunCall(NamedTuple):
    """A call that asks for jobs.

    Attributes:
        runner: who runs what has to be run.
        engine: the engine behind that.
        asked: says whether somebody waits; ``None`` if the futures say it.
        context: the context variables of the caller.
    """

    runner: Runner
    engine: BaseRunner
    asked: Callable[[], bool] | None
    context: contextvars.Context


@dataclass(eq=False, slots=True)
class RunEntry:
    """One job that the program asks for.

    Attributes:
        job: the job, with its number in the run.
        row: as it is in the store.
        call: the call that asks for it.
        future: what the caller waits for.
        inner: the future of whoever runs it.
        state: where it is, as the store has it.
        outgoing: what it was sent in last.
        before: attempts made before those of this process; ``None`` if it makes none.
        left: whether nobody waits for it any more, but will when the program is run again.
        over: whether its end was dealt with.
    """

    job: Job
    row: StoredJob
    call: RunCall
    future: AskedFuture[Outcome] = field(default_factory=AskedFuture)
    inner: AskedFuture[Outcome] | None = None
    state: State = field(init=False)
    outgoing: Any = None
    before: int | None = None
    left: bool = False
    over: bool = False

    def __post_init__(self) -> None:
        self.state = State(self.row.state)

    def read(self, row: StoredJob) -> None:
        """Take over what the store says now."""
        self.row, self.state = row, State(row.state)

    @property
    def wanted(self) -> bool:
        """Whether its result is wanted, now or when the program is run again."""
        if self.future.cancelled():
            return self.left
        return self.inner is None or not _timed_out(self.inner)


def _timed_out(future: Future[Outcome]) -> bool:
    return future.done() and not future.cancelled() and isinstance(future.exception(), JobTimeoutError)


# What is written

_AT, _SHORT = "@", 8

_UNWRITTEN = "unwritten:"
"""How the text begins of a circuit that cannot be written: its fingerprint follows."""


class SerializedJob(NamedTuple):
    """A job as it is written.

    Attributes:
        key: equal for jobs that ask for the same of the same cluster: see :func:`what_of` and :func:`place_of`.
        digest: of the circuit's text, or of the sweep's.
        text: the circuit, or the sweep.
    """

    key: str
    digest: str
    text: str


def what_of(key: str) -> str:
    """The part of a key that says what is asked for."""
    return key.partition(_AT)[0]


def place_of(key: str) -> str:
    """The part of a key that says of which cluster it is asked for, and with which settings."""
    return key.partition(_AT)[2]


def is_recorded(job: Job, engine: BaseRunner) -> bool:
    """Whether a job is recorded.

    Backpropagation records what the simulator computes, and snapshots are given to the program while a circuit runs, so
    that these are computed again. And what a cluster hands on to another one is recorded there: each circuit when it is
    done, although they are handed on together, and each job at a backend.

    What waits for whoever is free first may be run by somebody else the next time, so it is recorded here, and not a
    second time inside. As such circuits are handed on one by one, unless a batching window is set, little is under way
    when a program ends. But a cluster inside with backends with queues has jobs there, which nobody would find.
    """
    waits = job.executor is None and len(engine.executors) > 1
    executors = engine.executors if job.executor is None else (job.executor,)
    inside = any(isinstance(one, DelegatingExecutor) and (not waits or _has_queues(one)) for one in executors)
    backprop = job.call.bound and job.call.config.gradient_method == "backprop"
    return not (backprop or inside or qml.Snapshot in set(map(type, job.circuit.operations)))


def _has_queues(executor: Executor) -> bool:
    """Whether an executor is a backend with a queue, or a cluster with one inside, at any depth."""
    if isinstance(executor, DelegatingExecutor):
        return any(map(_has_queues, executor.members))
    return isinstance(executor, QueuedExecutor)


def most_at_backends(job: Job, engine: BaseRunner) -> int:
    """The most rows of a job's sweep that backends with queues, at which it may run, take in one job of theirs.

    What is sent in several jobs there is not found again, and would be paid twice.
    """
    most = job.rows
    for executor in engine.executors if job.executor is None else (job.executor,):
        if isinstance(executor, QueuedExecutor):
            most = min(most, executor.max_circuits or most)
            shots = executor.usage_of(job.circuit, job.call).shots
            if shots and executor.max_shots is not None:
                most = min(most, executor.max_shots // shots)
    return max(1, most)


def serialize(jobs: Sequence[Job], engine: BaseRunner) -> list[SerializedJob]:
    """Jobs as they are written.

    Args:
        jobs: the jobs.
        engine: of the cluster that they are asked of.

    Raises:
        ConfigurationError: one of the circuits contains something that cannot be compared with anything, or one of the
            sweeps cannot be written: see :func:`is_written_whole`.
    """
    names = [f"{executor.name} {executor.backend}" for executor in engine.executors]
    places: dict[int, str] = {}
    found = []
    circuits = iter(_texts([job.circuit for job in jobs if job.sweep is None]))
    texts = [next(circuits) if job.sweep is None else sweep_text(job.sweep) for job in jobs]
    for job, text in zip(jobs, texts, strict=True):
        call = job.call
        if id(call) not in places:
            places[id(call)] = digest_of("\n".join((*names, _settings(call))))[:_SHORT]
        digest = what = digest_of(text)
        if call.method != "execute":
            vector = "" if job.vector is None else result_text(job.vector)
            what = digest_of("\n".join((call.method, digest, vector)))
        found.append(SerializedJob(f"{what}{_AT}{places[id(call)]}", digest, text))
    return found


def is_written_whole(sweep: Sweep) -> bool:
    """Whether a sweep can be written as such; else its circuits are recorded one by one."""
    try:
        template_text(sweep)
    except ConfigurationError:
        return False
    return True


def _settings(call: Call) -> str:
    """What results depend on beside the circuit and who runs it."""
    gradients = call.config.gradient_method if call.method != "execute" else ""
    return f"{call.config.mcm_config.postselect_mode} {gradients}"


def _texts(circuits: Sequence[QuantumScript]) -> list[str]:
    try:
        return circuit_texts(circuits)
    except ConfigurationError:  # of one of them
        return list(map(_text, circuits))


def _text(circuit: QuantumScript) -> str:
    try:
        return circuit_text(circuit)
    except ConfigurationError as refused:
        try:
            return _UNWRITTEN + fingerprint(circuit)
        except TypeError as error:
            raise ConfigurationError(
                f"a circuit cannot be recorded in a durable run: {error} Leave that out, or run it outside of the run."
            ) from refused


def digest_of(text: str) -> str:
    """What tells a text from others."""
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def first_number(call: str, occurrence: int) -> int:
    """The number of the first job of a call, by which executors with a seed draw its shots; the others follow it.

    It is determined by what is asked, and how often that was asked before: not by the order of different things, which
    several threads may ask for in any. In a row, since some simulators are faster with numbers in a row.

    Args:
        call: digest of the keys of its jobs.
        occurrence: how many such calls the run had before.

    Returns:
        At least 0 and below 2**62.
    """
    digest = hashlib.blake2b(f"{call}/{occurrence}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 2
