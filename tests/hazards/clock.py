"""Time that does not have to be waited for."""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from pennylane_qexec.concurrency.clock import SystemClock

PATIENCE = 0.0002
"""Seconds without any event after which an event loop with a timer takes it that nobody is doing anything."""


class Clock:
    """When nothing happens, it goes on to the next timer: pauses, polls and timeouts of hours end in a moment.

    It stands still for timers while somebody says that he is :meth:`working`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ahead = 0.0
        self._working = 0

    def monotonic(self) -> float:
        """Seconds, as :func:`time.monotonic` has them, with those that were left out."""
        return time.monotonic() + self._ahead

    def skip(self, seconds: float) -> None:
        """Leave seconds out, unless somebody is working."""
        with self._lock:
            if not self._working:
                self._ahead += seconds

    @contextmanager
    def working(self) -> Iterator[None]:
        """Keep time from being left out."""
        with self._lock:
            self._working += 1
        try:
            yield
        finally:
            with self._lock:
                self._working -= 1

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let it be the clock of all engines, and of the event loops that are opened meanwhile."""

        class Loop(asyncio.SelectorEventLoop):
            time = staticmethod(self.monotonic)

        def new_event_loop() -> asyncio.AbstractEventLoop:
            return Loop(_Impatient(self))

        of_engines = patch.object(SystemClock, "monotonic", self.monotonic)
        with of_engines, patch.object(asyncio, "new_event_loop", new_event_loop):
            yield


class _Impatient(selectors.SelectSelector):
    """Waits for events, but not for timers."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None or timeout <= PATIENCE:
            return super().select(timeout)
        ready = super().select(PATIENCE)
        if not ready:
            self._clock.skip(timeout - PATIENCE)
        return ready
