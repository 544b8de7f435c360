"""Executors of one cluster never draw equal shots, which would be pooled as if they were independent."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import numpy as np

from pennylane_qexec.executors.base import Executor

_MOST_TRIES = 10


def derived(seed: int, *which: int) -> int:
    """A seed below ``2**31`` that follows from another one, for the part of something with these numbers."""
    return int(np.random.SeedSequence(seed, spawn_key=which).generate_state(1)[0]) >> 1


def settle(executors: Sequence[Executor], seed: int | None = None) -> None:
    """Give executors different seeds.

    The first of several with equal seeds keeps it; each other one gets a seed that follows from it and its place. Those
    inside of executors (of a :class:`Hybrid`, of a cluster that is an executor) count one by one.

    Args:
        executors: of one cluster. None has run a circuit yet.
        seed: what the seeds of those without one follow from; ``None`` to leave them without.
    """
    taken: set[Hashable] = set()
    for place, one in enumerate(_each(executors)):
        if seed is not None and not one.has_seed:
            one.reseed(derived(seed, place))
        _keep_apart(one, place, taken)
        taken |= one.streams


def _keep_apart(one: Executor, place: int, taken: set[Hashable]) -> None:
    """Give an executor other seeds until it shares no stream with others; those that take none stay as they are."""
    origin = int.from_bytes(min(map(str, one.streams), default="").encode(), "little")
    for attempt in range(_MOST_TRIES):
        if not one.streams & taken:
            return
        one.reseed(derived(origin, place, attempt))


def _each(executors: Sequence[Executor]) -> Iterator[Executor]:
    for one in executors:
        if one.members:
            yield from _each(one.members)
        else:
            yield one
