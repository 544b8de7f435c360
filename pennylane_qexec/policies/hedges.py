"""Hedges: when a circuit that runs for much longer than others is given to a second executor as well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from pennylane_qexec.errors import ConfigurationError, coerce


@dataclass(frozen=True)
class Hedge:
    """Give a circuit to a second executor when it has run on the first for some time.

    Attributes:
        seconds: how long; ``None`` to go by how long others took, as follows.
        quantile: of the times that the last batches of the cluster took, from their start to their results.
        factor: times this quantile.
        least: seconds, and never before.
        known: how many batches must have been seen; before, there is no hedge.

    Source:
        "Hedged requests": J. Dean and L. A. Barroso, *The Tail at Scale*, Communications of the ACM 56(2), 2013.
    """

    seconds: float | None = None
    quantile: float = 0.95
    factor: float = 2.0
    least: float = 1.0
    known: int = 10

    def __post_init__(self) -> None:
        numbers = [getattr(self, argument.name) for argument in fields(self) if argument.name != "seconds"]
        if self.seconds is not None:
            numbers.append(self.seconds)
        if any(isinstance(number, bool) or not isinstance(number, int | float) for number in numbers):
            raise ConfigurationError(f"{self} makes no sense: all of it are numbers.")
        negative = self.least < 0 or self.factor <= 0 or (self.seconds is not None and self.seconds <= 0)
        if negative or not 0 < self.quantile <= 1 or self.known < 1:
            raise ConfigurationError(
                f"{self} makes no sense: seconds and factor are above 0, quantile is above 0 and at most 1, least is "
                "not negative, and known at least 1."
            )

    def delay(self, took: Sequence[float]) -> float | None:
        """Seconds of running after which a circuit is given to a second executor; ``None`` if that is not known yet.

        Args:
            took: seconds that the last batches took.
        """
        if self.seconds is not None:
            return self.seconds
        if len(took) < self.known:
            return None
        return max(self.least, self.factor * float(np.quantile(took, self.quantile)))


def after(
    seconds: float | None = None, *, quantile: float = 0.95, factor: float = 2.0, least: float = 1.0, known: int = 10
) -> Hedge:
    """Give a circuit that runs for long to a second executor; see :class:`Hedge` for the arguments."""
    return Hedge(seconds, quantile, factor, least, known)


def of(hedge: Any) -> Hedge | None:
    """The hedge that a user's value means: ``None`` for none, a number of seconds, a mapping for its arguments.

    Raises:
        ConfigurationError: the value is no hedge.
    """
    if hedge is None:
        return None
    if isinstance(hedge, int | float) and not isinstance(hedge, bool):
        return Hedge(seconds=hedge)
    refusal = f"hedge={hedge!r} is no hedge: give a number of seconds, or hedges.after(quantile=..., factor=...)."
    return coerce(Hedge, hedge, refusal, "argument of hedges.after")
