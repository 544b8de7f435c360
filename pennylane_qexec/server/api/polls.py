"""Who waits for a job: requests of a loop are held until the job changes, a single question is answered at once."""

from __future__ import annotations

import time
from collections.abc import Callable

LONGEST = 0.5
"""Seconds that a request is held at most."""

AFTER_START = 0.05
"""Seconds that a request is held on when the job began to run: most that are short have ended by then."""

_FRESH = 1.0  # seconds since submission in which a client that asks is taken to wait for the result
_LEAST_PAUSE, _PAUSE = 0.08, 0.3  # seconds between two requests of a loop: IBM's client sleeps for 0.1
_MOST = 10_000  # pairs remembered


class Polls:
    """Remembers when a user was last told about a job, to tell a loop that waits for it from a single question.

    IBM's client asks for a job's status every 0.1 seconds while it waits, and with the same request when its user wants
    to know the status, the date or the session: nobody wants to wait for these. So a request is held only if it comes
    after such a pause, or is the first one about a job that was just submitted.

    Args:
        clock: seconds, from any start.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[tuple[str, str], float] = {}

    def is_waiting(self, user: str, job: str, age: float) -> bool:
        """Whether somebody waits for a job: they ask for the first time, or about as often as a loop does.

        Args:
            user: who asks.
            job: its id.
            age: seconds since it was submitted.
        """
        told = self._told.get((user, job))
        if told is None:
            return age < _FRESH
        return _LEAST_PAUSE < self._clock() - told < _PAUSE

    def told(self, user: str, job: str, final: bool) -> None:
        """Somebody is being told about a job.

        Args:
            user: who asked.
            job: its id.
            final: whether it has ended, so that nobody waits for it any longer.
        """
        if final:
            self._told.pop((user, job), None)
            return
        if len(self._told) >= _MOST:
            now = self._clock()
            self._told = {pair: when for pair, when in self._told.items() if now - when < _PAUSE}
        self._told[user, job] = self._clock()
