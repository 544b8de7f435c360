"""Entries that were recorded before: answered from the store, found at their backends, or waited for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, final

from pennylane_qexec.circuits.serialization import circuit_of, sweep_of
from pennylane_qexec.errors import ConfigurationError, JobCancelledError, JobFailedError, NoAccessError, StoreError
from pennylane_qexec.executors import QueuedExecutor
from pennylane_qexec.job import Job, Outcome, Times
from pennylane_qexec.persistence.durable.completions import RunCompletions
from pennylane_qexec.persistence.durable.jobs import RunEntry, digest_of
from pennylane_qexec.persistence.durable.journal import Journal
from pennylane_qexec.persistence.durable.transitions import Transitions
from pennylane_qexec.persistence.runners import BaseRunner
from pennylane_qexec.persistence.store import State, StoredJob
from pennylane_qexec.policies.budgets import Amounts, Budget

logger = logging.getLogger("pennylane_qexec")

_FIRST_LOOK, _LAST_LOOK = 0.05, 2.0
_NEVER = (ConfigurationError, JobFailedError, JobCancelledError)
"""What a backend raises that will never give the results of a job."""


# Jobs at backends


@dataclass(eq=False)
class SentJob:
    """A job of a backend, and those of its circuits that the program has asked for.

    Attributes:
        executor: who had sent it.
        name: the backend's id of it; or the label that it was sent with, if that was not noted.
        known: whether the id is known.
        entries: what the program has asked for.
        rows: all that was sent in it: what the program has asked for, and what it may ask for later.
        jobs: the same, as far as it can be read.
        aside: whether it is not looked for yet, as the program has still to ask for circuits that cannot be read.
        waiting: what comes of it.
    """

    executor: QueuedExecutor
    name: str
    known: bool
    entries: list[RunEntry]
    rows: list[StoredJob] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    aside: bool = False
    waiting: Future[Any] | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from others."""
        return self.executor.name, self.name

    @property
    def engine(self) -> BaseRunner:
        """The engine of those who ask."""
        return self.entries[0].call.engine

    def give_up_unwanted(self) -> None:
        """Stop waiting if nobody waits."""
        if self.waiting is not None and all(entry.future.cancelled() for entry in self.entries):
            self.waiting.cancel()


def _sent_jobs(entries: Sequence[RunEntry]) -> tuple[list[SentJob], list[RunEntry]]:
    """Entries that were sent before, by the job they were sent in; and those whose backend cannot be asked."""
    found: dict[tuple[str, str], SentJob] = {}
    lost = []
    for entry in entries:
        row, known = entry.row, entry.state is State.SENT
        executor = entry.call.engine.executor(row.executor)
        if not isinstance(executor, QueuedExecutor) or row.remote_id is None or not (known or executor.labels):
            lost.append(entry)
            continue
        key = (executor.name, row.remote_id)
        if key in found:
            found[key].entries.append(entry)
        else:
            found[key] = SentJob(executor, row.remote_id, known, [entry])
    for entry in lost:
        _warn_of(entry)
    return list(found.values()), lost


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


def _read(row: StoredJob, text: str | None) -> Job | None:
    """A recorded circuit or sweep; ``None`` if it could not be written.

    Raises:
        StoreError: it is another one than was recorded.
    """
    if text is None or digest_of(text) != row.circuit:
        raise StoreError(
            f"the text of circuit {row.number + 1}, which was sent to {row.executor!r} in job {row.remote_id!r}, is "
            "missing in the store, or another one. Somebody has changed the database, or it is damaged. Restore it "
            "from a backup, or begin a run with another name."
        )
    with suppress(ConfigurationError):
        return Job(circuit_of(text))
    with suppress(ConfigurationError):
        sweep = sweep_of(text)
        return Job(sweep.template, sweep=sweep)
    return None


# Entries


