"""When a batch that is not full leaves."""

from __future__ import annotations

import time
from collections.abc import Sequence

from pennylane_qexec.engine.spending import shots_of
from pennylane_qexec.engine.ticket import Ticket
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.queued import QueuedExecutor

QUIET = 0.005
"""Seconds without a new circuit after which nothing more is expected while somebody waits: long against the pauses
between threads that call at the same time, short against what a person or a backend notices."""

GATHERING = 0.1
"""Seconds that a batch for a backend with a queue waits at most for more circuits while they keep coming, if no window
was given."""

_LOOK = 2e-5  # seconds between looks for each ticket that is looked at, so that looking takes little of the time


class Window:
    """The batching window of one executor.

    Args:
        executor: whose limits say when a batch is full.
        seconds: how long a batch waits for more circuits.
    """

    def __init__(self, executor: Executor, seconds: float) -> None:
        self._executor = executor
        # A job at a backend with a queue costs far more than such a pause: a loop of calls becomes a few big ones.
        self._of_its_own = not seconds and isinstance(executor, QueuedExecutor)
        self.seconds = GATHERING if self._of_its_own else seconds

    def is_full(self, tickets: Sequence[Ticket]) -> bool:
        """Whether a batch of these tickets has no room for more."""
        limit, shots = self._executor.max_circuits, self._executor.max_shots
        enough = limit is not None and len(tickets) >= limit
        return enough or (shots is not None and sum(shots_of(self._executor, one.job) for one in tickets) >= shots)

    def left(self, tickets: Sequence[Ticket], arrived: float, idle: bool) -> float:
        """Seconds after which to ask again whether a batch leaves; 0 if it leaves now.

        Args:
            tickets: those that wait, the first for longest.
            arrived: when the last one came, on the monotonic clock.
            idle: whether nothing runs on the executor, which then need not wait while somebody else does.
        """
        if not self.seconds or self.is_full(tickets):
            return 0.0
        now = time.monotonic()
        left = tickets[0].since + self.seconds - now
        may_leave_early = idle or self._of_its_own
        return max(0.0, min(left, self._early(tickets, arrived - now)) if may_leave_early else left)

    def _early(self, tickets: Sequence[Ticket], age: float) -> float:
        quiet = age + min(QUIET, self.seconds)
        if quiet > 0:
            return quiet
        return 0.0 if self._of_its_own or any(ticket.asked for ticket in tickets) else QUIET + _LOOK * len(tickets)
