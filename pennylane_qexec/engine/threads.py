"""Warm threads."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from pennylane_qexec.engine.worker import tamed


class ThreadCrew:
    """Warm threads that run functions.

    Args:
        hands: the most tasks at the same time; threads are started when first needed.
        name: of the threads.
    """

    def __init__(self, hands: int, name: str) -> None:
        self._hands = hands
        self._name = name
        self._tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0

    def submit(self, function: Callable[[], Any]) -> Future[Any]:
        """Run a function in one of the threads."""
        future: Future[Any] = Future()
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._threads < self._hands:
                self._threads += 1
                threading.Thread(target=self._work, daemon=True, name=f"{self._name}-{self._threads}").start()
        self._tasks.put((future, function))
        return future

    def add_hand(self) -> None:
        """Allow one thread more, in place of one that may never come back."""
        with self._lock:
            self._hands += 1

    def close(self) -> None:
        """End the threads when they have finished what they do."""
        for _ in range(self._threads):
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            future, function = task
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(tamed(function))
                except Exception as error:
                    future.set_exception(error)
            del task, future, function
            with self._lock:
                self._idle += 1
