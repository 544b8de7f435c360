"""What goes wrong in a rehearsal, and how often."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from pennylane.tape import QuantumScript

from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.executors.rehearsal.durations import Duration, duration, seconds

_RATES = ("refused", "lost", "failed", "late", "unanswered", "hiccups")
_ONE_AFTER_THE_OTHER = 3


@dataclass(frozen=True)
class Faults:
    """What goes wrong. Rates are probabilities.

    Attributes:
        refused: of submissions that are not taken: a :class:`ConnectionError`, and there is no job.
        lost: of jobs that fail at the end of their queue, without having run.
        failed: of jobs that fail after they have run, and are paid for.
        late: of jobs that are done ``delay`` seconds after they have run.
        delay: how late these are, as ``queue`` of :class:`Rehearsal`.
        unanswered: of jobs whose results cannot be fetched the first time, nor perhaps the second and the third: a
            :class:`ConnectionError`.
        hiccups: of polls that are not answered: a :class:`ConnectionError`.
        rejected: says of a circuit whether it is not taken, ever: a :class:`ValueError`.
        dies_after: so many jobs are taken as if nothing was; the next one kills the backend for good, and all that
            is in flight fails.
        dies_at: the seconds after which the backend is dead for good.

    Raises:
        ConfigurationError: a number makes no sense.
    """

    refused: float = 0.0
    lost: float = 0.0
    failed: float = 0.0
    late: float = 0.0
    delay: float | tuple[float, float] | Duration = 60.0
    unanswered: float = 0.0
    hiccups: float = 0.0
    rejected: Callable[[QuantumScript], bool] | None = None
    dies_after: int | None = None
    dies_at: float | None = None

    def __post_init__(self) -> None:
        for name in _RATES:
            rate = getattr(self, name)
            if not isinstance(rate, int | float) or not 0 <= rate <= 1:
                raise ConfigurationError(f"{name}={rate!r} is no rate: give a probability, from 0 to 1.")
        duration(self.delay, "delay")
        if self.dies_at is not None:
            seconds(self.dies_at, "dies_at")
        if self.dies_after is not None and (not isinstance(self.dies_after, int) or self.dies_after < 0):
            raise ConfigurationError(f"dies_after={self.dies_after!r} must be a number of jobs, or None.")
        if self.rejected is not None and not callable(self.rejected):
            raise ConfigurationError(f"rejected={self.rejected!r} must be a function of a circuit.")


@dataclass(frozen=True)
class Fortune:
    """What is in store for one job.

    Attributes:
        refused: its submission is not taken.
        lost: it fails in the queue.
        failed: it fails after it has run.
        delay: seconds between its run and its being done.
        unanswered: how often its results cannot be fetched.
    """

    refused: bool
    lost: bool
    failed: bool
    delay: float
    unanswered: int


def fortune(faults: Faults, rng: Any) -> Fortune:
    """Draw what is in store for a job; each kind of fault by itself, whatever the rates of the others are."""
    refused, lost, failed, late, unanswered = rng.random(5)
    times = int(rng.integers(1, _ONE_AFTER_THE_OTHER + 1))
    delay = duration(faults.delay, "delay")(rng)
    return Fortune(
        bool(refused < faults.refused),
        bool(lost < faults.lost),
        bool(failed < faults.failed),
        delay if late < faults.late else 0.0,
        times if unanswered < faults.unanswered else 0,
    )


def faults_of(rate: Any) -> Faults:
    """The faults that a user's value means: a number is the rate of jobs that fail after they have run.

    Raises:
        ConfigurationError: it means none.
    """
    if isinstance(rate, Faults):
        return rate
    if not isinstance(rate, Mapping):
        return Faults(failed=rate)
    known = [argument.name for argument in fields(Faults)]
    for argument in rate:
        if argument not in known:
            raise ConfigurationError(unknown("kind of fault", argument, known))
    return Faults(**rate)
