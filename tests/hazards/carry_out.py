"""A workload is carried out, and everything that came of it is checked."""

from __future__ import annotations

import faulthandler
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import ExitStack, nullcontext
from typing import Any

from hazards.checks import Asked, check_books, check_call
from hazards.clock import Clock
from hazards.executors import Blocking, Queued, Troubles
from hazards.ledger import Ledger, circuit_of
from hazards.plan import Call, Member, Workload

import pennylane_qexec as qexec
from pennylane_qexec.cluster.planning import CallPlanner
from pennylane_qexec.device.futures import CircuitFuture

WATCHDOG = 60.0
"""Seconds after which something that has not ended never will."""


def carry_out(workload: Workload, clock: Clock, **options: Any) -> Counter[str]:
    """Carry a workload out.

    Args:
        workload: the workload.
        clock: the clock in place.
        options: options of the cluster beside those of the workload.

    Returns:
        How often what happened.

    Raises:
        AssertionError: something came of it that must not.
    """
    budgets = [None if limits is None else qexec.Budget(**limits) for limits in workload.budgets]
    before = set(threading.enumerate())
    ledger = Ledger([budget for budget in budgets if budget is not None])
    with ExitStack() as stack:
        build = _Builder(ledger, clock, stack)
        executors = [build(member, str(number)) for number, member in enumerate(workload.members)]
        cluster = qexec.QCluster(executors, budget=budgets[0], **(workload.options | options))
        stack.callback(_at_once, [cluster.close])
        stack.callback(ledger.ended.set)
        close = threading.Thread(target=cluster.close, daemon=True)
        if workload.closed is not None:
            ledger.at(workload.closed, close.start) if workload.closed else close.start()
        callers = [_Caller(cluster, ledger, budgets[1], calls) for calls in workload.callers]
        _at_once([caller.ask for caller in callers])
        asked = [one for caller in callers for one in caller.asked]
        for one in asked:
            for future in (*one.futures, *one.handed_in):
                _wait_for(future)
        if workload.closed is not None and close.ident is not None:
            _join(close)
    _let_end(set(threading.enumerate()) - before)
    for one in asked:
        check_call(one, workload, cluster, ledger)
    check_books(asked, workload, cluster, ledger, budgets)
    return ledger.seen


class _Builder:
    """Makes the executors of a workload, and closes clusters among them at the end."""

    def __init__(self, ledger: Ledger, clock: Clock, stack: ExitStack) -> None:
        self._ledger = ledger
        self._clock = clock
        self._stack = stack

    def __call__(self, member: Member, name: str) -> Any:
        if member.kind == "cluster":
            inside = [self(one, f"{name}.{number}") for number, one in enumerate(member.members)]
            cluster = qexec.QCluster(inside, **member.options)
            self._stack.callback(_at_once, [cluster.close])
            return cluster
        troubles = Troubles(self._ledger, self._clock, **member.troubles)
        if member.kind == "queue":
            return Queued(troubles, name=name, **member.options)
        return Blocking(troubles, member.kind == "here", name=name, **member.options)


class _Caller:
    """Somebody who asks for circuits."""

    def __init__(
        self, cluster: qexec.QCluster, ledger: Ledger, budget: qexec.Budget | None, calls: Sequence[Call]
    ) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._budget = budget
        self._calls = calls
        self.asked: list[Asked] = []
        for call in calls:
            one = Asked(call)
            self.asked.append(one)
            for arrival, step in call.cancelled:
                if arrival:
                    ledger.at(arrival, lambda one=one, step=step: self._cancel(one, step))

    def ask(self) -> None:
        """Ask for everything."""
        with self._budget or nullcontext():
            for one in self.asked:
                try:
                    self._ask(one)
                except qexec.QExecError as error:
                    one.error = error
                for arrival, step in one.call.cancelled:
                    if not arrival:
                        self._cancel(one, step)

    def _ask(self, one: Asked) -> None:
        dispatcher = CallPlanner(self._cluster, later=one.call.way != "run")
        expanded = [dispatcher(circuit_of(number, shots)) for number, shots in one.call.circuits]
        one.jobs = [dispatcher.job(circuit) for batch, _ in expanded for circuit in batch]

        def finish(results: Sequence[Any]) -> list[Any]:
            remaining = iter(results)
            return [postprocess([next(remaining) for _ in batch]) for batch, postprocess in expanded]

        one.finish = finish
        if one.call.way == "run":
            one.outcomes = self._cluster.run(one.jobs)
            return
        if one.call.way == "submit":
            one.handed_in = one.futures = self._cluster.submit(one.jobs)
            return
        future = CircuitFuture()
        one.handed_in = self._cluster.submit(one.jobs, lambda: future.asked)
        one.futures = [future.follow(one.handed_in, finish)]

    def _cancel(self, one: Asked, step: int) -> None:
        for future in list(one.futures)[::step]:
            if future.cancel():
                self._ledger.count("cancelled futures")


def _at_once(functions: Sequence[Callable[[], None]]) -> None:
    """Call functions, each in a thread of its own, where one that never returns is noticed."""
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        _join(thread)


def _wait_for(future: Future[Any]) -> None:
    try:
        future.exception(WATCHDOG)
    except CancelledError:
        pass
    except TimeoutError:
        if not future.done():
            _stuck(repr(future))


def _join(thread: threading.Thread) -> None:
    while thread in threading.enumerate():
        try:
            thread.join(WATCHDOG)
        except RuntimeError:
            continue  # it is about to be started
        if thread.is_alive():
            _stuck(repr(thread))


def _let_end(threads: Iterable[threading.Thread]) -> None:
    """Wait for the end of threads: none of a cluster that is closed stays."""
    for thread in threads:
        _join(thread)


def _stuck(what: str) -> None:
    faulthandler.dump_traceback(all_threads=True)
    raise AssertionError(f"{what} does not come to its end")
