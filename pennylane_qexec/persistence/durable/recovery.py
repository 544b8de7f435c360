"""Entries that were recorded before: answered from the store, found at their backends, or waited for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any

from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.serialization import circuit_of
from pennylane_qexec.errors import ConfigurationError, JobCancelledError, JobFailedError, NoAccessError, StoreError
from pennylane_qexec.executors.queued import QueuedExecutor
from pennylane_qexec.job import Job, Outcome, SubmissionListener, Times
from pennylane_qexec.persistence.durable.completion import Ended, EventThread, ResultRecorder
from pennylane_qexec.persistence.durable.jobs import RunEntry, digest_of
from pennylane_qexec.persistence.durable.journal import Journal, outcome_of
from pennylane_qexec.persistence.durable.transitions import JobStateWriter, SubmissionObserver
from pennylane_qexec.persistence.runners import BaseRunner
from pennylane_qexec.persistence.store import State, Store, StoredJob

logger = logging.getLogger("pennylane_qexec")


# Jobs at backends


class SentJob:
    """A job of a backend, and those of its circuits that the program has asked for.

    Args:
        executor: who had sent it.
        name: the backend's id of it; or the label that it was sent with, if that was not noted.
        known: whether the id is known.
        entries: what the program has asked for.

    Attributes:
        aside: whether it is not looked for yet, as the program has still to ask for circuits that cannot be read.
    """

    def __init__(self, executor: QueuedExecutor, name: str, known: bool, entries: list[RunEntry]) -> None:
        self.executor = executor
        self.name = name
        self.known = known
        self.entries = entries
        self.aside = False
        self._waiting: Future[Any] | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from others."""
        return self.executor.name, self.name

    @property
    def engine(self) -> BaseRunner:
        """The engine of those who ask."""
        return self.entries[0].asking.engine

    def look_for(self, then: Callable[[SentJob, Future[str | None]], None]) -> None:
        """Ask the backend for the id of the job with this label."""
        future = self.engine.found(self.executor, self.name)
        self._waiting = future
        future.add_done_callback(lambda future: then(self, future))

    def wait_for(
        self, rows: Sequence[StoredJob], jobs: Sequence[Job], then: Callable[[SentJob, Future[list[Outcome]]], None]
    ) -> None:
        """Wait for the job, and fetch its results.

        Args:
            rows: all that was sent in it.
            jobs: the jobs of these rows.
            then: called with the outcomes of all of them.
        """
        times = [Times(row.submitted, row.submitted, row.attempt) for row in rows]
        future = self.engine.take_up(self.executor, self.name, jobs, times)
        self._waiting = future
        future.add_done_callback(lambda future: then(self, future))

    def give_up_unwanted(self) -> None:
        """Stop waiting if nobody waits."""
        if self._waiting is not None and all(entry.future.cancelled() for entry in self.entries):
            self._waiting.cancel()


def flights_of(entries: Sequence[RunEntry]) -> tuple[list[SentJob], list[RunEntry]]:
    """Entries that were sent before, by the job they were sent in; and those whose backend cannot be asked.

    Args:
        entries: what is recorded as sent, or as being sent.
    """
    flights: dict[tuple[str, str], SentJob] = {}
    lost = []
    for entry in entries:
        row, executor = entry.row, _executor(entry)
        known = entry.state is State.SENT
        if executor is None or row.remote_id is None or not (known or executor.labels):
            lost.append(entry)
            continue
        key = (executor.name, row.remote_id)
        if key in flights:
            flights[key].entries.append(entry)
        else:
            flights[key] = SentJob(executor, row.remote_id, known, [entry])
    for entry in lost:
        _warn_of(entry)
    return list(flights.values()), lost


def jobs_sent(
    flight: SentJob, rows: Sequence[StoredJob], store: Store, follower: SubmissionListener
) -> tuple[list[Job], list[StoredJob]]:
    """What was sent in a job of a backend.

    Args:
        flight: the job.
        rows: all that was sent in it: what the program has asked for, and what it may ask for later.
        store: where their circuits are.
        follower: of their jobs.

    Returns:
        The jobs of the rows; and those rows that were not asked for yet, and whose circuits cannot be read.

    Raises:
        StoreError: a circuit is another one than was recorded.
    """
    asked = {entry.row.id: entry.job for entry in flight.entries}
    texts = store.circuits([row.circuit for row in rows if row.id not in asked])
    jobs, unread = [], []
    for row in rows:
        job = asked.get(row.id)
        if job is None:
            circuit = _read(row, texts.get(row.circuit))
            if circuit is None:
                unread.append(row)
                continue
            job = Job(circuit, follower=follower)
        jobs.append(replace(job, executor=flight.executor, call=job.call.unbound()))
    return jobs, unread


