"""Random numbers for circuits that run together, as they would be if the circuits ran one after the other.

A simulator samples from one stream of random numbers. Where circuits run at once, it draws first for all of them the
first thing that they measure, then the second. Each circuit still gets its own part of the stream here, so that running
together changes no result, with or without a seed.

Circuits with numbers draw from a stream that follows from the executor's seed and their number alone. So it makes no
difference to a circuit's shots what ran before it or beside it, and where: a program that is taken up again, and runs
only what it had not run before, gets what it would have got without the interruption.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from hashlib import blake2b
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


class StreamOffsets(NamedTuple):
    """Where in a stream the circuits of a batch begin to draw."""

    stream: Stream
    starts: Sequence[int]


class RecordingGenerator(np.random.Generator):
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


class PartitionedGenerator(np.random.Generator):
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


_APART = 0x6E756D62
"""Keeps what is drawn by numbers apart from what is drawn without, of the same seed."""

_BESIDE = 0x62657369


class Numbering:
    """The streams of the numbers that circuits may have.

    Args:
        origin: the seed.
    """

    def __init__(self, origin: np.random.SeedSequence) -> None:
        self._entropy = origin.entropy
        self._key = (*origin.spawn_key, _APART)
        self._start = np.random.PCG64(np.random.SeedSequence(self._entropy, spawn_key=self._key)).state

    @staticmethod
    def of(seed: Any) -> Numbering | None:
        """What follows from a seed that a user gave; ``None`` if it is neither a whole number nor several."""
        whole = isinstance(seed, int | np.integer) and not isinstance(seed, bool)
        several = isinstance(seed, Sequence) and all(isinstance(one, int | np.integer) for one in seed)
        return Numbering(np.random.SeedSequence(seed)) if whole or several else None

    @staticmethod
    def seen_in(generator: Any) -> Numbering | None:
        """What follows from the seed that a device's generator was made with; ``None`` if it cannot be seen."""
        origin = generator.bit_generator.seed_seq if goes_to_places(generator) else None
        return Numbering(origin) if isinstance(origin, np.random.SeedSequence) else None

    def beside(self, which: int) -> Numbering:
        """Other streams, of the same seed."""
        return Numbering(np.random.SeedSequence(self._entropy, spawn_key=(*self._key, _BESIDE, which)))

    def stream(self, generator: np.random.Generator) -> Stream:
        """The stream that has the parts of all numbers, for a generator to draw from; see :func:`place_of`."""
        bits: Any = generator.bit_generator
        bits.state = self._start
        return Stream(generator)

    def seed(self, number: int) -> int:
        """A seed for what takes nothing but seeds: below ``2**63``, and another one for each number."""
        made = np.random.SeedSequence(self._entropy, spawn_key=(*self._key, number))
        return int(made.generate_state(1, np.uint64)[0] >> np.uint64(1))

    def small_seed(self, number: int) -> int:
        """A seed below ``2**31``."""
        return self.seed(number) >> 32


def streams_of(seed: Any) -> frozenset[Hashable]:
    """What stands for a seed, as users give them: a number, several, or an object that has some."""
    if seed is None or isinstance(seed, str):
        return frozenset()
    if isinstance(seed, int | np.integer):
        return frozenset({int(seed)})
    several = isinstance(seed, Sequence) and all(isinstance(one, int | np.integer) for one in seed)
    return frozenset({tuple(map(int, seed)) if several else id(seed)})


def goes_to_places(generator: Any) -> bool:
    """Whether what a device draws from can go to any place of a stream."""
    return isinstance(generator, np.random.Generator) and type(generator.bit_generator) is np.random.PCG64


def place_of(number: int) -> int:
    """Where the part of a number begins in a stream of ``2**128`` numbers.

    Places that are a round number of steps apart would have alike random numbers, so these are scattered. That two of
    a million parts of a million random numbers each overlap has a probability below ``1e-20``.
    """
    return _hashed(b"%d" % number, 16)


def of_parts(numbers: Sequence[int], parts: Sequence[int]) -> tuple[int, ...]:
    """Numbers for the circuits that a batch was taken apart into, those of the first parts being the circuits' own.

    Args:
        numbers: of the circuits, at least 0 and below ``2**63``; may be empty.
        parts: how many circuits each of them has become.
    """
    if not numbers:
        return ()
    each = [(number, part) for number, count in zip(numbers, parts, strict=True) for part in range(count)]
    return tuple([_hashed(b"%d/%d" % (number, part), 8) >> 1 if part else number for number, part in each])


def _hashed(text: bytes, size: int) -> int:
    return int.from_bytes(blake2b(text, digest_size=size).digest(), "little")
