"""A job of a durable run, on its way from the program to the store."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, Protocol

from pennylane_qexec.engine import AskedFuture, Engine
from pennylane_qexec.errors import JobTimeoutError
from pennylane_qexec.job import Job, Outcome
from pennylane_qexec.store import State, StoredJob


class Runner(Protocol):
    """Runs jobs: an engine, or what stands before it."""

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Run jobs and wait."""

    def submit(self, jobs: Sequence[Job], asked: Callable[[], bool] | None) -> list[AskedFuture[Outcome]]:
        """Let jobs run."""


class Asking(NamedTuple):
    """A call that asks for jobs.

    Attributes:
        runner: who runs what has to be run.
        engine: the engine behind that.
        asked: says whether somebody waits; ``None`` if the futures say it.
        context: the context variables of the caller.
    """

    runner: Runner
    engine: Engine
    asked: Callable[[], bool] | None
    context: contextvars.Context


class Entry:
    """One job that the program asks for.

    Attributes:
        job: the job, with its number in the run.
        row: as it is in the store.
        asking: the call.
        future: what the caller waits for.
        inner: the future of whoever runs it.
        state: where it is, as the store has it.
        letter: what it was sent in last.
        before: attempts made before those of this process; ``None`` if it makes none.
        left: whether nobody waits for it any more, but will when the program is run again.
        over: whether its end was dealt with.
    """

    __slots__ = ("asking", "before", "future", "inner", "job", "left", "letter", "over", "row", "state")

    def __init__(self, job: Job, row: StoredJob, asking: Asking) -> None:
        self.job = job
        self.row = row
        self.asking = asking
        self.future: AskedFuture[Outcome] = AskedFuture()
        self.inner: AskedFuture[Outcome] | None = None
        self.state = State(row.state)
        self.letter: Any = None
        self.before: int | None = None
        self.left = False
        self.over = False

    @property
    def wanted(self) -> bool:
        """Whether its result is wanted, now or when the program is run again."""
        if self.future.cancelled():
            return self.left
        return self.inner is None or not _timed_out(self.inner)


def _timed_out(future: Future[Outcome]) -> bool:
    return future.done() and not future.cancelled() and isinstance(future.exception(), JobTimeoutError)