def _read(row: StoredJob, text: str | None) -> QuantumScript | None:
    if text is None or digest_of(text) != row.circuit:
        raise StoreError(
            f"the text of circuit {row.number + 1}, which was sent to {row.executor!r} in job {row.remote_id!r}, is "
            "missing in the store, or another one. Somebody has changed the database, or it is damaged. Restore it "
            "from a backup, or begin a run with another name."
        )
    try:
        return circuit_of(text)
    except ConfigurationError:
        return None


def _executor(entry: RunEntry) -> QueuedExecutor | None:
    """Who had sent it; ``None`` if the cluster has nobody of that name any more."""
    executor = entry.asking.engine.executor(entry.row.executor)
    return executor if isinstance(executor, QueuedExecutor) else None


def _warn_of(entry: RunEntry) -> None:
    row = entry.row
    if entry.state is State.SENT:
        logger.warning(
            "job %r was sent to %r, which this cluster does not have: its circuit runs again elsewhere",
            row.remote_id,
            row.executor,
        )
    else:
        logger.warning(
            "a circuit was being sent to %r when the program ended; whether it arrived cannot be found out there, so "
            "it is sent again",
            row.executor,
        )


# Entries

_FIRST_LOOK, _LAST_LOOK = 0.05, 2.0
_NEVER = (ConfigurationError, JobFailedError, JobCancelledError)
"""What a backend raises that will never give the results of a job."""


