"""Jobs that a process had sent to a backend before it ended: found again there, and waited for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from pennylane.tape import QuantumScript

from pennylane_qexec.durable.entry import Entry
from pennylane_qexec.durable.written import digest_of
from pennylane_qexec.engine import Engine, Times
from pennylane_qexec.errors import ConfigurationError, StoreError
from pennylane_qexec.executors.queued import QueuedExecutor
from pennylane_qexec.job import Follower, Job, Outcome
from pennylane_qexec.store import State, Store, StoredJob
from pennylane_qexec.written import circuit_of

logger = logging.getLogger("pennylane_qexec")


class Flight:
    """A job of a backend, and those of its circuits that the program has asked for.

    Args:
        executor: who had sent it.
        name: the backend's id of it; or the label that it was sent with, if that was not noted.
        known: whether the id is known.
        entries: what the program has asked for.

    Attributes:
        aside: whether it is not looked for yet, as the program has still to ask for circuits that cannot be read.
    """

    def __init__(self, executor: QueuedExecutor, name: str, known: bool, entries: list[Entry]) -> None:
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
    def engine(self) -> Engine:
        """The engine of those who ask."""
        return self.entries[0].asking.engine

    def look_for(self, then: Callable[[Flight, Future[str | None]], None]) -> None:
        """Ask the backend for the id of the job with this label."""
        future = self.engine.found(self.executor, self.name)
        self._waiting = future
        future.add_done_callback(lambda future: then(self, future))

    def wait_for(
        self, rows: Sequence[StoredJob], jobs: Sequence[Job], then: Callable[[Flight, Future[list[Outcome]]], None]
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


def flights_of(entries: Sequence[Entry]) -> tuple[list[Flight], list[Entry]]:
    """Entries that were sent before, by the job they were sent in; and those whose backend cannot be asked.

    Args:
        entries: what is recorded as sent, or as being sent.
    """
    flights: dict[tuple[str, str], Flight] = {}
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
            flights[key] = Flight(executor, row.remote_id, known, [entry])
    for entry in lost:
        _warn_of(entry)
    return list(flights.values()), lost


def jobs_sent(
    flight: Flight, rows: Sequence[StoredJob], store: Store, follower: Follower
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


def _executor(entry: Entry) -> QueuedExecutor | None:
    """Who had sent it; ``None`` if the cluster has nobody of that name any more."""
    executor = entry.asking.engine.executor(entry.row.executor)
    return executor if isinstance(executor, QueuedExecutor) else None


def _warn_of(entry: Entry) -> None:
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
