"""Any function, run later in a thread: gradients, optimisation loops, whatever calls QElectrons."""

from __future__ import annotations

import concurrent.futures
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pennylane_qexec import interrupts, isolation
from pennylane_qexec.engine import leaving
from pennylane_qexec.engine.worker import tamed
from pennylane_qexec.futures import Later
from pennylane_qexec.job import Outcome
from pennylane_qexec.ledger import Ledger

_HANDS = (16, 8, 4, 2)
"""Threads for functions, for functions that these run later, and so on; the last number is for all that are deeper."""

_depth: contextvars.ContextVar[int] = contextvars.ContextVar("qexec_depth", default=0)


class FunctionFuture(Later):
    """The future of :func:`run_later`."""

    def __init__(self) -> None:
        super().__init__()
        self._ledger = Ledger()

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Who ran each circuit that the function has run until now, with how many shots, when, and at what cost."""
        return tuple(self._ledger.outcomes)

    def run(self, depth: int, function: Callable[[], Any]) -> None:
        """Call the function and come to an end, unless the future was cancelled."""
        if not self._begin():
            return
        _depth.set(depth)
        self._ledger.open()
        try:
            self.set_result(tamed(function))
        except Exception as error:
            self.set_exception(error)


class _Background:
    """Threads in which functions run: a pool for each depth of nesting.

    A function waits only for functions deeper than itself, and those have threads of their own. So however many wait,
    some function can always run.
    """

    def __init__(self) -> None:
        self._pools: dict[int, ThreadPoolExecutor] = {}
        self._lock = threading.Lock()
        self._unfinished: set[FunctionFuture] = set()

    def start(self, function: Callable[[], Any]) -> FunctionFuture:
        """Run a function in a thread."""
        isolation.install()
        future, depth = FunctionFuture(), _depth.get()
        self._pool(depth).submit(contextvars.copy_context().run, future.run, depth + 1, function)
        self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        return future

    def _pool(self, depth: int) -> ThreadPoolExecutor:
        with self._lock:
            if not self._pools:
                leaving.wait_at_exit(self._wait)
            if depth not in self._pools:
                hands = _HANDS[min(depth, len(_HANDS) - 1)]
                self._pools[depth] = ThreadPoolExecutor(hands, thread_name_prefix=f"qexec-later-{depth}")
            return self._pools[depth]

    def _wait(self) -> bool:
        """Wait for all functions; says whether there were any."""
        unfinished = list(self._unfinished)
        interrupts.wait(lambda seconds: not concurrent.futures.wait(unfinished, seconds).not_done)
        return bool(unfinished)


_background = _Background()


def run_here(function: Callable[[], Any]) -> FunctionFuture:
    """Call a function here and now, and return the future of its result."""
    isolation.install()
    future = FunctionFuture()
    contextvars.copy_context().run(future.run, _depth.get() + 1, function)
    return future


def start(function: Callable[[], Any]) -> FunctionFuture:
    """Run a function in a thread, and return the future of its result at once."""
    return _background.start(function)
