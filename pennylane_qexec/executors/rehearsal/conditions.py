"""The conditions of a rehearsal: how long things take, how readout drifts, what goes wrong, when a backend is down."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from pennylane.measurements import ClassicalShadowMP
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.measurement_bases import Runs, counted, simulated, together
from pennylane_qexec.circuits.sampling import SHADOWS, SamplingPlan, can_pool, pool
from pennylane_qexec.circuits.structure import batch_size
from pennylane_qexec.errors import ConfigurationError, coerce
from pennylane_qexec.job import Result

Duration = Callable[[np.random.Generator], float]
"""Draws a number of seconds."""

_DRAWS = 101


def _constant(seconds: float, rng: np.random.Generator) -> float:
    return seconds


def _uniform(low: float, high: float, rng: np.random.Generator) -> float:
    return float(rng.uniform(low, high))


def _lognormal(median: float, sigma: float, rng: np.random.Generator) -> float:
    return float(median * np.exp(sigma * rng.standard_normal()))


def lognormal(median: float, sigma: float = 1.0) -> Duration:
    """Seconds whose logarithm is normally distributed: mostly short, sometimes very long, as queues are.

    Args:
        median: half of them are shorter, in seconds.
        sigma: the standard deviation of the logarithm; with 1, one of six is longer than 2.7 medians.

    Raises:
        ConfigurationError: an argument is negative.
    """
    return partial(_lognormal, seconds(median, "median"), seconds(sigma, "sigma"))


def duration(value: Any, option: str) -> Duration:
    """The distribution that a user's value means: a number, a pair ``(low, high)``, or a function of a generator.

    Args:
        value: the value.
        option: what it was given as, for errors.

    Raises:
        ConfigurationError: it is nothing of this, or negative.
    """
    if callable(value):
        return lambda rng: seconds(value(rng), f"{option}(generator)")
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) != 2:
            raise ConfigurationError(f"{option}={value!r} must be seconds, (low, high), or a function of a generator.")
        low, high = (seconds(one, option) for one in value)
        if low > high:
            raise ConfigurationError(f"{option}={value!r}: the first number, the shortest time, is the greater one.")
        return partial(_uniform, low, high)
    return partial(_constant, seconds(value, option))


def typical(draw: Duration) -> float:
    """The median of some draws, in seconds; always the same ones."""
    rng = np.random.default_rng(0)
    return statistics.median(draw(rng) for _ in range(_DRAWS))


def seconds(value: Any, option: str) -> float:
    """A number of seconds.

    Raises:
        ConfigurationError: it is no number, negative or infinite.
    """
    number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not number or not 0 <= value < math.inf:
        raise ConfigurationError(f"{option}={value!r} must be a number of at least 0.")
    return float(value)


@dataclass(frozen=True)
class Drift:
    """How the probability grows that a bit is read the wrong way round.

    Attributes:
        start: the probability at the beginning.
        per_second: what each second adds.
        per_job: what each job adds.
        most: what it grows to; 0.5 is a coin.

    Raises:
        ConfigurationError: a number is negative, or ``most`` is above 1.
    """

    start: float = 0.0
    per_second: float = 0.0
    per_job: float = 0.0
    most: float = 0.5

    def __post_init__(self) -> None:
        for field in fields(self):
            seconds(getattr(self, field.name), field.name)
        if self.most > 1:
            raise ConfigurationError(f"most={self.most!r} is no probability: give at most 1.")

    def after(self, time: float, jobs: int) -> float:
        """The probability after so many seconds and jobs."""
        return min(self.most, self.start + self.per_second * time + self.per_job * jobs)


def drift_of(drift: Any) -> Drift | None:
    """The drift that a user's value means: ``None`` for none, a mapping for the arguments of :class:`Drift`.

    Raises:
        ConfigurationError: it means none.
    """
    if drift is None:
        return None
    return coerce(Drift, drift, f"drift={drift!r} is no drift: give Drift(per_second=...), or its arguments.")


def objection(circuit: QuantumScript) -> str | None:
    """Why a circuit cannot be run with drift: the end of a sentence that begins with the executor's name."""
    if not circuit.shots:
        return "has drift=, which errs in shots, and the circuit has none"
    if not can_pool(circuit):
        return f"has drift=, which errs in bits that are read, and {circuit.measurements} are none"
    return None


