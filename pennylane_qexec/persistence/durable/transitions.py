"""How entries change in the store: claimed, sent, done, failed, given back; followed on their way to remote queues."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import final

from pennylane_qexec.circuits.serialization import result_text, results_text
from pennylane_qexec.concurrency import interrupts
from pennylane_qexec.errors import ConfigurationError, ExecutorError, StoreError
from pennylane_qexec.executors import Executor
from pennylane_qexec.job import Job, Outcome
from pennylane_qexec.persistence.durable.jobs import UNRECORDED, RunEntry
from pennylane_qexec.persistence.store import Ended, State, Store, StoredJob

logger = logging.getLogger("pennylane_qexec")


# Ends as the store has them


def ended(row: StoredJob, job: Job, outcome: Outcome, before: int | None = None) -> Ended:
    """How a job ended.

    Args:
        row: the job, as it is in the store.
        job: the job.
        outcome: what came of it.
        before: attempts made before those of this process; ``None`` if it made none, but fetched what was there.
    """
    attempts = max(1, outcome.attempt)  # 0 from a cache, at no cost
    try:
        result, error = (result_text if job.sweep is None else results_text)(outcome.result), ""
    except ConfigurationError as refused:
        logger.warning("a result cannot be recorded, and its circuit will run again: %s", refused)
        result, error = None, f"{UNRECORDED}: {refused}"
    return Ended(
        row.id,
        result,
        error,
        started=float(outcome.started),
        finished=float(outcome.finished),
        seconds=float(outcome.seconds),
        cost=float(outcome.cost) * (1 if before is None else attempts),
        executor=outcome.executor,
        backend=outcome.backend,
        attempt=attempts + (before or 0),
        shots=int(outcome.shots),
        circuits=int(outcome.circuits),
    )


def _failed(entry: RunEntry, error: BaseException) -> Ended:
    """How an entry failed: each attempt counts as what it would have cost."""
    if not isinstance(error, ExecutorError):
        return Ended(entry.row.id, error=repr(error))
    executor = entry.call.engine.executor(error.executor)
    return Ended(
        entry.row.id,
        error=repr(error),
        cost=0.0 if executor is None else float(_price(executor, entry.job)) * error.attempt,
        executor=error.executor,
        backend=None if executor is None else executor.backend,
        attempt=max(1, error.attempt + (entry.before or 0)),
    )


def _price(executor: Executor, job: Job) -> float:
    """What an attempt costs, whatever time it takes."""
    usage, charges = executor.usage_of(job.circuit, job.call), executor.charges(job.circuit, job.call)
    unknown = charges.per_second or usage.cost is None
    return job.rows * (charges.of(usage.circuits, usage.shots, 0.0) if unknown else usage.cost or 0.0)


# Changes

_AT_A_BACKEND = (State.SENDING, State.SENT)
_GIVEN_UP = (State.FAILED, State.CANCELLED)


class TakenOverError(StoreError):
    """Another process has taken this one for dead, and has its jobs now."""


@final
class Transitions:
    """Keeps the entries of one run in the store. Used by any thread, for one entry by one at a time.

    Follows the jobs of the run to backends with a queue, as a :class:`~pennylane_qexec.job.SubmissionListener`.

    Args:
        store: the store.
        run: id of the run.
        worker: the name by which this run claims jobs.
        lease: for how long it claims them, in seconds.
        resumes: whether the run asks for what was left when it goes on.
    """

    def __init__(self, store: Store, run: int, worker: str, lease: float, resumes: bool) -> None:
        self.resumes = resumes
        self._store = store
        self._run = run
        self._worker = worker
        self._lease = lease
        self._lock = threading.RLock()
        self._outgoing = 0
        self._nothing_outgoing = threading.Condition()
        self._entries: dict[int | None, RunEntry] = {}

    @property
    def entries(self) -> list[RunEntry]:
        """What is followed, and has not come to its end."""
        return list(self._entries.values())

    def add(self, entries: Sequence[RunEntry]) -> None:
        """Follow entries."""
        self._entries |= {entry.job.number: entry for entry in entries}

    def forget(self, entry: RunEntry) -> None:
        """An entry has come to its end."""
        self._entries.pop(entry.job.number, None)

    # -- claimed

    def claim(self, entries: Sequence[RunEntry]) -> list[RunEntry]:
        """Claim what is not done, to be tried again where it failed; returns what nobody else has."""
        again = [entry.row.id for entry in entries if entry.state in _GIVEN_UP]
        if again:
            self._store.retry(again, self._worker)
        claimed = {entry.row.id: entry.row for entry in entries if self._came_along(entry)}
        claimed |= {row.id: row for row in self._store.claim(_ids(entries), self._worker, self._lease)}
        mine = [entry for entry in entries if entry.row.id in claimed]
        for entry in mine:
            entry.read(claimed[entry.row.id])
        return mine

    def _came_along(self, entry: RunEntry) -> bool:
        """Whether an entry is ours already, as others were asked for before that are in the same job of a backend."""
        return entry.state in _AT_A_BACKEND and entry.row.worker == self._worker

    def again(self, entries: Sequence[RunEntry]) -> list[RunEntry]:
        """Take own entries that were sent in vain for another attempt; returns those that are still ours."""
        self._store.retry(_ids(entries), self._worker)
        _set(entries, State.WAITING)
        return self.claim(entries)

    def refresh(self, entries: Sequence[RunEntry]) -> None:
        """Look how entries are that somebody else has."""
        for entry, row in zip(entries, self._store.refresh(_ids(entries)), strict=True):
            entry.read(row)

    # -- sent

    @contextmanager
    def sending(self, jobs: Sequence[Job], executor: Executor) -> Iterator[OutgoingEntries]:
        """Note that jobs are about to be sent to an executor's backend, as one job there.

        Raises:
            TakenOverError: another process has some of them. The others wait again.
        """
        with self._nothing_outgoing:
            self._outgoing += 1
        try:
            with self._lock:
                outgoing = self._outgoing_of([self._entries[job.number] for job in jobs], executor)
            yield outgoing
        finally:
            with self._nothing_outgoing:
                self._outgoing -= 1
                self._nothing_outgoing.notify_all()

    def _outgoing_of(self, entries: list[RunEntry], executor: Executor) -> OutgoingEntries:
        """What entries are sent in: what just these were sent in before, if nobody knows whether it arrived."""
        outgoing = entries[0].outgoing
        if isinstance(outgoing, OutgoingEntries) and outgoing.is_for(entries, executor):
            outgoing.may_be_there = True
            return outgoing
        self._own(entries, State.CLAIMED)
        label = f"qexec-{self._run}-{entries[0].row.id}-{secrets.token_hex(8)}"
        outgoing = OutgoingEntries(self, label, entries, executor)
        ids = _ids(entries)
        ours = self._store.sending(ids, self._worker, label, executor.name, executor.backend)
        if len(ours) < len(ids):
            self._store.retry(ours, self._worker)
            raise TakenOverError("another process has taken this one for dead, and over its jobs.")
        for entry in entries:
            entry.state, entry.outgoing = State.SENDING, outgoing
            entry.row = entry.row._replace(executor=executor.name, backend=executor.backend)
        return outgoing

    def sent(self, entries: Sequence[RunEntry], remote_id: str) -> None:
        """Note that entries were sent to a backend, in the order in which the job there has them."""
        with self._lock:
            if all(entry.future.cancelled() and not entry.left for entry in entries):
                return  # while they were being sent: the backend is told to cancel them
            self._own(entries, State.SENDING)
            self._store.sent(_ids(entries), self._worker, remote_id)
            _set_sent(entries, remote_id)

    def _own(self, entries: Sequence[RunEntry], state: State) -> None:
        """Take those back that are not as they should be: sent in vain, or cancelled while the others go on."""
        if others := [entry for entry in entries if entry.state is not state]:
            self.again(others)

    def arrived(self, entries: Sequence[RunEntry], rows: Sequence[StoredJob], remote_id: str) -> None:
        """Note that all that was sent in one job has reached its backend, although nobody had noted it.

        Args:
            entries: those of it that the program has asked for.
            rows: all of it.
            remote_id: the backend's id of the job.
        """
        ours = set(_ids(entries))
        self._store.claim([row.id for row in rows if row.id not in ours], self._worker, self._lease)
        self._store.sent([row.id for row in rows], self._worker, remote_id)
        _set_sent(entries, remote_id)

    def leaves(self, jobs: Sequence[Job]) -> bool:
        """Whether jobs that are given up are left at the backend, as the run will ask for them when it goes on."""
        entries = [self._entries.get(job.number) for job in jobs]
        if any(job.number is None for job in jobs):
            return self.resumes  # some were not asked for yet
        return self.resumes and any(entry is not None and entry.wanted for entry in entries)

    def left_at_backends(self, entries: Sequence[RunEntry]) -> list[tuple[str, str]]:
        """The executors and ids of the jobs in which entries are still at backends."""
        left = {entry.row.id for entry in entries if entry.state is State.SENT}
        rows = [row for row in self._store.refresh(sorted(left)) if row.state == State.SENT]
        return sorted({(row.executor, str(row.remote_id)) for row in rows})

    def wait_for_outgoing(self, seconds: float) -> None:
        """Wait until nothing is being sent any more."""
        with self._nothing_outgoing:
            interrupts.wait(lambda pause: self._nothing_outgoing.wait_for(lambda: not self._outgoing, pause), seconds)

    # -- ended

    def done(self, outcomes: Sequence[tuple[RunEntry, Outcome]]) -> list[RunEntry]:
        """Record results; returns entries that somebody else has by now."""
        with self._lock:
            if never_sent := [entry for entry, _ in outcomes if entry.state is State.SENDING]:
                self.again(never_sent)
            ends = [ended(entry.row, entry.job, outcome, entry.before) for entry, outcome in outcomes]
            ours = set(self._store.done(ends, self._worker))
            _set([entry for entry, _ in outcomes], State.DONE)
            return [entry for entry, _ in outcomes if entry.row.id not in ours]

    def failed(self, entry: RunEntry, error: BaseException) -> None:
        """Record a failure."""
        with self._lock:
            self._store.failed([_failed(entry, error)], self._worker)
            entry.state = State.FAILED

    def cancelled(self, entry: RunEntry) -> None:
        """Record that nobody wants an entry any more."""
        with self._lock:
            self._store.cancelled([Ended(entry.row.id, error="cancelled")], self._worker)
            entry.state = State.CANCELLED

    def give_back(self, entry: RunEntry, even_sent: bool = False) -> None:
        """Let an entry wait again that did not run.

        Args:
            entry: the entry.
            even_sent: whether that was tried in vain; else what is at a backend stays there, and is asked for later.
        """
        if entry.state is State.CLAIMED:
            self._store.release([entry.row.id], self._worker)
        elif even_sent and entry.state in _AT_A_BACKEND:
            self._store.retry([entry.row.id], self._worker)
        else:
            return
        entry.state = State.WAITING

    def keep(self, outcomes: Mapping[int, tuple[Job, Outcome]]) -> None:
        """Record results of jobs that nobody has asked for yet, by their ids."""
        self._store.claim(list(outcomes), self._worker, self._lease)
        rows = [row for row in self._store.refresh(list(outcomes)) if row.worker == self._worker]
        waiting = [row for row in rows if row.state == State.SENT]
        self._store.done([ended(row, *outcomes[row.id]) for row in waiting], self._worker)


@final
class OutgoingEntries:
    """Entries that are being sent to a backend in one job.

    Args:
        transitions: note it.
        label: of the backend's job.
        entries: the entries, in the order in which the job has them.
        executor: whose backend it is.

    Attributes:
        label: the same.
        may_be_there: whether it was sent before, and nobody knows if it has arrived.
    """

    def __init__(self, transitions: Transitions, label: str, entries: list[RunEntry], executor: Executor) -> None:
        self._transitions = transitions
        self._entries = entries
        self._executor = executor
        self.label = label
        self.may_be_there = False

    def is_for(self, entries: Sequence[RunEntry], executor: Executor) -> bool:
        """Whether it has just these entries, is for this executor, and nobody has noted that it arrived."""
        still = all(entry.outgoing is self and entry.state is State.SENDING for entry in entries)
        return still and executor is self._executor and entries == self._entries

    def sent(self, remote_id: str) -> None:
        """They were sent, and this is the backend's id of the job."""
        self._transitions.sent(self._entries, remote_id)


def _set(entries: Sequence[RunEntry], state: State) -> None:
    for entry in entries:
        entry.state = state


def _set_sent(entries: Sequence[RunEntry], remote_id: str) -> None:
    for entry in entries:
        entry.row, entry.state = entry.row._replace(remote_id=remote_id), State.SENT


def _ids(entries: Sequence[RunEntry]) -> list[int]:
    return [entry.row.id for entry in entries]
