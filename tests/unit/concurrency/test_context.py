"""The context of a call: what changes it, what takes it along, and what is put back."""

import contextvars
import threading
from concurrent.futures import Future
from typing import Any

from pennylane_qexec.concurrency import context
from pennylane_qexec.concurrency.context import AwaitedFutures, CallContext, ChainLock, OutcomeLog
from pennylane_qexec.policies import budgets
from pennylane_qexec.policies.budgets import Budget


def test_outside_of_all_calls_nothing_holds():
    assert context.current() == CallContext()


def test_a_batch_is_one_deeper_than_its_caller_and_afterwards_all_is_as_before():
    def look() -> None:
        before = context.current()
        with context.inside():
            assert context.current() == CallContext(depth=1)
            with context.inside(batch_depth=4, recorded=True, budgets=("inner",)):
                assert context.current() == CallContext(depth=5, recorded=True, budgets=("inner",))
                with context.inside():
                    assert context.current() == CallContext(depth=6, recorded=True, budgets=("inner",))
            assert context.current() == CallContext(depth=1)
        assert context.current() is before

    contextvars.copy_context().run(look)


def test_what_else_a_batch_has_changed_stays_when_it_is_over():
    budget = Budget(shots=10)

    def look() -> None:
        with context.inside(recorded=True):
            budgets.enter(budget)
        assert context.current() == CallContext(budgets=(budget,))
        with context.inside():
            budgets.leave(budget)
        assert context.current() == CallContext()

    contextvars.copy_context().run(look)


def test_letting_a_lock_go_undoes_nothing_that_was_changed_while_it_was_held():
    budget, lock = Budget(shots=10), ChainLock()

    def look() -> None:
        with lock.held():
            with lock.held():
                budgets.enter(budget)
            assert len(context.current().holds) == 1
        assert context.current() == CallContext(budgets=(budget,))

    contextvars.copy_context().run(look)


def test_a_copy_of_a_context_takes_everything_along_and_gives_nothing_back():
    seen: list[CallContext] = []

    def look() -> None:
        seen.append(context.current())
        context.set_current(CallContext(function_depth=7))

    def ask() -> None:
        log = OutcomeLog()
        context.set_current(context.current()._replace(outcome_log=log, function_depth=2, runs=("run",)))
        before = context.current()
        thread = threading.Thread(target=contextvars.copy_context().run, args=(look,))
        thread.start()
        thread.join()
        assert seen == [before]
        assert context.current() is before

    contextvars.copy_context().run(ask)


def test_a_thread_that_was_given_no_context_begins_with_none():
    seen: list[CallContext] = []
    with context.inside():
        thread = threading.Thread(target=lambda: seen.append(context.current()))
        thread.start()
        thread.join()
    assert seen == [CallContext()]


def test_outcomes_are_noted_outside_of_batches_by_the_log_and_those_around_it():
    def look() -> list[Any]:
        outer = OutcomeLog()
        context.set_current(CallContext(outcome_log=outer))
        inner = OutcomeLog()
        context.set_current(CallContext(outcome_log=inner))
        context.note(["a"])
        with context.inside():
            context.note(["part of a"])
        return [outer.outcomes, inner.outcomes]

    assert contextvars.copy_context().run(look) == [["a"], ["a"]]


def test_what_a_batch_waits_for_is_given_up_with_it():
    awaited, early, late = AwaitedFutures(), Future[None](), Future[None]()
    with context.inside(awaited=awaited), context.waiting_for([early]):
        awaited.give_up()
        with context.inside(), context.waiting_for([late]):
            pass
    assert early.cancelled()
    assert late.cancelled()