def runs(circuit: QuantumScript) -> Runs:
    """What is run for a circuit so that its bits can be read with errors, see :class:`ReadoutErrors`."""
    if any(isinstance(measurement, SHADOWS) for measurement in circuit.measurements):
        return together([simulated(one) for one in ReadoutErrors(circuit).circuits])
    circuits, shots = counted(circuit)
    return circuits * batch_size(circuit) * circuit.shots.num_copies, shots * batch_size(circuit)


class ReadoutErrors:
    """A circuit whose bits are to be read with errors: run as circuits that sample, and evaluated on their samples.

    Args:
        circuit: a circuit with shots, to which nothing is objected.
    """

    def __init__(self, circuit: QuantumScript) -> None:
        self._vector = circuit.shots.has_partitioned_shots
        parts = [circuit.copy(shots=shots) for shots in circuit.shots] if self._vector else [circuit]
        self._pools: list[SamplingPlan] = [pool(part) for part in parts]

    @property
    def circuits(self) -> list[QuantumScript]:
        """What to run."""
        return [circuit for one in self._pools for circuit in one.circuits]

    def result(self, samples: list[Result], probability: float, rng: np.random.Generator) -> Result:
        """The circuit's result, of those of ``circuits``, each bit of which is flipped with a probability."""
        remaining = iter(samples)
        results = [
            one.evaluate([[_flipped(circuit, next(remaining), probability, rng)] for circuit in one.circuits])
            for one in self._pools
        ]
        return tuple(results) if self._vector else results[0]


def _flipped(circuit: QuantumScript, samples: Result, probability: float, rng: np.random.Generator) -> np.ndarray:
    array = np.array(samples)
    # The recipes of a classical shadow, behind its bits, are what was chosen, and not read.
    bits = array[:1] if isinstance(circuit.measurements[0], ClassicalShadowMP) else array
    read = (bits == 0) | (bits == 1)  # shots discarded by postselection are marked with another number
    wrong = read & (rng.random(bits.shape) < probability)
    bits[wrong] = 1 - bits[wrong]
    return array


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
class FaultDraw:
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


def draw_faults(faults: Faults, rng: Any) -> FaultDraw:
    """Draw what is in store for a job; each kind of fault by itself, whatever the rates of the others are."""
    refused, lost, failed, late, unanswered = rng.random(5)
    times = int(rng.integers(1, _ONE_AFTER_THE_OTHER + 1))
    delay = duration(faults.delay, "delay")(rng)
    return FaultDraw(
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
    if not isinstance(rate, Faults | Mapping):
        return Faults(failed=rate)
    return coerce(Faults, rate, "", "kind of fault")


class Outages:
    """Intervals of time in which a backend is down.

    Args:
        intervals: pairs ``(begin, end)``, in seconds, in any order.

    Raises:
        ConfigurationError: an interval makes no sense, or two overlap.
    """

    def __init__(self, intervals: Iterable[Any] = ()) -> None:
        self._intervals = sorted(_interval(one) for one in intervals)
        for (_, end), (begin, _) in zip(self._intervals, self._intervals[1:], strict=False):
            if begin < end:
                raise ConfigurationError(f"outages: one begins at {begin:g} s, before another ends at {end:g} s.")

    def resumes(self, moment: float) -> float:
        """The first moment from this one on at which the backend is up."""
        for begin, end in self._intervals:
            if begin <= moment < end:
                moment = end
        return moment

    def next(self, moment: float) -> float:
        """When the next outage begins after a moment; infinity if none does."""
        return min((begin for begin, _ in self._intervals if begin > moment), default=math.inf)

    def finishes(self, start: float, duration: float) -> float:
        """When something ends that begins at ``start``, takes ``duration`` seconds, and rests during outages."""
        end = start + duration
        for begin, until in self._intervals:
            if start <= begin < end:
                end += until - begin
        return end


def _interval(one: Any) -> tuple[float, float]:
    try:
        begin, end = one
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"outages: {one!r} is no interval: give pairs (begin, end), in seconds.") from error
    begin, end = seconds(begin, "outages"), seconds(end, "outages")
    if begin >= end:
        raise ConfigurationError(f"outages: ({begin:g}, {end:g}) ends before it begins.")
    return begin, end