@final
class Recovery:
    """Brings entries to their end that were recorded before.

    Args:
        journal: all that is recorded.
        transitions: changes and follows them.
        completions: ends them, and has those run that are not at any backend. What takes time goes on in its thread.
        budget: what picked up circuits count for.

    Attributes:
        replayed: how many circuits were answered from the store.
        picked_up: how many circuits were fetched from backends.
    """

    def __init__(
        self, journal: Journal, transitions: Transitions, completions: RunCompletions, budget: Budget | None
    ) -> None:
        self._journal = journal
        self._transitions = transitions
        self._completions = completions
        self._budget = budget
        self._sent: dict[tuple[str, str], SentJob] = {}
        self.replayed = 0
        self.picked_up = 0

    def take_up(self, entries: Sequence[RunEntry], pause: float = _FIRST_LOOK) -> list[RunEntry]:
        """Answer what is done; claim the rest, look for it at its backend, and later for what others have.

        Args:
            entries: the entries.
            pause: seconds after which to look how those are that others have.

        Returns:
            Those that are to be run, as they are at no backend.
        """
        self._transitions.refresh(entries)
        for entry in entries:
            if entry.state is State.DONE:
                self._answer(entry)
        rest = [entry for entry in entries if entry.state is not State.DONE and not entry.over]
        mine = self._transitions.claim(rest) if rest else []
        if others := [entry for entry in rest if entry not in mine]:
            self.wait_for_others(others, pause)
        ready = [entry for entry in mine if entry.state is State.CLAIMED]
        found, lost = _sent_jobs([entry for entry in mine if entry.state is not State.CLAIMED])
        for sent in found:
            self._completions.events.put(partial(self._join, sent))
        return [*ready, *(self._transitions.again(lost) if lost else [])]

    def wait_for_others(self, entries: Sequence[RunEntry], pause: float = _FIRST_LOOK) -> None:
        """Wait until another process has run entries, or ends."""
        self._completions.events.put(lambda: self._look(entries, pause), pause)

    def _look(self, entries: Sequence[RunEntry], pause: float) -> None:
        """See what has become of entries that others have."""
        left = [entry for entry in entries if not entry.over]
        try:
            if again := self.take_up(left, min(1.5 * pause, _LAST_LOOK)):
                self._completions.begin(again)
        except Exception as error:
            self._completions.fail(left, error)

    def _answer(self, entry: RunEntry) -> None:
        outcome = self._journal.outcome(entry)
        if outcome is not None:
            self.replayed += entry.job.rows
            self._completions.tell(entry, outcome)
            return
        self._completions.executed += entry.job.rows  # its result could not be recorded
        job = replace(entry.job, follower=None)
        (inner,) = entry.call.context.copy().run(entry.call.runner.submit, [job], entry.call.asked)
        inner.add_done_callback(lambda inner: self._completions.tell(entry, inner.exception() or inner.result()))

    def _join(self, sent: SentJob) -> None:
        """Pick a job up; if it is being picked up already, for these entries too."""
        for entry in sent.entries:
            entry.future.add_done_callback(lambda _: self._sent.get(sent.key, sent).give_up_unwanted())
        known = self._sent.get(sent.key)
        if known is None:
            self._pick_up(sent)
        else:
            known.entries += sent.entries
            if known.aside:
                self._pick_up(known)

    def _pick_up(self, sent: SentJob) -> None:
        self._sent[sent.key] = sent
        self._safely(sent, self._wait_for if sent.known else self._look_for)

    def _safely(self, sent: SentJob, step: Callable[..., None], *given: Any) -> None:
        """Whatever goes wrong is told to those who wait; who asks again begins anew."""
        try:
            step(sent, *given)
        except Exception as error:
            self._sent.pop(sent.key, None)
            self._completions.fail(sent.entries, error)

    def _then(self, sent: SentJob, future: Future[Any], step: Callable[[SentJob, Any], None]) -> None:
        """Go on, in the thread of events, when a backend has answered."""
        sent.waiting = future
        future.add_done_callback(
            lambda _: self._completions.events.put(
                partial(self._safely, sent, self._given_up if future.cancelled() else step, future)
            )
        )

    def _look_for(self, sent: SentJob) -> None:
        """Ask a backend for the id of the job with a label."""
        self._then(sent, sent.engine.found(sent.executor, sent.name), self._found)

    def _found(self, sent: SentJob, future: Future[str | None]) -> None:
        """A backend has said under which id it has the job with a label."""
        if (error := future.exception()) is not None:
            self._end(sent, error)
            return
        if (job_id := future.result()) is None:
            del self._sent[sent.key]
            self._completions.begin(self._transitions.again(sent.entries))
            return
        self._transitions.arrived(sent.entries, self._journal.sent_as(*sent.key), job_id)
        del self._sent[sent.key]
        sent.name, sent.known = job_id, True
        self._pick_up(sent)

    def _wait_for(self, sent: SentJob) -> None:
        """Wait for a job, and fetch its results."""
        sent.rows = self._journal.sent_as(*sent.key)
        sent.jobs = self._jobs(sent)
        unread = len(sent.rows) - len(sent.jobs)
        sent.aside = bool(unread)
        if unread:
            logger.warning(
                "job %r at %r is picked up when the program has asked for %d more of its circuits, which could not be "
                "written into the store",
                sent.name,
                sent.executor.name,
                unread,
            )
            return
        logger.info("job %r at %r is picked up", sent.name, sent.executor.name)
        times = [Times(row.submitted, row.submitted, row.attempt) for row in sent.rows]
        self._then(sent, sent.engine.take_up(sent.executor, sent.name, sent.jobs, times), self._taken_up)

    def _jobs(self, sent: SentJob) -> list[Job]:
        """What was sent in a job of a backend, without circuits that were not asked for yet, and cannot be read."""
        asked = {entry.row.id: entry.job for entry in sent.entries}
        texts = self._journal.texts([row for row in sent.rows if row.id not in asked])
        jobs = []
        for row in sent.rows:
            job = asked.get(row.id)
            if job is None:
                job = _read(row, texts.get(row.circuit))
            if job is not None:
                bare = job.call.unbound()
                jobs.append(replace(job, executor=sent.executor, call=bare, follower=self._transitions))
        return jobs

    def _taken_up(self, sent: SentJob, future: Future[list[Outcome]]) -> None:
        """A job that another process had sent has ended."""
        del self._sent[sent.key]
        error = future.exception()
        if error is None:
            self._record(sent, future.result())
        elif isinstance(error, _NEVER) and not isinstance(error, NoAccessError) and not sent.engine.closed:
            logger.warning("job %r at %r has no results and runs again: %s", sent.name, sent.executor.name, error)
            self._completions.begin(self._transitions.again([entry for entry in sent.entries if not entry.over]))
        else:
            self._end(sent, error)

    def _record(self, sent: SentJob, outcomes: Sequence[Outcome]) -> None:
        """Record results: also those of circuits that came along, for when the program asks for them."""
        fetched = dict(zip([row.id for row in sent.rows], zip(sent.jobs, outcomes, strict=True), strict=True))
        asked = {entry.row.id for entry in sent.entries}
        self.picked_up += sum(job.rows for job in sent.jobs)
        if self._budget is not None:  # what was not known when the run was entered: shots as a rule were
            shots = sum(one.shots - row.shots for row, one in zip(sent.rows, outcomes, strict=True))
            circuits = sum(one.circuits - row.circuits for row, one in zip(sent.rows, outcomes, strict=True))
            self._budget.spend(
                Amounts(shots, circuits, sum(one.cost for one in outcomes), sum(one.seconds for one in outcomes))
            )
        self._transitions.keep({job: each for job, each in fetched.items() if job not in asked})
        self._completions.settle([(entry, fetched[entry.row.id][1]) for entry in sent.entries])

    def _given_up(self, sent: SentJob, _: Future[Any]) -> None:
        """Nobody waited for a job any more; perhaps somebody has begun to meanwhile."""
        self._sent.pop(sent.key, None)
        sent.entries = [entry for entry in sent.entries if not (entry.over or entry.future.cancelled())]
        if sent.entries:
            self._pick_up(sent)

    def _end(self, sent: SentJob, error: BaseException) -> None:
        """Leave a job at its backend, for the next time that the program is run."""
        self._sent.pop(sent.key, None)
        for entry in sent.entries:
            entry.left = True
        self._completions.fail(sent.entries, error)
