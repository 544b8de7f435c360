"""Amounts of what budgets limit: in whole units inside, so that sums are exact, and as users read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

NAMES = ("shots", "circuits", "cost", "seconds")

SCALES = (1, 1, 10**12, 10**9)
"""Units in one shot, one circuit, one US dollar, one second: in floats, three times 0.1 would be more than 0.3."""

WORDS = ("shots", "circuits", "US dollars", "seconds")


Amount = tuple[int, int, int, int]
"""An amount in whole units: shots, circuits, 1e-12 US dollars, nanoseconds."""

NOTHING: Amount = (0, 0, 0, 0)


class Amounts(NamedTuple):
    """Shots, circuits, cost in US dollars, and seconds of running time; of what is left, ``None`` is no limit."""

    shots: int | None
    circuits: int | None
    cost: float | None
    seconds: float | None


def amount(shots: int, circuits: int, cost: float, seconds: float) -> Amount:
    """An amount, given in shots, circuits, US dollars and seconds."""
    return shots, circuits, round(cost * 1e12), round(seconds * 1e9)


def together(amounts: Sequence[Amount]) -> Amount:
    """The sum of amounts, of which there is at least one."""
    if len(amounts) == 1:
        return amounts[0]
    shots, circuits, cost, seconds = map(sum, zip(*amounts, strict=True))
    return shots, circuits, cost, seconds


def value(index: int, units: int) -> int | float:
    """What a number of units of one quantity is for users."""
    return units if index < 2 else units / SCALES[index]


def in_words(index: int, units: int) -> str:
    """A number of units of one quantity, without its name."""
    return f"{units:,}" if index < 2 else f"{units / SCALES[index]:,.6g}"
