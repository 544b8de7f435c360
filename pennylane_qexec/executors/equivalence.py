"""Which executors give the same results in distribution, so that it does not matter who runs a circuit."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from pennylane_qexec.executors.base import Executor


def are_equivalent(executors: Iterable[Executor]) -> bool:
    """Whether executors give the same results in distribution. Shots of their own are part of that."""
    return len({(executor.equivalence, executor.shots) for executor in executors}) <= 1


def of_all(executors: Iterable[Executor]) -> Hashable:
    """The equivalence that executors have in common; ``None`` if they have none."""
    common = {(executor.equivalence, executor.shots) for executor in executors}
    return next(iter(common))[0] if len(common) == 1 else None
