"""The thread that writes down how jobs end and tells their callers."""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from pennylane_qexec import interrupts
from pennylane_qexec.engine import leaving
from pennylane_qexec.engine.loop import serve_here

logger = logging.getLogger("pennylane_qexec")

_MOST = 500
"""The most events that are handled together, so that each is written soon."""

_LONG = 60.0  # seconds

_END = object()


class Recorder:
    """Handles events, those that have come together, in a thread of its own.

    Args:
        handle: called in the thread with events.
        name: of the thread.
    """

    def __init__(self, handle: Callable[[list[Any]], None], name: str) -> None:
        self._handle = handle
        self._name = name
        self._events: queue.SimpleQueue[tuple[float, Any]] = queue.SimpleQueue()
        self._later: list[tuple[float, int, Any]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._expected = 0
        self._thread: threading.Thread | None = None

    def expect(self, jobs: int) -> None:
        """Jobs are under way; the program does not end before as many have :meth:`ended`."""
        leaving.begin(self, jobs)
        with self._changed:
            self._expected += jobs

    def ended(self, jobs: int = 1) -> None:
        """Jobs have come to their end."""
        leaving.end(self, jobs)
        with self._changed:
            self._expected -= jobs
            if self._expected <= 0:
                self._changed.notify_all()

    def put(self, event: Any, delay: float = 0.0) -> None:
        """Have an event handled, after some seconds."""
        if self._thread is None:
            self._start()
        self._events.put((time.monotonic() + delay if delay else 0.0, event))

    def drain(self) -> None:
        """Wait until all jobs that are expected have ended."""
        with self._changed:
            interrupts.wait(lambda seconds: self._changed.wait_for(lambda: self._expected <= 0, seconds))

    def close(self) -> None:
        """End the thread. What was to be handled later is not."""
        if self._thread is not None:
            self._events.put((0.0, _END))
            if threading.current_thread() is not self._thread:
                interrupts.wait(self._has_ended)

    def _has_ended(self, timeout: float | None) -> bool:
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def _start(self) -> None:
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name=self._name)
                self._thread.start()

    def _work(self) -> None:
        serve_here()
        while True:
            events = self._due()
            if wanted := [event for event in events if event is not _END]:
                try:
                    self._handle(wanted)
                except Exception:
                    logger.exception("the record of a durable run could not be kept up. Please report this")
            if len(wanted) < len(events):
                return

    def _due(self) -> list[Any]:
        """Events whose time has come; waits for the first."""
        events: list[Any] = []
        try:
            while len(events) < _MOST:
                due, event = self._events.get_nowait() if events else self._events.get(timeout=self._pause())
                if due:
                    heapq.heappush(self._later, (due, next(self._numbers), event))
                else:
                    events.append(event)
        except queue.Empty:
            pass
        while self._later and self._later[0][0] <= time.monotonic():
            events.append(heapq.heappop(self._later)[2])
        return events

    def _pause(self) -> float:
        return max(0.0, self._later[0][0] - time.monotonic()) if self._later else _LONG
