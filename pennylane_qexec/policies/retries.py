"""Retries: how often and after how long a failed job is tried again on the same executor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pennylane_qexec.errors import ConfigurationError, coerce
from pennylane_qexec.policies.faults import Fault, classify

_MOST_DOUBLINGS = 100  # longer than anybody waits, and small enough for a float


@dataclass(frozen=True)
class Backoff:
    """Try again after growing, randomly varied delays.

    Attributes:
        attempts: attempts on one executor, the first one included.
        initial: seconds before the second attempt; each further delay is twice as long.
        maximum: the longest delay, in seconds.

    Source:
        "Full jitter": M. Brooker, *Exponential Backoff And Jitter*, AWS Architecture Blog, 2015.
    """

    attempts: int = 3
    initial: float = 0.1
    maximum: float = 30.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.initial < 0 or self.maximum < 0:
            raise ConfigurationError(
                f"retries.backoff(attempts={self.attempts}, initial={self.initial:g}, maximum={self.maximum:g}) makes "
                "no sense: attempts counts the first one and is at least 1, delays are seconds and not negative."
            )

    def delay(self, attempt: int, random: float) -> float:
        """Seconds to wait after a failed attempt.

        Args:
            attempt: number of the attempt that failed, from 1.
            random: uniform in [0, 1).
        """
        # Tenacity's waits draw from Python's global generator, which the seed of a cluster has no say in.
        return random * min(self.maximum, self.initial * 2.0 ** min(attempt - 1, _MOST_DOUBLINGS))

    def allows(self, attempt: int, error: BaseException) -> bool:
        """Whether the same executor should try again.

        Args:
            attempt: number of the attempt that failed, from 1.
            error: what it raised. An error that is the fault of the circuit or of the executor is not tried again.
        """
        return attempt < self.attempts and not is_permanent(error)


def backoff(attempts: int = 3, initial: float = 0.1, maximum: float = 30.0) -> Backoff:
    """Try again after growing, randomly varied delays; see :class:`Backoff` for the arguments."""
    return Backoff(attempts, initial, maximum)


def of(retry: Any) -> Backoff:
    """The retry policy that a user's value means: ``None`` for the usual one, a mapping for its arguments.

    Raises:
        ConfigurationError: the value is no retry policy.
    """
    refusal = f"retry={retry!r} is no retry policy: give retries.backoff(attempts=...)."
    return coerce(Backoff, Backoff() if retry is None else retry, refusal, "argument of retries.backoff")


def never() -> Backoff:
    """No second attempt on the same executor."""
    return Backoff(attempts=1)


def is_permanent(error: BaseException) -> bool:
    """Whether an executor that raised this would raise it again for the same circuit."""
    return classify(error) is not Fault.TRANSIENT
