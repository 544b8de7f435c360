"""Policies that need a memory or randomness of their own in every cluster."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from pennylane_qexec.errors import PolicyError
from pennylane_qexec.job import Candidate


class PolicyFactory(ABC):
    """A policy's value, from which each cluster makes its own policy."""

    @abstractmethod
    def fresh(self, rng: np.random.Generator) -> Callable[..., Any]:
        """The policy, starting anew, with ``rng`` as its source of randomness."""


@dataclass(frozen=True)
class Weights:
    """Weights by executor's name; an executor that is not named has weight 0.

    Raises:
        PolicyError: no weights, a negative one, one that is no finite number, or all of them 0.
    """

    by_name: Mapping[str, float]

    def __post_init__(self) -> None:
        weights = list(self.by_name.values()) if isinstance(self.by_name, Mapping) else []
        if not all(isinstance(weight, Real) and math.isfinite(weight) and weight >= 0 for weight in weights):
            raise PolicyError(f"the weights {self.by_name!r} must be finite numbers, none negative and one positive.")
        if not any(weights):
            raise PolicyError(
                f"the weights {self.by_name!r} share nothing out: give at least one executor's name a positive "
                "weight, as in {'lightning.qubit': 2}."
            )
        object.__setattr__(self, "by_name", dict(self.by_name))

    def of(self, executors: Sequence[Candidate]) -> list[float]:
        """The weights of these executors, in their order.

        Raises:
            PolicyError: none of them has a positive weight.
        """
        weights = [float(self.by_name.get(executor.name, 0.0)) for executor in executors]
        if sum(weights) <= 0:
            names = ", ".join(repr(executor.name) for executor in executors)
            raise PolicyError(
                f"the weights {self.by_name!r} name none of the executors that can run this circuit ({names})."
            )
        return weights


@dataclass(frozen=True)
class Weighted:
    """A policy that names executors: their weights can be checked when the cluster opens."""

    weights: Weights
