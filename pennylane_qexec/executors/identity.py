"""Which executors are the same: equivalent in distribution, identical (a text of what they are), or with equal seeds.

Executors of one cluster never draw equal shots, which would be pooled as if they were independent.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import lru_cache
from importlib import metadata
from typing import Any

import numpy as np

from pennylane_qexec.circuits.fingerprint import content
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.shots import innermost


def are_equivalent(executors: Iterable[Executor]) -> bool:
    """Whether executors give the same results in distribution. Shots of their own are part of that."""
    return len({(executor.equivalence, executor.shots) for executor in executors}) <= 1


def of_all(executors: Iterable[Executor]) -> Hashable:
    """The equivalence that executors have in common; ``None`` if they have none."""
    common = {(executor.equivalence, executor.shots) for executor in executors}
    return next(iter(common))[0] if len(common) == 1 else None


def identity_of(executor: object, kind: str, packages: Sequence[str], *parts: Any) -> str | None:
    """The identity of an executor of this package; ``None`` if it cannot be told.

    Args:
        executor: the executor. Of a class that somebody has derived, nobody knows what it does.
        kind: what it is, as one word.
        packages: the distributions that compute its results, besides PennyLane.
        parts: its options: plain values, arrays, and mappings and sequences of them.
    """
    if not is_ours(executor):
        return None
    try:
        digest = content([_sorted(part) for part in parts]).digest
    except Exception:  # an object, a function: each library raises what it likes when it is looked at
        return None
    return " ".join([kind, digest, *[f"{package}={version(package)}" for package in packages]])


def is_ours(executor: object) -> bool:
    """Whether an executor is of a class of this package: what one that somebody has derived does, nobody knows."""
    return type(executor).__module__.startswith("pennylane_qexec.")


@lru_cache(maxsize=256)
def version(package: str) -> str:
    """The version of a distribution; ``""`` if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _sorted(value: Any) -> Any:
    """A value whose mappings are in the order of their keys, however they were written."""
    if isinstance(value, Mapping):
        return {str(key): _sorted(value[key]) for key in sorted(value, key=str)}
    return [_sorted(part) for part in value] if isinstance(value, list | tuple) else value


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
    for place, one in enumerate(innermost(executors)):
        if seed is not None and not one.has_seed:
            one.reseed(derived(seed, place))
        origin = int.from_bytes(min(map(str, one.streams), default="").encode(), "little")
        for attempt in range(_MOST_TRIES):  # those that take no seed stay as they are
            if not one.streams & taken:
                break
            one.reseed(derived(origin, place, attempt))
        taken |= one.streams
