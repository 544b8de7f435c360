"""Merges: how the results of an experiment become one."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pennylane_qexec.errors import PolicyError, unknown
from pennylane_qexec.experiment.results import Results
from pennylane_qexec.job import Result
from pennylane_qexec.policies.merges import Merge, Pooled

Distance = Callable[[Mapping[str, int], Mapping[str, int]], float]

REFERENCE = "local_aer/aer_simulator"
"""What backends are compared with, if nothing else is said."""

PaperMerge = Callable[[Any, Any], tuple[Any, Any]]
"""``merge(results, data) -> (merged, data)``, as in the Quantum Executor paper."""


class ExperimentMerge(ABC):
    """Makes one result of what has come back.

    Attributes:
        name: how it is called.
    """

    name: str

    def check(self, places: Sequence[str], data: Any) -> None:  # noqa: B027
        """See before anything runs whether the results of these backends can be merged.

        Args:
            places: full names of the backends.
            data: the ``merge_data`` given.

        Raises:
            PolicyError: they cannot.
        """

    @abstractmethod
    def merged(self, results: Results, data: Any) -> tuple[Any, Any]:
        """What the results become, and data for whoever asked."""


class Aggregate(ExperimentMerge):
    """The result of all shots of all backends together.

    Counts are added up. Other measurements are evaluated on the samples of all backends, so that the result is that of
    one backend with all the shots.
    """

    name = "aggregate"

    def merged(self, results: Results, data: Any) -> tuple[Any, Any]:
        return results.each([results.joined(circuit) for circuit in results.circuits]), data


class PerBackend(ExperimentMerge):
    """No merging: ``{"provider/backend": result}``, or lists of results where there are several circuits."""

    name = "per_backend"

    def merged(self, results: Results, data: Any) -> tuple[Any, Any]:
        return {
            place: results.each([results.joined(circuit, place) for circuit in results.circuits])
            for place in results.places
        }, data


@dataclass(frozen=True)
class Distances(ExperimentMerge):
    """How far each backend's counts are from those of a reference backend.

    The reference is ``merge_data={"reference": "provider/backend"}``, or ``local_aer/aer_simulator``. Merged results
    are ``{"provider/backend": distance}`` without the reference, lists of distances where there are several circuits.

    Attributes:
        name: the merge's name.
        distance: between two sets of counts.
    """

    name: str
    distance: Distance

    def check(self, places: Sequence[str], data: Any) -> None:
        reference = self._reference(data)
        if len(places) == 1:
            raise PolicyError(f"merge {self.name!r} compares backends, and there is one, {places[0]!r}: name another.")
        if reference not in places:
            hint = f"Name one of the experiment's backends: merge_data={{'reference': {places[0]!r}}}."
            raise PolicyError(unknown(f"reference of merge {self.name!r} among the backends", reference, places, hint))

    def merged(self, results: Results, data: Any) -> tuple[Any, Any]:
        reference = self._reference(data)
        found = {
            place: results.each([self._of(results, circuit, place, reference) for circuit in results.circuits])
            for place in results.places
            if place != reference
        }
        return found, data

    def _of(self, results: Results, circuit: int, place: str, reference: str) -> float | None:
        mine, other = results.joined(circuit, place), results.joined(circuit, reference)
        if mine is None or other is None:
            return None
        for counts in (mine, other):
            if not isinstance(counts, Mapping):
                raise PolicyError(f"merge {self.name!r} compares counts, and circuit {circuit} returned {counts!r}.")
        return self.distance(mine, other)

    def _reference(self, data: Any) -> str:
        if data is None:
            return REFERENCE
        if not isinstance(data, Mapping) or set(data) != {"reference"}:
            raise PolicyError(f"merge_data={data!r} of merge {self.name!r}: give {{'reference': 'provider/backend'}}.")
        return str(data["reference"])


@dataclass(frozen=True)
class PaperFormMerge(ExperimentMerge):
    """A function ``(results, data) -> (merged, data)``.

    Attributes:
        name: what it is called.
        function: given results as ``{provider: {backend: [counts, ...]}}``.
    """

    name: str
    function: PaperMerge

    def merged(self, results: Results, data: Any) -> tuple[Any, Any]:
        returned = self.function(results.raw, data)
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise PolicyError(f"merge {self.name!r} returned {returned!r}: return a pair (merged results, data).")
        return returned


@dataclass(frozen=True)
class ClusterMerge(ExperimentMerge):
    """A merge of clusters, called for each circuit with the outcomes of its shares.

    Attributes:
        name: what it is called.
        merge: the merge; one that has shares run in another form than the circuit itself cannot be used here.
    """

    name: str
    merge: Merge

    def merged(self, results: Results, data: Any) -> tuple[Any, Any]:
        return results.each([self._of(results, circuit) for circuit in results.circuits]), data

    def _of(self, results: Results, circuit: int) -> Result:
        script = results.script(circuit)
        plan = self.merge.plan(script)
        if plan is None or plan.circuits != (script,):
            raise PolicyError(f"{self.merge!r} changes what shares run, which experiments do not: use 'pooled'.")
        return plan.join([replace(outcome, result=(outcome.result,)) for outcome in results.outcomes(circuit)])


def of_cluster(name: str, merge: Merge) -> ExperimentMerge:
    """A merge of clusters, for experiments."""
    return aggregate if isinstance(merge, Pooled) else ClusterMerge(name, merge)


@dataclass(frozen=True)
class UnknownMerge(ExperimentMerge):
    """A merge of which nothing but the name was saved.

    Attributes:
        name: what it was called.
    """

    name: str

    def merged(self, results: Results, data: Any) -> tuple[Any, Any]:
        raise PolicyError(
            f"the merge {self.name!r} is not known here: give it to merge(), as a function or by its name."
        )


def total_variation_distance(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """Half the sum of the differences of probabilities, from 0 (equal) to 1 (nothing in common).

    Args:
        one: counts, or probabilities, by outcome.
        other: the same of what it is compared with.

    Source:
        Levin, Peres, *Markov Chains and Mixing Times*, 2017, proposition 4.2.
    """
    left, right = _shares(one), _shares(other)
    return 0.5 * math.fsum(abs(left.get(key, 0.0) - right.get(key, 0.0)) for key in left.keys() | right.keys())


def hellinger_distance(one: Mapping[str, int], other: Mapping[str, int]) -> float:
    """The Hellinger distance of two distributions, from 0 (equal) to 1 (nothing in common).

    Args:
        one: counts, or probabilities, by outcome.
        other: the same of what it is compared with.

    Source:
        ``sqrt(1 - sum(sqrt(p q)))``: Nikulin, "Hellinger distance", *Encyclopedia of Mathematics*, 2001.
    """
    left, right = _shares(one), _shares(other)
    overlap = math.fsum(math.sqrt(left[key] * right[key]) for key in left.keys() & right.keys())
    return math.sqrt(max(0.0, 1.0 - overlap))


def _shares(counts: Mapping[str, float]) -> dict[str, float]:
    total = math.fsum(counts.values())
    if total <= 0:
        raise PolicyError(f"{dict(counts)!r} are no counts: nothing was counted.")
    return {outcome: number / total for outcome, number in counts.items()}


aggregate = Aggregate()
per_backend = PerBackend()

BUILT_IN: Mapping[str, ExperimentMerge] = {
    "aggregate": aggregate,
    "hellinger": Distances("hellinger", hellinger_distance),
    "per_backend": per_backend,
    "per_executor": per_backend,
    "pooled": aggregate,
    "tvd": Distances("tvd", total_variation_distance),
}
"""The merges by name. ``"pooled"`` and ``"per_executor"`` are what clusters call two of them."""
