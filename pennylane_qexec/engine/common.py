"""Circuits that wait for whoever is free first."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

from pennylane_qexec.engine.ticket import Ticket


class CommonQueue:
    """Tickets that belong to no executor yet, by the depth they were asked for at. Used in the engine's thread.

    Attributes:
        arrived: when the last ticket came, on the monotonic clock.
    """

    def __init__(self) -> None:
        self.arrived = 0.0
        self._by_depth: dict[int, deque[Ticket]] = {}

    def put(self, ticket: Ticket) -> None:
        """Let a ticket wait here."""
        self.arrived = time.monotonic()
        ticket.leave = self.remove
        self._by_depth.setdefault(ticket.depth, deque()).append(ticket)

    def remove(self, ticket: Ticket) -> None:
        """Take a ticket out."""
        tickets = self._by_depth[ticket.depth]
        tickets.remove(ticket)
        if not tickets:
            del self._by_depth[ticket.depth]

    def clear(self) -> None:
        """Take all tickets out."""
        for tickets in self._by_depth.values():
            for ticket in tickets:
                ticket.leave = None
        self._by_depth.clear()

    def of(self, depth: int) -> deque[Ticket]:
        """The tickets of one depth, oldest first."""
        return self._by_depth.get(depth, _NONE)

    @property
    def depths(self) -> Iterator[int]:
        """The depths at which tickets wait."""
        return iter(self._by_depth)

    def __len__(self) -> int:
        return sum(map(len, self._by_depth.values()))


_NONE: deque[Ticket] = deque(maxlen=0)
