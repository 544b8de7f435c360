"""Every built-in policy keeps to the contract of its kind; so do functions that a user may write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pennylane.tape import QuantumScript

from pennylane_qexec import merges, selectors, splits
from pennylane_qexec.job import Outcome
from pennylane_qexec.testing import MergeContract, SelectorContract, SplitContract

WEIGHTS = {"executor-0": 1.0, "executor-2": 2.5}


class TestCyclic(SelectorContract):
    def make(self) -> Any:
        return selectors.cyclic


class TestRandom(SelectorContract):
    def make(self) -> Any:
        return selectors.random


class TestLeastLoaded(SelectorContract):
    def make(self) -> Any:
        return selectors.least_loaded


class TestWeightedSelector(SelectorContract):
    def make(self) -> Any:
        return selectors.weighted(WEIGHTS)


class TestSelectorOfAUser(SelectorContract):
    def make(self) -> Any:
        return lambda circuit, executors: executors[-1]


class TestUniform(SplitContract):
    def make(self) -> Any:
        return splits.uniform


class TestMultiplier(SplitContract):
    multiplies = True

    def make(self) -> Any:
        return splits.multiplier


class TestProportional(SplitContract):
    def make(self) -> Any:
        return splits.proportional


class TestWeightedSplit(SplitContract):
    def make(self) -> Any:
        return splits.weighted(WEIGHTS)


class TestSplitOfAUser(SplitContract):
    def make(self) -> Any:
        return lambda circuit, executors: splits.uniform(circuit, executors[:1])


class TestPooled(MergeContract):
    def make(self) -> Any:
        return merges.pooled


class TestMergeOfAUser(MergeContract):
    def make(self) -> Any:
        return mean_by_shots


def mean_by_shots(circuit: QuantumScript, outcomes: Sequence[Outcome]) -> float:
    """The mean of expectation values, weighted by shots."""
    shots = circuit.shots.total_shots or 1
    return sum(float(outcome.result) * outcome.shots for outcome in outcomes) / shots