class RunRecovery:
    """Brings entries to their end that were recorded before.

    Args:
        store: where they are.
        book: all that is recorded.
        writer: changes them.
        follower: follows them.
        recorder: in whose thread this goes on.
        settling: ends them.
        run: runs entries that are not at any backend.
        spent: told of circuits that were picked up.
    """

    def __init__(
        self,
        store: Store,
        book: Journal,
        writer: JobStateWriter,
        follower: SubmissionObserver,
        recorder: EventThread,
        settling: ResultRecorder,
        run: Callable[[Sequence[RunEntry]], None],
        spent: Callable[[Mapping[StoredJob, Outcome]], None],
    ) -> None:
        self._store = store
        self._book = book
        self._writer = writer
        self._follower = follower
        self._recorder = recorder
        self._settling = settling
        self._run = run
        self._spent = spent
        self._flights: dict[tuple[str, str], SentJob] = {}
        self.replayed = 0
        self.picked_up = 0
        self.run_again = 0

    def begin(self, entries: Sequence[RunEntry]) -> list[RunEntry]:
        """Take entries up; returns those that are to be run, as they are at no backend."""
        self._writer.refresh(entries)
        self._answer([entry for entry in entries if entry.state is State.DONE])
        rest = [entry for entry in entries if entry.state is not State.DONE]
        return self._take_up(rest, _FIRST_LOOK) if rest else []

    def wait_for_others(self, entries: Sequence[RunEntry]) -> None:
        """Wait until another process has run entries, or ends."""
        self._recorder.put(lambda: self._look(entries, _FIRST_LOOK), _FIRST_LOOK)

    def _answer(self, entries: Sequence[RunEntry]) -> None:
        for entry in entries:
            outcome = outcome_of(entry, self._book.name)
            if outcome is None:
                self._run_unrecorded(entry)
                continue
            self.replayed += 1
            self._follower.forget(entry)
            self._settling.tell(entry, outcome)

    def _run_unrecorded(self, entry: RunEntry) -> None:
        """Run a circuit again whose result could not be recorded."""
        self.run_again += 1
        job = replace(entry.job, follower=None)
        (inner,) = entry.asking.context.copy().run(entry.asking.runner.submit, [job], entry.asking.asked)
        inner.add_done_callback(lambda inner: self._settling.tell(entry, inner.exception() or inner.result()))

    def _take_up(self, entries: Sequence[RunEntry], pause: float) -> list[RunEntry]:
        """Claim entries; look for those at a backend, and later for those that others have."""
        mine = self._writer.claim(entries)
        others = [entry for entry in entries if entry not in mine]
        if others:
            self._recorder.put(lambda: self._look(others, pause), pause)
        ready = [entry for entry in mine if entry.state is State.CLAIMED]
        flights, lost = flights_of([entry for entry in mine if entry.state is not State.CLAIMED])
        for flight in flights:
            self._recorder.put(partial(self._safely, flight.entries, partial(self._join, flight)))
        return [*ready, *(self._writer.again(lost) if lost else [])]

    def _join(self, flight: SentJob) -> None:
        """Pick a job up; if it is being picked up already, for these entries too."""
        for entry in flight.entries:
            entry.future.add_done_callback(lambda _: self._flights.get(flight.key, flight).give_up_unwanted())
        known = self._flights.get(flight.key)
        if known is None:
            self._flights[flight.key] = flight
            self._pick_up(flight)
        else:
            known.entries += flight.entries
            if known.aside:
                self._pick_up(known)

    def _pick_up(self, flight: SentJob) -> None:
        if flight.known:
            self._wait_for(flight)
        else:
            flight.look_for(self._later(self._found))

    def _look(self, entries: Sequence[RunEntry], pause: float) -> None:
        """See what has become of entries that others have."""
        open_entries = [entry for entry in entries if not entry.over]
        self._safely(open_entries, lambda: self._look_at(open_entries, pause))

    def _look_at(self, entries: Sequence[RunEntry], pause: float) -> None:
        self._writer.refresh(entries)
        self._answer([entry for entry in entries if entry.state is State.DONE])
        rest = [entry for entry in entries if not entry.over]
        if rest and (again := self._take_up(rest, min(1.5 * pause, _LAST_LOOK))):
            self._run(again)

    def _later(self, then: Callable[[SentJob, Future[Any]], None]) -> Callable[[SentJob, Future[Any]], None]:
        """The same, in the recorder's thread."""
        return lambda flight, future: self._recorder.put(
            lambda: self._safely(flight.entries, lambda: then(flight, future))
        )

    def _found(self, flight: SentJob, future: Future[str | None]) -> None:
        """A backend has said under which id it has the job with a label."""
        if future.cancelled():
            self._given_up(flight)
            return
        if (error := future.exception()) is not None:
            self._end(flight, error)
        elif (job_id := future.result()) is None:
            del self._flights[flight.key]
            self._run(self._writer.again(flight.entries))
        else:
            rows = self._book.sent_as(*flight.key)
            self._writer.arrived(flight.entries, rows, job_id)
            del self._flights[flight.key]
            flight.name, flight.known = job_id, True
            self._flights[flight.key] = flight
            self._wait_for(flight)

    def _wait_for(self, flight: SentJob) -> None:
        rows = self._book.sent_as(*flight.key)
        jobs, unread = jobs_sent(flight, rows, self._store, self._follower)
        flight.aside = bool(unread)
        if unread:
            logger.warning(
                "job %r at %r is picked up when the program has asked for %d more of its circuits, which could not be "
                "written into the store",
                flight.name,
                flight.executor.name,
                len(unread),
            )
            return
        logger.info("job %r at %r is picked up", flight.name, flight.executor.name)
        flight.wait_for(rows, jobs, lambda flight, future: self._came_back(flight, rows, future))

    def _came_back(self, flight: SentJob, rows: Sequence[StoredJob], future: Future[list[Outcome]]) -> None:
        self._recorder.put(lambda: self._safely(flight.entries, lambda: self._taken_up(flight, rows, future)))

    def _taken_up(self, flight: SentJob, rows: Sequence[StoredJob], future: Future[list[Outcome]]) -> None:
        """A job that another process had sent has ended."""
        if future.cancelled():
            self._given_up(flight)
            return
        del self._flights[flight.key]
        error = future.exception()
        if error is None:
            fetched = dict(zip(rows, future.result(), strict=True))
            outcomes = {row.id: outcome for row, outcome in fetched.items()}
            self.picked_up += len(rows)
            self._spent(fetched)
            self._keep_unasked(flight, rows, outcomes)
            self._settling.settle([Ended(entry, outcomes[entry.row.id]) for entry in flight.entries])
        elif isinstance(error, _NEVER) and not isinstance(error, NoAccessError) and not flight.engine.closed:
            logger.warning("job %r at %r has no results and runs again: %s", flight.name, flight.executor.name, error)
            self._run(self._writer.again([entry for entry in flight.entries if not entry.over]))
        else:
            self._end(flight, error)

    def _given_up(self, flight: SentJob) -> None:
        """Nobody waited for a job any more; perhaps somebody has begun to meanwhile."""
        self._flights.pop(flight.key, None)
        flight.entries = [entry for entry in flight.entries if not (entry.over or entry.future.cancelled())]
        if flight.entries:
            self._flights[flight.key] = flight
            self._pick_up(flight)

    def _keep_unasked(self, flight: SentJob, rows: Sequence[StoredJob], outcomes: dict[int, Outcome]) -> None:
        """Record the results of circuits that came along, for when the program asks for them."""
        asked = {entry.row.id for entry in flight.entries}
        self._writer.keep({row.id: outcomes[row.id] for row in rows if row.id not in asked})

    def _end(self, flight: SentJob, error: BaseException) -> None:
        """Leave a job at its backend, for the next time that the program is run."""
        self._flights.pop(flight.key, None)
        for entry in flight.entries:
            entry.left = True
        self._settling.settle([Ended(entry, error) for entry in flight.entries])

    def _safely(self, entries: Sequence[RunEntry], function: Callable[[], None]) -> None:
        """Whatever goes wrong is told to those who wait."""
        try:
            function()
        except Exception as error:
            self._settling.settle([Ended(entry, error) for entry in entries])
