"""When a backend is down."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.rehearsal.durations import seconds


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
