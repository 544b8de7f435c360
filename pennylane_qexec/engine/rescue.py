"""What happens to circuits that an executor failed on: tried again, or handed to another executor, or given up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence

import numpy as np

from pennylane_qexec.engine.lane import Lane
from pennylane_qexec.engine.spending import expected
from pennylane_qexec.engine.ticket import Ticket
from pennylane_qexec.errors import BudgetExceededError
from pennylane_qexec.job import Job, JobState
from pennylane_qexec.policies.retries import Backoff, is_permanent

logger = logging.getLogger("pennylane_qexec")

_LOGGED_ERRORS = 1000


class Rescue:
    """Decides what happens to tickets that failed. Used in the engine's thread.

    Args:
        lanes: all lanes of the cluster.
        retry: how often a circuit is tried on one executor.
        failover: whether a circuit that an executor cannot do goes to another one.
        rng: for the jitter of retries.
        give_up: called with a ticket, its last lane and the error when nothing is left to try.
    """

    def __init__(
        self,
        lanes: Collection[Lane],
        retry: Backoff,
        failover: bool,
        rng: np.random.Generator,
        give_up: Callable[[Ticket, Lane, BaseException], None],
    ) -> None:
        self._lanes = lanes
        self._retry = retry
        self._failover = failover
        self._rng = rng
        self._give_up = give_up
        self._logged: set[tuple[str, str]] = set()

    def place(self, lane: Lane, tickets: Sequence[Ticket]) -> None:
        """Let tickets wait for an executor; if it is down, for others that can run them, as far as there are any."""
        if lane.health.pause(time.monotonic()):
            tickets = [ticket for ticket in tickets if not self._fail_over(ticket, lane, failed_there=False)]
        if tickets:
            lane.put(tickets)

    def failed(self, lane: Lane, tickets: Sequence[Ticket], error: BaseException, shared: bool) -> None:
        """An executor has failed on tickets.

        Args:
            lane: the executor's lane.
            tickets: those that somebody still waits for.
            error: what it raised.
            shared: whether the batch had several circuits, of which only some may be at fault.
        """
        self._log(lane, len(tickets), error)
        if not is_permanent(error) and not isinstance(error, BudgetExceededError):
            lane.health.failed(time.monotonic())
            if lane.health.down:
                self.place(lane, lane.evacuate())
        for ticket in tickets:
            ticket.error = error
            ticket.state = JobState.WAITING
            if shared and (is_permanent(error) or isinstance(error, BudgetExceededError)):
                # Some circuit of the batch is at fault, perhaps not this one: find out by trying it alone.
                ticket.alone = True
                self._put(lane, ticket)
            elif isinstance(error, BudgetExceededError):
                self._give_up(ticket, lane, error)
            else:
                self._after_an_attempt(lane, ticket, error, shared)

    def _log(self, lane: Lane, circuits: int, error: BaseException) -> None:
        """Warn of an error once; a VQE that meets it in every step says so at the level DEBUG from then on."""
        key = (lane.executor.name, repr(error))
        level = logging.DEBUG if key in self._logged else logging.WARNING
        if len(self._logged) < _LOGGED_ERRORS:
            self._logged.add(key)
        logger.log(level, "executor %r failed on %d circuits: %r", lane.executor.name, circuits, error)

    def _after_an_attempt(self, lane: Lane, ticket: Ticket, error: BaseException, shared: bool) -> None:
        ticket.alone = ticket.alone or shared
        ticket.attempts += 1
        ticket.attempts_here += 1
        again = self._retry.allows(ticket.attempts_here, error)
        if again and not lane.health.down:
            self._put_later(lane, ticket)
        elif self._fail_over(ticket, lane):
            return
        elif again:
            self._put_later(lane, ticket)
        else:
            self._give_up(ticket, lane, error)

    def _put(self, lane: Lane, ticket: Ticket) -> None:
        if self._may_go(ticket, lane):
            lane.put([ticket])

    def _may_go(self, ticket: Ticket, lane: Lane) -> bool:
        """Reserve for an attempt; if that does not fit in a budget, it is not made, and the ticket given up."""
        if ticket.account is None:
            return True
        try:
            ticket.account.renew(expected(lane.executor, ticket.job))
        except BudgetExceededError as error:
            error.__cause__ = ticket.error
            self._give_up(ticket, lane, error)
            return False
        return True

    def _put_later(self, lane: Lane, ticket: Ticket) -> None:
        if not self._may_go(ticket, lane):
            return
        delay = self._retry.delay(ticket.attempts_here, float(self._rng.random()))
        # Before all others: else those of a dead executor, one probe each, would take as many pauses as there are.
        timer = asyncio.get_running_loop().call_later(delay, lambda: lane.put([ticket], first=True))
        ticket.leave = lambda _: timer.cancel()

    def _fail_over(self, ticket: Ticket, leaving: Lane, failed_there: bool = True) -> bool:
        """Hand a ticket to the least loaded executor that has not failed on it; says whether there is one.

        If a budget does not allow for that executor, the ticket is given up.
        """
        if not self._failover:
            return False
        if failed_there:
            ticket.tried.add(leaving.executor)
        circuit, now = ticket.job.circuit, time.monotonic()
        others = [
            lane
            for lane in self._lanes
            if lane is not leaving
            and lane.executor not in ticket.tried
            and lane.health.may_run(now)
            and lane.objection(circuit) is None
        ]
        if not others:
            return False
        lane = min(others, key=lambda lane: lane.executor.load().waiting)
        logger.info("a circuit goes on from executor %r to %r", leaving.executor.name, lane.executor.name)
        ticket.job = Job(circuit, lane.executor, ticket.job.call.unbound(), ticket.job.vector)
        ticket.attempts_here = 0
        self._put(lane, ticket)
        return True
