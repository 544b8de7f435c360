"""What a job has reserved of the budgets that count for it."""

from __future__ import annotations

from collections.abc import Sequence

from pennylane_qexec.budget.amounts import NOTHING, Amount, together
from pennylane_qexec.budget.limits import Budget, guard, warn


class Account:
    """One job's part of its budgets. Any thread may use it.

    It holds what is reserved for the job's next attempt. Once the attempt is sent, only settling it brings that back.

    Args:
        budgets: the budgets.
        held: what is reserved for the job.
    """

    __slots__ = ("_closed", "_held", "_sent", "budgets")

    def __init__(self, budgets: tuple[Budget, ...], held: Amount) -> None:
        self.budgets = budgets
        self._held = held
        self._sent = False
        self._closed = False

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
            self._closed = True
            if not self._sent:
                self._replace(NOTHING)

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
