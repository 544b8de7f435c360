"""The time of rehearsals: that of the wall, or one that jumps."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

from pennylane_qexec.concurrency.clock import SYSTEM_CLOCK, Clock
from pennylane_qexec.errors import ConfigurationError

_EAGER = 2
_IMPATIENT = 50


@final
class RealClock:
    """UTC, in seconds since 1970. Within a process it never goes back, whatever is done to the computer's clock.

    Jobs, which are known to clocks by any key, make no difference to it.

    Args:
        clock: tells both times.

    Attributes:
        virtual: whether time passes only while somebody waits for a job.
    """

    virtual = False

    def __init__(self, clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._behind = clock.time() - clock.monotonic()

    def now(self) -> float:
        """What time it is."""
        return self._behind + self._clock.monotonic()

    def expect(self, key: Any, due: float) -> None:
        """Time passes by itself."""

    def waited_for(self, key: Any, due: float) -> None:
        """Time passes by itself."""

    def over(self, key: Any) -> None:
        """Time passes by itself."""

    def reach(self, moment: float) -> None:
        """Time passes by itself."""

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Time passes by itself."""
        yield


@final
class VirtualClock:
    """A clock that jumps to the end of the next job when all that is left to do is to wait; nobody sleeps.

    Several rehearsals may share one, and their jobs are then in flight at the same time. The clock stands while a
    job has ended and nobody has fetched it yet, and while results are computed. It jumps when the same job has been
    polled twice and nothing else has happened in between. A job that nobody fetches holds it up for 50 polls of
    others.

    With one thread that runs one batch after the other, all times are the same in every run. With several, what they
    do between two polls takes no time on this clock, and which of them comes first is up to the operating system, so
    that the times may differ. Faults and results do not depend on the time, except for what is given in times:
    outages, ``dies_at`` and drift.

    Args:
        start: the first time it shows, in seconds.

    Raises:
        ConfigurationError: ``start`` is negative.
    """

    virtual = True

    def __init__(self, start: float = 0.0) -> None:
        if start < 0:
            raise ConfigurationError(f"VirtualClock(start={start!r}): give seconds, at least 0.")
        self._now = float(start)
        self._due: dict[Any, float] = {}
        self._polls: dict[Any, int] = {}
        self._computing = 0
        self._lock = threading.Lock()

    def now(self) -> float:
        """What time it is, in seconds."""
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            ConfigurationError: ``seconds`` is negative.
        """
        if seconds < 0:
            raise ConfigurationError(f"advance({seconds!r}): time does not go back; give at least 0 seconds.")
        with self._lock:
            self._now += seconds
            self._polls.clear()

    def reach(self, moment: float) -> None:
        """Let time pass until a moment, if that is not over."""
        with self._lock:
            if moment > self._now:
                self._now = moment
                self._polls.clear()

    def expect(self, key: Any, due: float) -> None:
        """Tell of a job that will end."""
        with self._lock:
            self._due[key] = due
            self._polls.clear()

    def over(self, key: Any) -> None:
        """Tell that nobody waits for a job any more."""
        with self._lock:
            self._due.pop(key, None)
            self._polls.clear()

    def waited_for(self, key: Any, due: float) -> None:
        """Tell that somebody waits for a job. Time may jump."""
        with self._lock:
            self._due[key] = due
            polls = self._polls[key] = self._polls.get(key, 0) + 1
            if self._computing or polls < _EAGER:
                return
            ended = [job for job, moment in self._due.items() if moment <= self._now]
            if ended and polls < _IMPATIENT:
                return
            for job in ended:
                del self._due[job]
            self._now = min(self._due.values(), default=self._now)
            self._polls.clear()

    @contextmanager
    def standing(self) -> Iterator[None]:
        """Time stands inside of this."""
        with self._lock:
            self._computing += 1
        try:
            yield
        finally:
            with self._lock:
                self._computing -= 1


RehearsalClock = RealClock | VirtualClock


def clock_of(clock: Any) -> RehearsalClock:
    """The clock that a user's value means.

    Raises:
        ConfigurationError: it is none.
    """
    if clock == "real":
        return RealClock()
    if isinstance(clock, VirtualClock | RealClock):
        return clock
    raise ConfigurationError(f"clock={clock!r} is no clock: give 'real' or a VirtualClock().")
