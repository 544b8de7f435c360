"""Budgets: limits on what circuits may use, reserved before they are sent and settled after."""

from pennylane_qexec.budget.accounts import Account, opened, settle
from pennylane_qexec.budget.amounts import NOTHING, Amount, Amounts, amount
from pennylane_qexec.budget.limits import Budget, budget_of, set_budget
from pennylane_qexec.budget.scope import counting, in_force, pass_on, restore

__all__ = [
    "NOTHING",
    "Account",
    "Amount",
    "Amounts",
    "Budget",
    "amount",
    "budget_of",
    "counting",
    "in_force",
    "opened",
    "pass_on",
    "restore",
    "set_budget",
    "settle",
]
