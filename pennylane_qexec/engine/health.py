"""Whether an executor is up: set aside after one failure or several, and probed again after growing pauses."""

from __future__ import annotations

from datetime import UTC, datetime

FAILURES = 3
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0


class Health:
    """Counts failures in a row. Times are seconds of whatever clock the caller uses, those in messages UTC."""

    def __init__(self) -> None:
        self.failures = 0
        self._pause = FIRST_PAUSE
        self._retry_at = 0.0
        self._down_since: datetime | None = None

    @property
    def down(self) -> bool:
        """Whether the executor is set aside."""
        return self._down_since is not None

    def may_run(self, now: float) -> bool:
        """Whether to send something: the executor is up, or it is time for a probe."""
        return not self.down or now >= self._retry_at

    def pause(self, now: float) -> float:
        """Seconds until the next probe; 0 if something may be sent now."""
        return max(0.0, self._retry_at - now) if self.down else 0.0

    def succeeded(self) -> None:
        """Something ran: the executor is up."""
        self.failures = 0
        self._pause = FIRST_PAUSE
        self._down_since = None

    def failed(self, now: float, at_once: bool = False, pause: float = 0.0) -> None:
        """Something failed, and it was not the circuit's fault.

        Args:
            now: when.
            at_once: whether one failure is enough to set the executor aside.
            pause: seconds that it asks to be left alone, at least.
        """
        self.failures += 1
        if at_once or self.down or self.failures >= FAILURES:
            self._down_since = self._down_since or datetime.now(UTC)
            self._retry_at = now + max(self._pause, pause)
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def reason(self, now: float) -> str:
        """Why nothing is sent, as the end of a sentence that begins with the executor's name."""
        since = f"{self._down_since:%H:%M:%S} UTC" if self._down_since else "now"
        failures = "1 failure" if self.failures == 1 else f"{self.failures} failures"
        return f"is down since {since} ({failures}, next probe in {self.pause(now):.0f} s)"
