"""What benchmarks answer: figures with their spread, as a table on the screen and as lines for the report."""

from __future__ import annotations

import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

REPORT = "QEXEC_BENCHMARKS"
"""The environment variable with the file that answers are appended to, one line of JSON each."""


@dataclass(frozen=True)
class Answer:
    """A figure.

    Attributes:
        question: what was measured.
        value: the median.
        low, high: the 10th and the 90th percentile.
        unit: what the figure is, such as ``"times as fast"`` or ``"us"``.
        at_least, at_most: what it should be.
        beside: a word on what it was compared with.
        command: the script, and what it is to be told, to ask for this alone; empty for the whole benchmark.
    """

    question: str
    value: float
    low: float
    high: float
    unit: str
    at_least: float | None = None
    at_most: float | None = None
    beside: str = ""
    command: str = ""

    @classmethod
    def of(cls, question: str, values: Sequence[float] | np.ndarray | float, unit: str, **more: Any) -> Answer:
        """The answer that several measurements give."""
        low, middle, high = map(float, np.percentile(np.atleast_1d(values), [10, 50, 90]))
        return cls(question, middle, low, high, unit, **more)

    @property
    def met(self) -> bool | None:
        """Whether the figure is what it should be; ``None`` if nothing was asked of it."""
        if self.at_least is not None:
            return self.value >= self.at_least
        return None if self.at_most is None else self.value <= self.at_most

    @property
    def goal(self) -> str:
        """What it should be, in words."""
        if self.at_least is not None:
            return f"at least {self.at_least:g}"
        return "" if self.at_most is None else f"at most {self.at_most:g}"

    @property
    def figure(self) -> str:
        """The figure with its spread."""
        if self.low == self.high:
            return f"{_short(self.value)} {self.unit}"
        return f"{_short(self.value)} ({_short(self.low)} to {_short(self.high)}) {self.unit}"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def answer(title: str, *parts: Callable[[], Iterable[Answer]]) -> None:
    """Ask all parts of a benchmark, and print what they answer.

    Args:
        title: of the table.
        parts: functions that measure.
    """
    table = Table("question", "figure", "goal", "beside", title=title)
    for found in _all(parts):
        mark = {True: "", False: "  MISSED", None: ""}[found.met]
        table.add_row(found.question, found.figure, found.goal + mark, found.beside)
        if report := os.environ.get(REPORT):
            with Path(report).open("a") as lines:
                lines.write(json.dumps({"title": title} | dataclasses.asdict(found)) + "\n")
    Console(width=160).print(table)


def _all(parts: Sequence[Callable[[], Iterable[Answer]]]) -> Iterator[Answer]:
    for part in parts:
        yield from part()


def seconds(call: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def side_by_side(calls: Sequence[Callable[[], object]], rounds: int) -> np.ndarray:
    """Seconds of each call in each round, an array ``(rounds, calls)``; calls take turns, after one round to warm up.

    Args:
        calls: what to time, the peer first.
        rounds: how often.
    """
    for call in calls:
        call()
    return np.array([[seconds(call) for call in calls] for _ in range(rounds)])
