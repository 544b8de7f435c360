"""What runs jobs: the engine, or middleware in front of it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from typing import Any, Protocol

from pennylane_qexec.concurrency.futures import AskedFuture
from pennylane_qexec.executors import Executor
from pennylane_qexec.job import Job, Outcome, Times


class Runner(Protocol):
    """Runs jobs: an engine, or what stands before it."""

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Run jobs and wait."""

    def submit(self, jobs: Sequence[Job], asked: Callable[[], bool] | None) -> list[AskedFuture[Outcome]]:
        """Let jobs run."""


class BaseRunner(Runner, Protocol):
    """The engine, as middleware knows it."""

    @property
    def executors(self) -> Collection[Executor]:
        """The executors of the cluster."""

    @property
    def closed(self) -> bool:
        """Whether nothing runs any more."""

    def executor(self, name: str) -> Executor | None:
        """The executor of a name; ``None`` if there is none."""

    def runs_here(self, jobs: Sequence[Job]) -> bool:
        """Whether jobs run in the calling thread."""

    def found(self, executor: Executor, label: str) -> Future[str | None]:
        """The id of a backend's job that was sent with a label."""

    def take_up(self, executor: Any, job_id: str, jobs: Sequence[Job], times: Sequence[Times]) -> Future[list[Outcome]]:
        """Wait for a backend's job that another process has sent."""

    def note_answered(self, answered: Sequence[tuple[Job, Executor, Any]]) -> list[Outcome]:
        """Write jobs that a cache answered into the history, and make their outcomes."""
