"""Selectors: who runs a circuit, whole.

A selector is a function ``(circuit, executors) -> executor``. The executors it is given are those of the cluster that
can run the circuit and are up; it returns one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from pennylane.tape import QuantumScript

from pennylane_qexec.job import Candidate
from pennylane_qexec.policies.base import PolicyFactory, Weighted, Weights

Selector = Callable[[QuantumScript, Sequence[Candidate]], Candidate]


@dataclass(frozen=True)
class _Cyclic(PolicyFactory):
    """One executor after the other, per circuit, going on across calls."""

    def fresh(self, rng: np.random.Generator) -> Selector:
        return _Turns()


class _Turns:
    """Whose turn it is: that of the executor whose last turn is longest ago; of several, the first."""

    def __init__(self) -> None:
        self._turns = 0
        self._last: WeakKeyDictionary[Candidate, int] = WeakKeyDictionary()

    def __call__(self, circuit: QuantumScript, executors: Sequence[Candidate]) -> Candidate:
        chosen = min(executors, key=lambda executor: self._last.get(executor, 0))
        self._turns += 1
        self._last[chosen] = self._turns
        return chosen


@dataclass(frozen=True)
class _Random(PolicyFactory):
    """Uniformly at random."""

    def fresh(self, rng: np.random.Generator) -> Selector:
        return _RandomWithRng(rng)


@dataclass(frozen=True)
class _RandomWithRng:
    """Uniformly at random, in one cluster."""

    rng: np.random.Generator

    def __call__(self, circuit: QuantumScript, executors: Sequence[Candidate]) -> Candidate:
        return executors[int(self.rng.integers(len(executors)))]


@dataclass(frozen=True)
class _WeightedWithRng(Weighted):
    """At random with these weights, in one cluster."""

    rng: np.random.Generator

    def __call__(self, circuit: QuantumScript, executors: Sequence[Candidate]) -> Candidate:
        bounds = np.cumsum(self.weights.of(executors))
        return executors[int(np.searchsorted(bounds, self.rng.random() * bounds[-1], side="right"))]


@dataclass(frozen=True)
class _Weighted(Weighted, PolicyFactory):
    """At random with these weights."""

    def fresh(self, rng: np.random.Generator) -> Selector:
        return _WeightedWithRng(self.weights, rng)


def weighted(weights: Mapping[str, float]) -> PolicyFactory:
    """An executor at random, with probabilities in proportion to the weights.

    Args:
        weights: weight by executor's name; executors that are not named get nothing.

    Returns:
        A selector's value, for ``selector=``. Every cluster draws from its own ``seed``.

    Raises:
        PolicyError: no weight is positive, or one is negative; when the cluster opens, a name it does not have.
    """
    return _Weighted(Weights(weights))


def least_loaded(circuit: QuantumScript, executors: Sequence[Any]) -> Any:
    """Whoever is free first.

    A cluster with this selector leaves its circuits in one queue, and executors pull from it when they are free.
    Called as a function, as for device derivatives (which have to be prepared for one backend), it returns the
    executor with the fewest circuits waiting, the first of them where several have.
    """
    return min(executors, key=lambda executor: executor.load().waiting)


cyclic: PolicyFactory = _Cyclic()
"""One executor after the other, per circuit, going on across calls.

Circuits of a call that differ in nothing but numbers stay together, unless the executors are equivalent.
"""

random: PolicyFactory = _Random()
"""Uniformly at random, from the cluster's seed."""


def is_built_in(selector: Any) -> bool:
    """Whether a selector in use is one of these, which leave the rows of a sweep on one executor where that matters."""
    return selector is least_loaded or isinstance(selector, _Turns | _RandomWithRng | _WeightedWithRng)


BUILT_IN: Mapping[str, Any] = {"cyclic": cyclic, "random": random, "least_loaded": least_loaded}
