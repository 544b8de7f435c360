"""Merges: how the outcomes of a circuit's shares become one result.

``pooled`` runs every share in a form whose results add up (samples), puts the samples of all shares together, and
evaluates the circuit's measurements once, on the union. A merge of a user is a function ``(circuit, outcomes) ->
result``; every share is then run with the circuit's own measurements.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pennylane.exceptions import DiagGatesUndefinedError
from pennylane.measurements import ClassicalShadowMP
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits import sampling
from pennylane_qexec.circuits.structure import NotExpandedError
from pennylane_qexec.job import Outcome, Result


@dataclass(frozen=True)
class Plan:
    """How the shares of one circuit are run, and joined.

    Attributes:
        circuits: what every share runs, with the share's shots in place of the circuits' own.
        join: makes one result of the outcomes of the shares. The ``result`` of each outcome is a tuple with the
            results of ``circuits``.
    """

    circuits: tuple[QuantumScript, ...]
    join: Callable[[Sequence[Outcome]], Result]

    def share(self, index: int, shots: Any) -> list[QuantumScript]:
        """The circuits of one share.

        Args:
            index: number of the share; classical shadows of different shares draw different recipes.
            shots: the share's shots, or shot vector.
        """
        return [
            QuantumScript(circuit.operations, _reseeded(circuit, index), shots, circuit.trainable_params)
            for circuit in self.circuits
        ]


class Merge(ABC):
    """Plans how to run the shares of a circuit so that their outcomes can be joined."""

    @abstractmethod
    def plan(self, circuit: QuantumScript) -> Plan | None:
        """The plan for a circuit with an undivided number of shots.

        Returns:
            The plan; ``None`` if outcomes of this circuit cannot be joined, so that it has to go whole to one executor.
        """


class Pooled(Merge):
    """Exactly what one device with all the shots would return, for every measurement process.

    Variances, standard errors and entropies are never averaged: each is computed from the union of the samples.
    """

    def plan(self, circuit: QuantumScript) -> Plan | None:
        if not sampling.can_pool(circuit):
            return None
        try:
            pool = sampling.pool(circuit)
        except (DiagGatesUndefinedError, NotExpandedError):
            return None

        def join(outcomes: Sequence[Outcome]) -> Result:
            shares = [outcome.result for outcome in outcomes]
            return pool.evaluate([[share[index] for share in shares] for index in range(len(pool.circuits))])

        return Plan(pool.circuits, join)


@dataclass(frozen=True)
class _Callable(Merge):
    """A user's function."""

    function: Callable[[QuantumScript, Sequence[Outcome]], Result]

    def plan(self, circuit: QuantumScript) -> Plan:
        def join(outcomes: Sequence[Outcome]) -> Result:
            return self.function(circuit, [replace(outcome, result=outcome.result[0]) for outcome in outcomes])

        return Plan((circuit,), join)


def of_callable(merge: Any) -> Merge:
    """A merge as it is; a function ``(circuit, outcomes) -> result`` as a merge."""
    return merge if isinstance(merge, Merge) else _Callable(merge)


def _reseeded(circuit: QuantumScript, index: int) -> list[Any]:
    return [
        ClassicalShadowMP(wires=measurement.wires, seed=_seed(measurement.seed, index))
        if isinstance(measurement, ClassicalShadowMP)
        else measurement
        for measurement in circuit.measurements
    ]


def _seed(seed: Any, index: int) -> Any:
    return None if seed is None else int(np.random.SeedSequence([int(seed), index]).generate_state(1)[0])


pooled = Pooled()
"""Exactly what one device with all the shots would return."""

BUILT_IN: Mapping[str, Merge] = {"pooled": pooled}
