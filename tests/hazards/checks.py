"""What must be so at the end of every workload."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from hazards.executors import Busy, Lost, Wrong
from hazards.ledger import Ledger, number_of, numbers_in
from hazards.plan import Call, Workload

import pennylane_qexec as qexec
from pennylane_qexec.concurrency import lifecycle
from pennylane_qexec.errors import NoAccessError
from pennylane_qexec.job import Job, Outcome

_OF_THE_ENGINE = ("results were returned for", "None was returned", "ended as", "SystemExit: good bye")


@dataclass
class Asked:
    """A call, and what became of it.

    Attributes:
        call: the call.
        jobs: its jobs, if it came so far.
        handed_in: futures of the jobs, if it did not wait for them.
        futures: those that the caller got.
        outcomes: what it got if it waited.
        finish: makes the results of the circuits of those of the jobs.
        error: what went wrong at once.
        shots: the numbers of the shots of all jobs that came back.
        results: the results of the circuits, if all came back.
    """

    call: Call
    jobs: Sequence[Job] = ()
    handed_in: Sequence[Future[Outcome]] = ()
    futures: Sequence[Future[Any]] = ()
    outcomes: Sequence[Outcome] = ()
    finish: Callable[[Sequence[Any]], list[Any]] | None = None
    error: BaseException | None = None
    shots: list[int] = field(default_factory=list)
    results: list[Any] = field(default_factory=list)


def check_call(one: Asked, workload: Workload, cluster: qexec.QCluster, ledger: Ledger) -> None:
    """Each future has ended, well or for a good reason, and what came back is what was asked for."""
    if one.error is not None:
        _check_error(one.error, one, workload, ledger)
    outcomes: list[Outcome | None] = list(one.outcomes) or [_outcome(f, one, workload, ledger) for f in one.handed_in]
    for job, outcome in zip(one.jobs, outcomes, strict=False):
        if outcome is not None:
            one.shots += _check_outcome(job, outcome, cluster, ledger)
    for future in one.futures if one.call.way == "later" else ():
        _check_later(future, one, workload, ledger, outcomes)
    if outcomes and None not in outcomes:
        assert one.finish is not None
        one.results = one.finish([outcome.result for outcome in outcomes if outcome is not None])
        _check_results(one, one.results, workload)


def check_books(
    asked: Sequence[Asked],
    workload: Workload,
    cluster: qexec.QCluster,
    ledger: Ledger,
    budgets: Sequence[qexec.Budget | None],
) -> None:
    """Nothing was counted twice or forgotten."""
    shots = [shot for one in asked for shot in one.shots]
    assert len(set(shots)) == len(shots), "a shot was returned twice"
    assert not ledger.passed, f"a budget was passed: {ledger.passed[0]}"
    for budget in budgets:
        if budget is not None:
            _check_budget(budget, _some_gave_up(asked, workload), ledger)
    for executor in (*cluster.executors, *(inner for outer in cluster.executors for inner in outer.members)):
        assert executor.load().waiting == 0, f"{executor!r} has {executor.load().waiting} circuits waiting"
    assert cluster._engine._completions not in [owner for _, owner in lifecycle._jobs], "the program would not end"
    _check_rows(asked, cluster)
    _note(asked, ledger)


def _outcome(future: Future[Outcome], one: Asked, workload: Workload, ledger: Ledger) -> Outcome | None:
    assert future.done(), "a future has not ended"
    if future.cancelled():
        assert one.call.cancelled or one.call.way == "later", "a future was cancelled by nobody"
        return None
    error = future.exception()
    if error is None:
        return future.result()
    _check_error(error, one, workload, ledger)
    return None


def _check_outcome(job: Job, outcome: Outcome, cluster: qexec.QCluster, ledger: Ledger) -> list[int]:
    """Check that the shots are as many as were asked for, and were executed, by this executor, for this circuit."""
    shots = numbers_in(outcome.result)
    assert outcome.shots == job.shots
    assert len(shots) == (job.shots or 1), f"{len(shots)} shots came back for {job.shots}"
    members = {executor.name: executor for executor in cluster.executors}
    names = {executor.name for executor in members[outcome.executor].members} or {outcome.executor}
    for shot in shots:
        execution = ledger.execution(shot)
        assert execution is not None, "a shot was invented"
        assert execution.circuit == number_of(job.circuit), "a shot is another circuit's"
        assert execution.executor in names, "a shot is another executor's"
    if outcome.attempt > 1:
        ledger.count("done after a retry")
    if job.executor is not None and job.executor.name != outcome.executor:
        ledger.count("done by another executor")
    return shots


def _check_later(
    future: Future[Any], one: Asked, workload: Workload, ledger: Ledger, outcomes: Sequence[Outcome | None]
) -> None:
    assert future.done(), "a future has not ended"
    if future.cancelled():
        assert one.call.cancelled, "a future was cancelled by nobody"
    elif (error := future.exception()) is not None:
        _check_error(error, one, workload, ledger)
    else:
        _check_results(one, future.result(), workload)
        assert None not in outcomes


def _check_results(one: Asked, results: list[Any], workload: Workload) -> None:
    """Check that the results have all the shots that came back, and those that were asked for."""
    of_results = [numbers_in(result) for result in results]
    assert sorted(shot for numbers in of_results for shot in numbers) == sorted(one.shots), "a merge lost a shot"
    for numbers, (_, asked) in zip(of_results, one.call.circuits, strict=True):
        wanted = sum(asked) if isinstance(asked, list) else asked or 1
        times = range(1, 1 + len(workload.members)) if workload.options.get("split") == "multiplier" else (1,)
        assert len(numbers) in [factor * wanted for factor in times], f"{len(numbers)} shots in place of {wanted}"


def _check_error(error: BaseException, one: Asked, workload: Workload, ledger: Ledger) -> None:
    """Check that there is a reason for an error."""
    ledger.count(f"{type(error).__name__}")
    cause: BaseException | None = error
    while isinstance(cause, qexec.ExecutorError):
        cause = cause.cause
    if cause is error:
        assert _allowed(error, workload), repr(error)
    else:
        told = isinstance(cause, Busy | Lost | Wrong | qexec.JobFailedError | qexec.JobCancelledError)
        told = told or isinstance(cause, qexec.NoExecutorError | qexec.BudgetExceededError | NoAccessError)
        assert told or any(words in str(cause) for words in _OF_THE_ENGINE), repr(error)


def _allowed(error: BaseException, workload: Workload) -> bool:
    if isinstance(error, qexec.JobTimeoutError):
        return "timeout" in workload.options
    if isinstance(error, qexec.BudgetExceededError):
        return workload.budgets != (None, None)
    if isinstance(error, qexec.NoExecutorError):
        return True
    if isinstance(error, qexec.JobCancelledError | qexec.ConfigurationError):
        return workload.closed is not None
    return False


def _some_gave_up(asked: Sequence[Asked], workload: Workload) -> bool:
    """Whether something may have been given up that was sent: also where one circuit fails, so that others are moot."""
    moot = [one for one in asked if one.call.way != "submit" and not one.results]
    return workload.gives_up or bool(moot) or any(member.members for member in workload.members)


def _check_budget(budget: qexec.Budget, some_gave_up: bool, ledger: Ledger) -> None:
    """Check that what is used is what ran. Where it was given up, nobody heard that nothing of it ran."""
    assert budget.reserved == (0, 0, 0.0, 0.0), f"still reserved: {budget.reserved}"
    used = (budget.used.shots, budget.used.circuits, round(100 * (budget.used.cost or 0)))
    for ran, here, sent in zip(ledger.charged, used, ledger.sent, strict=True):
        assert ran <= here <= (sent if some_gave_up else ran), f"{used} used; ran {ledger.charged}"


def _check_rows(asked: Sequence[Asked], cluster: qexec.QCluster) -> None:
    """Check that there is a row for each job that has ended; if a call failed as a whole, there may be none."""
    surely = sum(len(one.jobs) for one in asked if one.error is None)
    perhaps = sum(len(one.jobs) for one in asked if one.error is not None)
    assert surely <= len(cluster.history) <= surely + perhaps, f"{len(cluster.history)} rows for {surely} jobs"


def _note(asked: Sequence[Asked], ledger: Ledger) -> None:
    ledger.seen["calls"] += len(asked)
    ledger.seen["circuits"] += sum(len(one.call.circuits) for one in asked)
    ledger.seen["jobs"] += sum(len(one.jobs) for one in asked)
    ledger.seen["circuits sent"] += ledger.sent[1]
    ledger.seen["shots returned"] += sum(len(one.shots) for one in asked)
