"""Which of several ways of doing the same is the fastest: found out on real work, by size."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

_SIZES = 1024
_TRIALS = 3
_CLEARLY = 1.5
_LONG = 0.02
_FIRST_RECHECK = 64
_MOST_PATIENCE = 4096


@dataclass
class _Way:
    """One of the ways, for one size.

    Attributes:
        seconds: the seconds per circuit that it took the last few times.
        lasted: all the seconds that it ran.
    """

    seconds: list[float] = field(default_factory=list)
    lasted: float = 0.0


@dataclass
class _Standing:
    """What was measured for one size.

    Attributes:
        ways: of each way.
        runs: how often something of this size ran since a slower way was last tried again.
        patience: runs until a slower way is tried again.
        turn: counts trials.
    """

    ways: list[_Way]
    runs: int = 0
    patience: int = _FIRST_RECHECK
    turn: int = 0


class Contest:
    """Lets several ways compete. Safe to use from several threads; remembers the sizes that were used last.

    For a size that is new, the ways take turns. Then the fastest one is taken, by the best of its last few times:
    what else the machine does can only make it slower. The others are tried again, ever more seldom.

    Args:
        clock: returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._standings: OrderedDict[Hashable, _Standing] = OrderedDict()

    def run(self, size: Hashable, circuits: int, ways: Sequence[Callable[[], T]]) -> T:
        """Do something by one of the ways, and remember how long that took.

        Args:
            size: what the time per circuit depends on.
            circuits: how many circuits it is done for.
            ways: the ways, always in the same order.
        """
        way = self._choose(size, len(ways))
        start = self._clock()
        result = ways[way]()
        self._note(size, way, circuits, self._clock() - start)
        return result

    def settled(self, size: Hashable) -> int | None:
        """The way that is the fastest for a size; ``None`` as long as that is not known."""
        with self._lock:
            standing = self._standings.get(size)
            return None if standing is None else _fastest(standing)

    def _choose(self, size: Hashable, number: int) -> int:
        with self._lock:
            standing = self._standings.setdefault(size, _Standing([_Way() for _ in range(number)]))
            self._standings.move_to_end(size)
            if len(self._standings) > _SIZES:
                self._standings.popitem(last=False)
            fastest = _fastest(standing)
            if fastest is None:
                return min(range(number), key=lambda way: len(standing.ways[way].seconds))
            standing.runs += 1
            if standing.runs < standing.patience or number == 1:
                return fastest
            standing.runs = 0
            standing.patience = min(2 * standing.patience, _MOST_PATIENCE)
            standing.turn += 1
            return (fastest + 1 + standing.turn % (number - 1)) % number

    def _note(self, size: Hashable, way: int, circuits: int, seconds: float) -> None:
        with self._lock:
            standing = self._standings.get(size)
            if standing is None:
                return
            before, ran = _fastest(standing), standing.ways[way]
            ran.lasted += seconds
            ran.seconds = [*ran.seconds[1 - _TRIALS :], seconds / circuits]
            if before is not None and _fastest(standing) != before:
                standing.patience = _FIRST_RECHECK


def _fastest(standing: _Standing) -> int | None:
    """The fastest way, as soon as all had enough trials, or it is that much faster that no more are needed."""
    ways = standing.ways
    if not all(way.seconds for way in ways):
        return None
    best = [min(way.seconds) for way in ways]
    fastest = best.index(min(best))
    clearly = all(other >= _CLEARLY * best[fastest] for way, other in enumerate(best) if way != fastest)
    if all(len(way.seconds) >= _TRIALS for way in ways) or (clearly and all(way.lasted >= _LONG for way in ways)):
        return fastest
    return None
