"""Which budgets count for what is asked for here: those of the context, and that of the process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pennylane_qexec.budget.limits import Budget

_of_context: ContextVar[tuple[Budget, ...]] = ContextVar("qexec_budgets", default=())
_of_process: list[Budget] = []


def for_process(budget: Budget | None) -> None:
    """Let a budget, or none, count in this process."""
    _of_process[:] = [] if budget is None else [budget]


def enter(budget: Budget) -> None:
    """Let a budget count in this context."""
    _of_context.set((*_of_context.get(), budget))


def leave(budget: Budget) -> None:
    """Let it no longer count in this context; if it was entered several times, once less."""
    budgets = list(_of_context.get())
    if budget in budgets:
        del budgets[len(budgets) - 1 - budgets[::-1].index(budget)]
    _of_context.set(tuple(budgets))


def in_force(own: Budget | None, inside: bool) -> tuple[Budget, ...]:
    """The budgets that count for a call, each once.

    Args:
        own: that of the cluster.
        inside: whether the call is made from inside of a batch, whose circuits count for the process already.
    """
    budgets = _of_context.get()
    if not budgets and (inside or not _of_process):
        return () if own is None else (own,)
    process = () if inside else tuple(_of_process)
    return tuple(dict.fromkeys((*(() if own is None else (own,)), *budgets, *process)))


def pass_on(budgets: tuple[Budget, ...]) -> Token[tuple[Budget, ...]]:
    """Inside of a batch, in its context: let these count and no others, as its circuits have been counted."""
    return _of_context.set(budgets)


def restore(token: Token[tuple[Budget, ...]]) -> None:
    """Let those count again that counted before :func:`pass_on`."""
    _of_context.reset(token)


@contextmanager
def counting(budget: Budget | None) -> Iterator[None]:
    """While this lasts, let a budget count in this context, if it does not already."""
    if budget is None or budget in _of_context.get():
        yield
        return
    token = _of_context.set((*_of_context.get(), budget))
    try:
        yield
    finally:
        _of_context.reset(token)
