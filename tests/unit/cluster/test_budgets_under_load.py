"""Budgets while many ask at once, and with failures, cancellations and other executors: no limit is ever passed."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Job, JobState, Result
from pennylane_qexec.policies.budgets import guard
from pennylane_qexec.testing.fakes import flip

PATIENCE = 60.0
LOST, WRONG, BUSY = "lost", "wrong", "busy"
_ERRORS = {LOST: OSError("lost"), WRONG: ValueError("wrong"), BUSY: ConnectionRefusedError("busy")}


class Bookkeeper:
    """Writes down what reaches executors, and looks at a budget every time."""

    def __init__(self, budget: qexec.Budget) -> None:
        self.budget = budget
        self.lock = threading.Lock()
        self.ran: tuple[int, ...] = (0, 0, 0)
        self.sent: tuple[int, ...] = (0, 0, 0)
        self.passed: list[Any] = []

    def look(self) -> None:
        """Note it if the budget is passed at this moment."""
        with guard:
            used, reserved, limits = self.budget.used, self.budget.reserved, self.budget.limits
        for has, will, limit in zip(used[:3], reserved[:3], limits[:3], strict=True):
            if limit is not None and round(100 * (has + will)) > round(100 * limit):
                self.passed.append((used, reserved, limits))

    def write(self, circuits: Sequence[QuantumScript], cents: int, ran: bool) -> None:
        """Circuits have reached an executor, and perhaps run there."""
        self.look()
        shots = sum(circuit.shots.total_shots or 0 for circuit in circuits)
        more = (shots, len(circuits), cents * len(circuits))
        with self.lock:
            self.sent = tuple(map(sum, zip(self.sent, more, strict=True)))
            if ran:
                self.ran = tuple(map(sum, zip(self.ran, more, strict=True)))

    def check(self, cancelled: bool = False) -> None:
        """The budget was never passed, nothing is reserved any more, and what is used is what has run.

        Of a batch that was given up while it was under way, nobody hears any more that nothing of it has run.
        """
        for thread in threading.enumerate():
            if thread.name.startswith(("qexec-Local", "qexec-Queued")):
                thread.join(PATIENCE)
        assert self.passed == []
        assert self.budget.reserved == (0, 0, 0.0, 0.0)
        used = self.budget.used
        counted = (used.shots, used.circuits, round(100 * used.cost))
        most = self.sent if cancelled else self.ran
        assert all(ran <= here <= sent for ran, here, sent in zip(self.ran, counted, most, strict=True))


class Fails:
    """Fails as it is told; when it is busy, nothing runs.

    Args:
        book: where it is written down what runs.
        script: what is wrong with each batch in turn; after the last, nothing.
        cents: what a circuit costs.
    """

    def __init__(self, book: Bookkeeper, script: Sequence[str | None], cents: int) -> None:
        self._book = book
        self._script = iter(script)
        self._lock = threading.Lock()
        self._cents = cents

    def __call__(self, circuits: Sequence[QuantumScript]) -> None:
        with self._lock:
            trouble = next(self._script, None)
        self._book.write(circuits, self._cents, ran=trouble != BUSY)
        if trouble is not None:
            raise _ERRORS[trouble]


class Local(qexec.Executor):
    """Answers zeros, in the calling thread or in its own."""

    def __init__(self, fails: Fails, here: bool, **options: Any) -> None:
        super().__init__(**options)
        self._fails = fails
        self._here = here

    @property
    def local(self) -> bool:
        return self._here

    def ran_nothing(self, error: BaseException) -> bool:
        return error is _ERRORS[BUSY]

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        self._fails(circuits)
        return [0.0] * len(circuits)


class Queued(qexec.QueuedExecutor):
    """Answers zeros; a job is done when it is polled for the second time. What is wrong shows when it is fetched."""

    poll_interval = 0.0

    def __init__(self, fails: Fails, **options: Any) -> None:
        super().__init__(**options)
        self._fails = fails
        self._jobs: dict[str, Any] = {}
        self._polled: set[str] = set()

    def ran_nothing(self, error: BaseException) -> bool:
        return error is _ERRORS[BUSY]

    def submit(self, circuits: Sequence[QuantumScript]) -> str:
        job_id = f"job {len(self._jobs)} of {id(circuits)}"
        try:
            self._fails(circuits)
            self._jobs[job_id] = [0.0] * len(circuits)
        except (OSError, ValueError) as error:
            self._jobs[job_id] = error
        return job_id

    def poll(self, job_id: str) -> JobState:
        if job_id in self._polled:
            return JobState.FAILED if isinstance(self._jobs[job_id], Exception) else JobState.DONE
        self._polled.add(job_id)
        return JobState.RUNNING

    def fetch(self, job_id: str) -> Sequence[Result]:
        found = self._jobs[job_id]
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]

    def cancel(self, job_id: str) -> None:
        pass


# Three failures in a row that are not a circuit's fault set an executor aside for a second.
scripts = st.lists(st.sampled_from([None, None, WRONG, LOST, BUSY]), max_size=6).filter(
    lambda script: sum(trouble in (LOST, BUSY) for trouble in script) < 3
)
executors = st.lists(
    st.tuples(st.sampled_from(["here", "thread", "queue"]), scripts, st.integers(0, 3)), min_size=1, max_size=3
)
calls = st.lists(
    st.tuples(
        st.sampled_from(["execute", "submit", "cancel", "cancel some"]),
        st.lists(st.integers(0, 50), min_size=1, max_size=4),
    ),
    max_size=12,
)
limits = st.fixed_dictionaries(
    {},
    optional={
        "shots": st.integers(0, 800),
        "circuits": st.integers(0, 30),
        "cost": st.integers(0, 60).map(lambda cents: cents / 100),
    },
)


def built(book: Bookkeeper, kind: str, script: Sequence[str | None], cents: int) -> qexec.Executor:
    """An executor of the workload."""
    fails, options = Fails(book, script, cents), {"cost": qexec.Cost(per_circuit=cents / 100)}
    return Queued(fails, **options) if kind == "queue" else Local(fails, kind == "here", **options)


def asked(cluster: qexec.QCluster, way: str, circuits: list[QuantumScript], number: int) -> list[Any]:
    """Ask for circuits; returns the futures of those that are still under way."""
    if way == "execute":
        cluster.execute(circuits)
        return []
    several = cluster.executors
    futures = cluster.submit([Job(circuit, several[(number + k) % len(several)]) for k, circuit in enumerate(circuits)])
    for future in futures[:: 1 if way == "cancel" else 2] if way != "submit" else []:
        future.cancel()
    return list(futures)


def carried_out(given: Any, work: Any, options: Any, policy: dict[str, str]) -> None:
    """A workload, at whose end the books agree."""
    budget = qexec.Budget(**options)
    book = Bookkeeper(budget)
    retry = qexec.retries.backoff(attempts=3, initial=0.0)
    with qexec.QCluster([built(book, *one) for one in given], budget=budget, retry=retry, **policy) as cluster:
        futures: list[Any] = []
        for number, (way, shots) in enumerate(work):
            with suppress(qexec.ExecutorError, qexec.BudgetExceededError):
                futures += asked(cluster, way, [flip(0.1, each or None) for each in shots], number)
            book.look()
        for future in futures:
            with suppress(qexec.ExecutorError, qexec.BudgetExceededError, CancelledError):
                future.result(PATIENCE)
    book.look()
    book.check(cancelled=any(way != "submit" for way, _ in work))


policies = st.sampled_from([{"selector": "cyclic"}, {"selector": "least_loaded"}, {"split": "uniform"}])


@given(executors, calls, limits, policies)
def test_whatever_happens_no_budget_is_passed_and_all_that_ran_is_counted(
    given: Any, work: Any, options: Any, policy: dict[str, str]
) -> None:
    carried_out(given, work, options, policy)


@pytest.mark.slow
@settings(max_examples=300)
@given(executors, calls, limits, policies)
def test_whatever_happens_hundreds_of_times_no_budget_is_passed_and_all_that_ran_is_counted(
    given: Any, work: Any, options: Any, policy: dict[str, str]
) -> None:
    carried_out(given, work, options, policy)


@pytest.mark.parametrize("kind", ["here", "thread", "queue"])
def test_twenty_threads_use_a_budget_up_to_the_last_shot_and_not_beyond(kind: str) -> None:
    """Every thread asks for 7 circuits of 3 shots until it is refused: 2,000 shots are enough for 95 such calls."""
    budget = qexec.Budget(shots=2000, cost=20)
    book = Bookkeeper(budget)
    refused: list[qexec.BudgetExceededError] = []
    done: list[int] = []
    with qexec.QCluster([built(book, kind, [], 1)], budget=budget) as cluster:

        def ask() -> None:
            while True:
                try:
                    cluster.execute([flip(0.1, 3)] * 7)
                except qexec.BudgetExceededError as error:
                    refused.append(error)
                    return
                done.append(1)
                book.look()

        threads = [threading.Thread(target=ask) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    book.check()
    assert len(refused) == 20
    assert all(error.used + error.reserved + error.asked > 2000 for error in refused)
    assert all(error.used + error.reserved <= 2000 for error in refused)
    assert 95 - 20 < len(done) <= 95  # while others are under way, a call may be refused that would fit after them
    assert budget.used.shots == 21 * len(done)


def test_clusters_that_share_a_budget_do_not_pass_it_together() -> None:
    budget = qexec.Budget(circuits=100)
    book = Bookkeeper(budget)
    kinds = ("here", "thread", "queue", "thread")
    clusters = [qexec.QCluster([built(book, kind, [], 0)], budget=budget) for kind in kinds]

    def ask(cluster: qexec.QCluster) -> None:
        with suppress(qexec.BudgetExceededError):
            while True:
                cluster.execute([flip(0.1)])

    threads = [threading.Thread(target=ask, args=(cluster,)) for cluster in clusters]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    for cluster in clusters:
        cluster.close()
    book.check()
    assert 96 < budget.used.circuits <= 100
