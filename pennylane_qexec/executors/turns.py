"""Random numbers for circuits that run together, as they would be if the circuits ran one after the other.

A simulator samples from one stream of random numbers. Where circuits run at once, it draws first for all of them the
first thing that they measure, then the second. Each circuit still gets its own part of the stream here, so that
running together changes no result, with or without a seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any, NamedTuple, cast

import numpy as np

from pennylane_qexec.errors import QExecError

Draws = tuple[int, ...]
"""How many numbers a circuit draws for each of its samples, in order."""


class OutOfTurnError(QExecError):
    """A simulator drew other random numbers than it was seen to draw before."""


class Stream:
    """A stream of random numbers, in which one can go to any place.

    Args:
        generator: what the simulator draws from. What is drawn here moves it on.
    """

    def __init__(self, generator: np.random.Generator) -> None:
        self.bits = cast(np.random.PCG64, generator.bit_generator)
        self._origin = self.bits.state

    @staticmethod
    def of(generator: np.random.Generator) -> Stream | None:
        """The stream of a generator; ``None`` for those that cannot go to any place."""
        if type(generator.bit_generator) is not np.random.PCG64 or generator.bit_generator.state["has_uint32"]:
            return None
        return Stream(generator)

    def go_to(self, place: int) -> None:
        """Go on from the number ``place``, the first being 0."""
        self.bits.state = self._origin
        self.bits.advance(place)

    def is_at(self, place: int) -> bool:
        """Whether the next number is the number ``place``."""
        here = self.bits.state
        self.go_to(place)
        same = self.bits.state == here
        self.bits.state = here
        return bool(same)


class Places(NamedTuple):
    """Where in a stream the circuits of a batch begin to draw."""

    stream: Stream
    starts: Sequence[int]


class Witness(np.random.Generator):
    """Draws from a stream, and notes how much.

    Attributes:
        draws: what was drawn until now.
    """

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream.bits)
        self.draws: Draws = ()

    def choice(
        self, a: Any, size: Any = None, replace: bool = True, p: Any = None, axis: int = 0, shuffle: bool = True
    ) -> Any:
        """Draw outcomes."""
        self.draws += (int(np.prod(size or ())),)
        return super().choice(a, size, replace, p, axis, shuffle)


class Turns(np.random.Generator):
    """Draws for each of several circuits from its own part of a stream.

    Args:
        stream: the stream.
        draws: what each of the circuits draws.
        starts: where the part of each circuit begins.
    """

    def __init__(self, stream: Stream, draws: Draws, starts: Sequence[int]) -> None:
        super().__init__(stream.bits)
        self._stream = stream
        before = accumulate(draws[:-1], initial=0)
        self._turns = [(start + passed, size) for passed, size in zip(before, draws, strict=False) for start in starts]
        self._turn = 0

    def choice(
        self, a: Any, size: Any = None, replace: bool = True, p: Any = None, axis: int = 0, shuffle: bool = True
    ) -> Any:
        """Draw outcomes for the circuit whose turn it is."""
        if self._turn == len(self._turns) or size != self._turns[self._turn][1]:
            raise OutOfTurnError(f"{size!r} random numbers were drawn by a simulator that was not expected to.")
        self._stream.go_to(self._turns[self._turn][0])
        self._turn += 1
        return super().choice(a, size, replace, p, axis, shuffle)

    def check_over(self) -> None:
        """See that everything was drawn.

        Raises:
            OutOfTurnError: it was not.
        """
        if self._turn < len(self._turns):
            raise OutOfTurnError(f"a simulator drew for {self._turn} samples only, not for {len(self._turns)}.")
