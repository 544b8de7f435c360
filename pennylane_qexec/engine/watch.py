"""Whether executors that circuits wait for have gone offline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from pennylane_qexec.engine.lane import Lane
from pennylane_qexec.engine.threads import ThreadCrew
from pennylane_qexec.executors.queued import QueuedExecutor

_LOOK = 1.0  # seconds


class Watch:
    """Asks executors with a queue whether they are online, as long as circuits wait for them here.

    One that has gone offline fails on nothing, so that nobody would notice: the jobs that it has stay in the backend's
    queue, and keep those behind them from being sent. Used in the engine's thread, but for :meth:`close`.

    Args:
        lanes: all lanes of the cluster.
        offline: called with the lane of an executor that is offline.
    """

    def __init__(self, lanes: Collection[Lane], offline: Callable[[Lane], None]) -> None:
        queued = [lane for lane in lanes if isinstance(lane.executor, QueuedExecutor)]
        self._lanes = queued if len(lanes) > 1 else []
        self._offline = offline
        self._asked: set[Lane] = set()
        self._timer: asyncio.TimerHandle | None = None
        # An answer may take long, or never come: one thread for each, and not the engine's.
        self._threads = ThreadCrew(max(1, len(self._lanes)), "qexec-watch")

    def look(self) -> None:
        """Ask now, as somebody else has time to take circuits over."""
        for lane in self._lanes:
            if lane.awaited and lane not in self._asked:
                self._ask(lane)

    def keep_looking(self) -> None:
        """Ask every second, as long as circuits wait."""
        if self._timer is None and any(lane.awaited for lane in self._lanes):
            self._timer = asyncio.get_running_loop().call_later(_LOOK, self._look_again)

    def close(self) -> None:
        """End the threads."""
        self._threads.close()

    def _look_again(self) -> None:
        self._timer = None
        self.look()
        self.keep_looking()

    def _ask(self, lane: Lane) -> None:
        self._asked.add(lane)
        loop = asyncio.get_running_loop()

        def tell(answer: Future[Any]) -> None:
            with suppress(RuntimeError):  # the cluster was closed meanwhile
                loop.call_soon_threadsafe(self._told, lane, answer)

        self._threads.submit(lane.executor.status).add_done_callback(tell)

    def _told(self, lane: Lane, answer: Future[Any]) -> None:
        self._asked.discard(lane)
        if answer.exception() is None and not answer.result().online and lane.awaited:
            self._offline(lane)
