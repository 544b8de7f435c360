"""What time it is, and how to wait: the system's clock, or one that engine, queued executors or rehearsals are given.

How long a simulator computes is measured where it computes, perhaps in another process, and is no matter of a clock.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from time import perf_counter
from time import time as utc
from typing import Any, Protocol, final

from pennylane_qexec.concurrency import interrupts


class Timer(Protocol):
    """A call that is to come."""

    def cancel(self) -> None:
        """Let it not come."""


class Clock(Protocol):
    """Tells the time, and waits. Any thread may use it, but for ``call_later`` and ``sleep``."""

    def time(self) -> float:
        """Seconds since 1970, UTC."""

    def monotonic(self) -> float:
        """Seconds since some moment; they never go back."""

    def wait(self, seconds: float) -> None:
        """Let the calling thread wait. Ctrl-C ends that."""

    def call_later(self, delay: float, function: Callable[..., Any], *arguments: Any) -> Timer:
        """Have the event loop of this thread call a function after so many seconds."""

    async def sleep(self, seconds: float) -> None:
        """Let a task of this thread's event loop wait."""


@final
class SystemClock:
    """The system's time. Its two functions are Python's own, so that asking for the time costs no call of ours."""

    time = staticmethod(utc)
    monotonic = staticmethod(perf_counter)  # time.monotonic() goes by steps of 16 ms on Windows

    def wait(self, seconds: float) -> None:
        """Let the calling thread wait."""
        interrupts.wait(threading.Event().wait, seconds)

    def call_later(self, delay: float, function: Callable[..., Any], *arguments: Any) -> Timer:
        """Have the event loop of this thread call a function after so many seconds."""
        return asyncio.get_running_loop().call_later(delay, function, *arguments)

    async def sleep(self, seconds: float) -> None:
        """Let a task of this thread's event loop wait."""
        await asyncio.sleep(seconds)


SYSTEM_CLOCK = SystemClock()
