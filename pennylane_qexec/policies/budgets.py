"""Budgets: limits on what circuits may use, reserved before they are sent and settled after.

Those of the context and that of the process count for what is asked for; each job has an account of what it has
reserved of them. Amounts are in whole units inside, so that sums are exact.
"""

from __future__ import annotations

import logging
import math
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from numbers import Integral, Real
from types import TracebackType
from typing import Any, NamedTuple, Self

from pennylane_qexec.concurrency import context
from pennylane_qexec.errors import BudgetExceededError, ConfigurationError, coerce
from pennylane_qexec.redaction.display import even_incomplete

NAMES = ("shots", "circuits", "cost", "seconds")

SCALES = (1, 1, 10**12, 10**9)
"""Units in one shot, one circuit, one US dollar, one second: in floats, three times 0.1 would be more than 0.3."""

WORDS = ("shots", "circuits", "US dollars", "seconds")


Amount = tuple[int, int, int, int]
"""An amount in whole units: shots, circuits, 1e-12 US dollars, nanoseconds."""

NOTHING: Amount = (0, 0, 0, 0)


class Amounts(NamedTuple):
    """Shots, circuits, cost in US dollars, and seconds of running time; of what is left, ``None`` is no limit."""

    shots: int | None
    circuits: int | None
    cost: float | None
    seconds: float | None


def amount(shots: int, circuits: int, cost: float, seconds: float) -> Amount:
    """An amount, given in shots, circuits, US dollars and seconds."""
    return shots, circuits, round(cost * 1e12), round(seconds * 1e9)


def together(amounts: Sequence[Amount]) -> Amount:
    """The sum of amounts, of which there is at least one."""
    if len(amounts) == 1:
        return amounts[0]
    shots, circuits, cost, seconds = map(sum, zip(*amounts, strict=True))
    return shots, circuits, cost, seconds


def value(index: int, units: int) -> int | float:
    """What a number of units of one quantity is for users."""
    return units if index < 2 else units / SCALES[index]


def in_words(index: int, units: int) -> str:
    """A number of units of one quantity, without its name."""
    return f"{units:,}" if index < 2 else f"{units / SCALES[index]:,.6g}"


logger = logging.getLogger("pennylane_qexec")


# Which budgets count

of_process: list[Budget] = []
"""The budget of this process, if there is one; from inside of a batch it does not count, as its circuits do already."""


def enter(budget: Budget) -> None:
    """Let a budget count in this context."""
    pass_on((*context.current().budgets, budget))


def leave(budget: Budget) -> None:
    """Let it no longer count in this context; if it was entered several times, once less."""
    budgets = list(context.current().budgets)
    if budget in budgets:
        del budgets[len(budgets) - 1 - budgets[::-1].index(budget)]
    pass_on(tuple(budgets))


def pass_on(budgets: tuple[Budget, ...]) -> None:
    """Let these count in this context, and no others: inside of a batch, as its circuits have been counted."""
    context.set_current(context.current()._replace(budgets=budgets))


@contextmanager
def counting(budget: Budget | None) -> Iterator[None]:
    """While this lasts, let a budget count in this context, if it does not already."""
    with nullcontext() if budget is None or budget in context.current().budgets else budget:
        yield


# Budgets

guard = threading.RLock()
"""Held while budgets change: one for all, so that an account can change several of them at once."""

_NEARLY = 0.8


