"""Which circuits a piece of a program has run: outcomes are noted for whoever wants to know, in this context."""

from __future__ import annotations

import contextvars
from collections.abc import Sequence

from pennylane_qexec.job import Outcome


class Ledger:
    """Collects the outcomes of circuits run in a context, and passes them on to the ledger around it.

    Attributes:
        outcomes: the outcomes, in the order in which they came.
    """

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self._around = current()

    def open(self) -> None:
        """Collect from now on, in the current context and in those copied from it."""
        _current.set(self)

    def note(self, outcomes: Sequence[Outcome]) -> None:
        """Add outcomes."""
        self.outcomes.extend(outcomes)
        if self._around is not None:
            self._around.note(outcomes)


_current: contextvars.ContextVar[Ledger | None] = contextvars.ContextVar("qexec_ledger", default=None)


def note(outcomes: Sequence[Outcome]) -> None:
    """Add outcomes to the ledger of the current context, if there is one."""
    ledger = _current.get()
    if ledger is not None:
        ledger.note(outcomes)


def current() -> Ledger | None:
    """The ledger of the current context, if there is one."""
    return _current.get()
