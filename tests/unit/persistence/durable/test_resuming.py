"""Entries that were recorded before, where backends and threads answer at once."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pennylane_qexec.concurrency.futures import AskedFuture
from pennylane_qexec.job import Job
from pennylane_qexec.persistence.durable.jobs import UNRECORDED, RunCall, RunEntry
from pennylane_qexec.persistence.durable.journal import Journal
from pennylane_qexec.persistence.durable.recovery import Recovery
from pennylane_qexec.persistence.durable.transitions import Transitions
from pennylane_qexec.persistence.store import Ended, NewJob, Store, StoredJob, open_store
from pennylane_qexec.testing.fakes import FakeQPU, flip

LEASE = 1000.0


class AtOnce:
    """Handles events when they come, as a thread that is fast enough does, and notes what is to be run.

    What is to be done later waits until the test does it.
    """

    def __init__(self) -> None:
        self.events = self
        self.executed = 0
        self.begun: list[RunEntry] = []
        self.later: list[Callable[[], None]] = []

    def put(self, event: Callable[[], None], delay: float = 0.0) -> None:
        if delay:
            self.later.append(event)
        else:
            event()

    def begin(self, entries: Sequence[RunEntry]) -> None:
        self.begun += entries


class Engine:
    """An engine whose backend answers before anybody has turned round."""

    def __init__(self, qpu: FakeQPU) -> None:
        self.qpu = qpu
        self.taken_up: list[str] = []
        self.submitted: list[Job] = []

    def submit(self, jobs: list[Job], asked: Any) -> list[AskedFuture[Any]]:
        self.submitted += jobs
        return [AskedFuture() for _ in jobs]

    def executor(self, name: str) -> FakeQPU:
        return self.qpu

    def found(self, executor: FakeQPU, label: str) -> Future[str | None]:
        future: Future[str | None] = Future()
        future.set_result(executor.find(label))
        return future

    def take_up(self, executor: FakeQPU, job_id: str, jobs: Any, times: Any) -> Future[Any]:
        self.taken_up.append(job_id)
        return Future()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "run.db") as opened:
        yield opened


@dataclass
class Resumed:
    """A run that is taken up, with one circuit recorded for a QPU."""

    store: Store
    row: StoredJob
    run: int

    def begin(self, completions: Any) -> tuple[RunEntry, list[RunEntry], Engine]:
        """Ask for the circuit; returns its entry, what is run, and the engine."""
        engine: Any = Engine(FakeQPU("qpu"))
        transitions = Transitions(self.store, self.run, "me", LEASE, resumes=True)
        journal = Journal(self.store, self.store.open_run("run"), "me", LEASE)
        recovery = Recovery(journal, transitions, completions, None)
        entry = RunEntry(Job(flip(0.1)), self.row, RunCall(engine, engine, None, contextvars.copy_context()))
        begun = recovery.take_up([entry])
        return entry, [*completions.begun, *begun], engine


@pytest.fixture
def recorded(store: Store) -> Callable[[str], Resumed]:
    """Records a circuit of a worker, about to be sent."""

    def record(worker: str) -> Resumed:
        run = store.open_run("run").id
        (row,) = store.record(run, [NewJob(0, "key", "digest", "circuit", "qpu")], worker, LEASE)
        store.sending([row.id], worker, "label")
        return Resumed(store, row, run)

    return record


def test_what_never_reached_its_backend_runs_once_however_soon_the_backend_says_so(
    store: Store, recorded: Callable[[str], Resumed]
) -> None:
    resumed = recorded("dead")
    store.leave("dead")
    entry, begun, _ = resumed.begin(AtOnce())
    assert begun == [entry]


def test_a_circuit_that_came_along_in_a_job_is_picked_up_and_not_waited_for_as_if_others_had_it(
    store: Store, recorded: Callable[[str], Resumed]
) -> None:
    resumed = recorded("me")
    store.sent([resumed.row.id], "me", "job-7")
    _, begun, engine = resumed.begin(AtOnce())
    assert (begun, engine.taken_up) == ([], ["job-7"])


def test_what_others_had_run_without_a_result_that_can_be_recorded_runs_once_however_long_that_takes(
    store: Store, recorded: Callable[[str], Resumed]
) -> None:
    resumed, completions = recorded("other"), AtOnce()
    _, begun, engine = resumed.begin(completions)
    store.sent([resumed.row.id], "other", "job-7")
    store.done([Ended(resumed.row.id, error=UNRECORDED)], "other")
    while completions.later:
        completions.later.pop()()
    assert (begun, len(engine.submitted)) == ([], 1)