class Budget:
    """A limit on what circuits may use. What would pass it is refused before it is sent.

    A budget counts for every cluster that it is given to (``budget=``), which then share it; in a ``with`` statement,
    for whatever is asked for inside, on any cluster; and with :func:`set_budget`, for the whole process. All circuits
    of one call are reserved together before any of them is sent, and settled by what they have really used. Retries
    and other executors after a failure count as well. Any number of threads may use it.

    What an executor was given counts as used, although it failed or was cancelled there, unless the executor says that
    nothing ran (:meth:`Executor.ran_nothing`). Circuits that were not sent give back what was reserved for them.
    Shots and circuits are never passed, nor is a cost that depends on them. How long a circuit runs is known only
    when it has run: seconds, and a cost per second, are reserved by the measured rate of the executor (nothing as long
    as there is none), so the circuits that are under way may pass those limits; nothing is sent after that.

    Args:
        shots: the most shots, on all executors together; an analytic circuit has none. ``None`` for no limit.
        circuits: the most circuits, as executors run them.
        cost: the most US dollars, by the executors' ``cost``.
        seconds: the most seconds of running time, as the history has them, on all executors together.

    Raises:
        ConfigurationError: a limit is negative or no number.
    """

    def __init__(
        self,
        shots: int | None = None,
        circuits: int | None = None,
        cost: float | None = None,
        seconds: float | None = None,
    ) -> None:
        given = (shots, circuits, cost, seconds)
        self._limits = tuple(_units(index, limit) for index, limit in enumerate(given))
        self._limited = [(index, limit) for index, limit in enumerate(self._limits) if limit is not None]
        self._used = self._reserved = NOTHING
        self._loud = [(index, _NEARLY * limit) for index, limit in self._limited]
        self._process = os.getpid()

    @property
    def limits(self) -> Amounts:
        """The limits; ``None`` where there is none."""
        return _amounts(self._limits)

    @property
    def used(self) -> Amounts:
        """What has been used: shots, circuits, cost (US dollars), seconds."""
        with guard:
            return _amounts(self._used)

    @property
    def reserved(self) -> Amounts:
        """What is reserved for circuits that wait or run."""
        with guard:
            return _amounts(self._reserved)

    @property
    def left(self) -> Amounts:
        """What is neither used nor reserved, at least 0; ``None`` where there is no limit."""
        with guard:
            left = [None if limit is None else max(0, limit - self._taken(i)) for i, limit in enumerate(self._limits)]
        return _amounts(left)

    def at_least(self, used: Amounts) -> None:
        """Count as used what was used elsewhere for the same purpose, such as before a crash, if that is more.

        Args:
            used: shots, circuits, cost (US dollars), seconds.
        """
        elsewhere = amount(used.shots or 0, used.circuits or 0, used.cost or 0.0, used.seconds or 0.0)
        with guard:
            a, b, c, d = (max(one, other) for one, other in zip(self._used, elsewhere, strict=True))
            self._used = a, b, c, d

    def spend(self, used: Amounts) -> None:
        """Count as used what was used elsewhere, and is known only now.

        Args:
            used: shots, circuits, cost (US dollars), seconds.
        """
        more = amount(used.shots or 0, used.circuits or 0, used.cost or 0.0, used.seconds or 0.0)
        with guard:
            self._used = _sum(self._used, more)

    def __enter__(self) -> Self:
        """Let it count for everything asked for in this context, and in those copied from it, until the exit."""
        enter(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        leave(self)

    @even_incomplete
    def __repr__(self) -> str:
        with guard:
            parts = [self._part(index) for index in range(len(NAMES))]
        return f"<Budget: {'; '.join(parts)}>"

    def __reduce__(self) -> Any:
        raise ConfigurationError(
            "a budget counts in one process, so it cannot be copied or sent to another: what is used there would not "
            "count here. Give what runs there a Budget(...) of its own, of the part that it may use."
        )

    # -- for accounts, which hold the guard

    def check(self, asked: Amount, held: Amount = NOTHING) -> None:
        """Refuse what does not fit.

        Args:
            asked: what is to be reserved, in units.
            held: what is reserved already and given back for it.

        Raises:
            BudgetExceededError: it would pass a limit.
            ConfigurationError: this process was forked from the one in which the budget counts.
        """
        if self._process != os.getpid():
            raise ConfigurationError(
                f"{self!r} was made in the process that this one was forked from, and counts there: make a Budget(...) "
                "of its own for this process, of the part that it may use."
            )
        for index, limit in self._limited:
            more = asked[index]
            reserved = self._reserved[index] - held[index]
            if more and self._used[index] + reserved + more > limit:
                figures = [value(index, units) for units in (limit, self._used[index], reserved, more)]
                raise BudgetExceededError(NAMES[index], *figures)

    def hold(self, asked: Amount) -> None:
        """Reserve something."""
        self._reserved = _sum(self._reserved, asked)

    def give_back(self, held: Amount) -> None:
        """Reserve something no longer."""
        self._reserved = _difference(self._reserved, held)

    def use(self, spent: Amount, held: Amount) -> bool:
        """Count something as used, for which something was reserved; says whether there is something to warn of."""
        self._used = used = _sum(self._used, spent)
        self._reserved = _difference(self._reserved, held)
        for index, nearly in self._loud:  # noqa: SIM110 (a generator would take longer than all the rest)
            if used[index] > nearly:
                return True
        return False

    def nearly_over(self) -> list[str]:
        """What to warn of: quantities of which most is used, each said once."""
        loud = [index for index, nearly in self._loud if self._used[index] > nearly]
        if loud:
            self._loud = [(index, nearly) for index, nearly in self._loud if index not in loud]
        return [self._part(index) for index in loud]

    def _taken(self, index: int) -> int:
        return self._used[index] + self._reserved[index]

    def _part(self, index: int) -> str:
        limit, reserved = self._limits[index], self._reserved[index]
        most = "" if limit is None else f" of {in_words(index, limit)}"
        under_way = f", {in_words(index, reserved)} reserved" if reserved else ""
        return f"{in_words(index, self._used[index])}{most} {WORDS[index]} used{under_way}"


def _sum(one: Amount, other: Amount) -> Amount:
    a, b, c, d = one
    e, f, g, h = other
    return a + e, b + f, c + g, d + h


def _difference(one: Amount, other: Amount) -> Amount:
    a, b, c, d = one
    e, f, g, h = other
    return a - e, b - f, c - g, d - h


def budget_of(given: Any) -> Budget | None:
    """The budget that a user's value means: ``None`` for none, a mapping for the arguments of :class:`Budget`.

    Raises:
        ConfigurationError: the value is no budget.
    """
    if given is None:
        return None
    refusal = f"budget={given!r} is no budget: give qexec.Budget(shots=..., cost=...)."
    return coerce(Budget, given, refusal, "limit of a budget")


def set_budget(budget: Budget | None) -> None:
    """Let a budget count for everything that is asked for in this process from now on, in whatever thread.

    Args:
        budget: the budget, in place of the last one; ``None`` for none.

    Raises:
        ConfigurationError: it is no budget.
    """
    if budget is not None and not isinstance(budget, Budget):
        raise ConfigurationError(f"{budget!r} is no budget: give qexec.Budget(shots=..., cost=...), or None.")
    of_process[:] = [] if budget is None else [budget]


def warn(warnings: Sequence[str]) -> None:
    """Say what :meth:`Budget.nearly_over` found; the guard must not be held, as logging has locks of its own."""
    for warning in warnings:
        logger.warning("a budget is nearly used up: %s", warning)


def _units(index: int, limit: Any) -> int | None:
    if limit is None:
        return None
    counts = index < 2
    is_number = isinstance(limit, Integral if counts else Real) and not isinstance(limit, bool)
    if not is_number or not math.isfinite(limit) or limit < 0:
        wanted = "a whole number" if counts else "a finite number"
        raise ConfigurationError(
            f"{NAMES[index]}={limit!r} must be {wanted} of {WORDS[index]}, at least 0, or None for no limit."
        )
    return int(limit) if counts else round(float(limit) * SCALES[index])


def _amounts(units: Sequence[int | None]) -> Amounts:
    values: list[Any] = [None if each is None else value(index, each) for index, each in enumerate(units)]
    return Amounts(*values)


# Accounts of jobs


class Account:
    """One job's part of its budgets. Any thread may use it.

    It holds what is reserved for the job's next attempt. Once the attempt is sent, only settling it brings that back.

    Args:
        budgets: the budgets.
        held: what is reserved for the job.
    """

    __slots__ = ("_closed", "_held", "_parts", "_sent", "budgets")

    def __init__(self, budgets: tuple[Budget, ...], held: Amount) -> None:
        self.budgets = budgets
        self._held = held
        self._sent = False
        self._closed = False
        self._parts: list[Account] = []

    def part(self, holder: Account, circuits: int, of: int) -> Account:
        """An account for a part of the job, which is closed with this one.

        Args:
            holder: whose reservation it gets a part of: this account, or one of its parts.
            circuits: how many circuits the part has.
            of: how many there are, with those that ``holder`` goes on to hold the rest for.
        """
        with guard:
            shots, number, cost, seconds = (each * circuits // of for each in holder._held)
            part = Account(self.budgets, (shots, number, cost, seconds))
            part._closed = self._closed
            holder._held = _difference(holder._held, part._held)
            self._parts.append(part)
            return part

    def send(self) -> bool:
        """Say that an attempt begins; false if the account is closed, so that it must not."""
        with guard:
            self._sent = not self._closed
            return self._sent

    def hand_on(self) -> None:
        """Give back what is reserved, as what is about to run reserves for itself."""
        with guard:
            self._replace(NOTHING)

    def renew(self, amount: Amount) -> None:
        """Reserve for another attempt, in place of what is held.

        Raises:
            BudgetExceededError: it does not fit.
        """
        with guard:
            if self._closed:
                return
            for budget in self.budgets:
                budget.check(amount, self._held)
            self._replace(amount)

    def close(self) -> None:
        """The job has come to its end. What is reserved is given back, unless an attempt is under way."""
        with guard:
            for account in (self, *self._parts):
                account._closed = True
                if not account._sent:
                    account._replace(NOTHING)

    def _replace(self, amount: Amount) -> None:
        for budget in self.budgets:
            budget.hold(amount)
            budget.give_back(self._held)
        self._held = amount


def opened(budgets: tuple[Budget, ...], amounts: Sequence[Amount]) -> list[Account]:
    """Accounts for the jobs of one call: all of them, or none.

    Args:
        budgets: the budgets that count for the call.
        amounts: what to reserve for each job.

    Raises:
        BudgetExceededError: together they do not fit.
    """
    whole = together(amounts)
    with guard:
        for budget in budgets:
            budget.check(whole)
        for budget in budgets:
            budget.hold(whole)
    return [Account(budgets, amount) for amount in amounts]


def settle(accounts: Sequence[Account], amounts: Sequence[Amount]) -> None:
    """Count what attempts that are over have used.

    Args:
        accounts: the accounts of their jobs.
        amounts: what each has used; nothing if it turned out not to have run.
    """
    warnings: list[str] = []
    with guard:
        for account, amount in zip(accounts, amounts, strict=True):
            for budget in account.budgets:
                if budget.use(amount, account._held):
                    warnings += budget.nearly_over()
            account._held = NOTHING
            account._sent = False
    if warnings:
        warn(warnings)
