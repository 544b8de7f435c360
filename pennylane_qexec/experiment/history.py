"""Backends over time: how far each was from a reference in every recorded run of an experiment, and when it changed."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.experiment.changes import Change, changes
from pennylane_qexec.experiment.distances import Comparison, Distribution, Kind, of_counts
from pennylane_qexec.experiment.recording import RecordedCircuit, RecordedResult, circuits_of, results_of
from pennylane_qexec.persistence.store import ExperimentRun, Store
from pennylane_qexec.redaction import veiled
from pennylane_qexec.redaction.display import even_incomplete

if TYPE_CHECKING:
    import pandas

IDEAL = "ideal"
"""The reference of what circuits would return without noise."""

_PAGE = 500
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class BackendRun:
    """One backend in one run of an experiment.

    Attributes:
        run: number of the run in the store; later ones have higher numbers.
        time: when the run began; UTC, in seconds since 1970.
        provider: name of the provider.
        backend: name of the backend.
        shots: how many were counted, of all circuits that are looked at.
        asked: how many were asked for.
        distance: from the reference, the mean of all circuits; ``None`` if one of them has no counts, of the backend or
            of the reference.
        error: standard error of the distance, in as far as it is due to the number of shots.
        change: ``"worse"`` or ``"better"`` if the run is marked, else ``""``.
        failure: what went wrong, in words; empty if nothing did.
        seconds: the running time of its batches.
        cost: US dollars.
    """

    run: int
    time: float
    provider: str
    backend: str
    shots: int
    asked: int
    distance: float | None
    error: float | None
    change: Change
    failure: str
    seconds: float
    cost: float

    @property
    def place(self) -> str:
        """The backend's full name, ``"provider/backend"``."""
        return f"{self.provider}/{self.backend}"


_COLUMNS = ("shots", "asked", "distance", "error", "change", "failure", "seconds", "cost")


@dataclass(frozen=True)
class BackendHistory:
    """How far backends were from a reference, over time. :func:`backend_history` returns one.

    Attributes:
        name: of the experiment.
        reference: what the backends are compared with: ``"ideal"``, the full name of a backend, or ``"given"``.
        distance: ``"tvd"`` or ``"hellinger"``.
        series: by the full name of each backend, its runs in the order of time.
    """

    name: str
    reference: str
    distance: Kind
    series: Mapping[str, tuple[BackendRun, ...]] = field(repr=False)

    @property
    def points(self) -> list[BackendRun]:
        """All backends in all runs, in the order of time."""
        return sorted((one for each in self.series.values() for one in each), key=lambda one: (one.run, one.place))

    @property
    def marks(self) -> list[BackendRun]:
        """The runs by which a backend has changed, in the order of time."""
        return [one for one in self.points if one.change]

    def to_dataframe(self) -> pandas.DataFrame:
        """One row for each backend and run.

        Returns:
            A table with the columns ``run``, ``time`` (UTC), ``provider``, ``backend``, ``shots``, ``asked``,
            ``distance``, ``error`` (both ``NaN`` where there is none), ``change``, ``failure``, ``seconds`` and
            ``cost``, as :class:`BackendRun` has them.
        """
        import pandas

        points = self.points
        columns: dict[str, Any] = {name: [getattr(one, name) for one in points] for name in _COLUMNS}
        columns |= {
            "distance": [_number(one.distance) for one in points],
            "error": [_number(one.error) for one in points],
        }
        columns["change"] = [str(one.change) for one in points]
        first: dict[str, Any] = {
            "run": [one.run for one in points],
            "time": pandas.to_datetime([datetime.fromtimestamp(one.time, UTC) for one in points], utc=True),
            "provider": [one.provider for one in points],
            "backend": [one.backend for one in points],
        }
        return pandas.DataFrame(first | columns)

    @even_incomplete
    def __repr__(self) -> str:
        runs = len({one.run for each in self.series.values() for one in each})
        return f"<BackendHistory of {self.name!r}: {len(self.series)} backends, {runs} runs, {len(self.marks)} marks>"


def _number(value: float | None) -> float:
    return math.nan if value is None else value


@veiled
def backend_history(
    store: str | os.PathLike[str] | Store,
    name: str,
    *,
    reference: str | Mapping[str, float] | Sequence[Mapping[str, float]] = IDEAL,
    distance: Kind = "tvd",
    circuit: int | None = None,
    last: int | None = None,
) -> BackendHistory:
    """Read how far each backend was from a reference in every recorded run of an experiment, and when it changed.

    Runs of other circuits, or with another order of bits, begin a new baseline.

    Args:
        store: where the runs were recorded, as ``run_experiment(..., store=)`` takes it.
        name: of the experiment.
        reference: what to compare with: ``"ideal"``, what the circuits would return without noise, simulated here for
            up to 16 qubits; the full name of a backend, whose counts of the same run are taken; or probabilities by
            outcome, written as the counts are, a list of them if there are several circuits.
        distance: ``"tvd"``, the total variation distance, or ``"hellinger"``.
        circuit: the number of a circuit, from 0; default: the mean of all.
        last: how many runs to look at, the latest; default: all.

    Returns:
        The history.

    Raises:
        ConfigurationError: an option makes no sense, or circuits have no counts, or no ideal ones.
        StoreError: there is no such experiment, or the store cannot be read.
    """
    if distance not in get_args(Kind):
        raise ConfigurationError(unknown("distance", distance, get_args(Kind)))
    if last is not None and (isinstance(last, bool) or not isinstance(last, int) or last < 1):
        raise ConfigurationError(f"last={last!r} must be a number of runs of at least 1, or None for all.")
    opened = _opened(store)
    try:
        runs = list(_runs(opened, name, last))[::-1]
        circuits = {
            digest: circuits_of(opened.experiment_circuits(digest)) for digest in {one.circuits for one in runs}
        }
    finally:
        if opened is not store:
            opened.close()
    reading = _Reading(name, reference, distance, circuit, circuits)
    found: dict[str, list[tuple[BackendRun, str, Compared | None]]] = {}
    for run in runs:
        for one, compared in reading.backends(run):
            found.setdefault(one.place, []).append((one, run.circuits, compared))
    reading.check_reference(found)
    series = {place: tuple(_marked(each)) for place, each in sorted(found.items()) if place != reference}
    shown = reference if isinstance(reference, str) else "given"
    return BackendHistory(name, shown, distance, series)


def _opened(store: Any) -> Store:
    """The store, opened to be read."""
    if isinstance(store, Store):
        return store
    from pennylane_qexec.persistence.store.sql import open_to_read  # SQLAlchemy comes with it

    if (
        isinstance(store, str | os.PathLike)
        and "://" not in (path := os.fspath(store))
        and not Path(path).expanduser().is_file()
    ):
        raise ConfigurationError(f"there is no store {path!r}: give what run_experiment(..., store=) was given.")
    return open_to_read(store)


def _runs(store: Store, name: str, last: int | None) -> Iterator[ExperimentRun]:
    """The runs of an experiment, the latest first, page by page."""
    left = math.inf if last is None else last
    page = store.experiment_runs(name, most=int(min(_PAGE, left)))
    while page:
        yield from page
        left -= len(page)
        page = store.experiment_runs(name, before=page[-1].id, most=int(min(_PAGE, left))) if left > 0 else []


@dataclass(frozen=True)
class Compared:
    """All circuits of one backend in one run, compared with the reference."""

    circuits: Sequence[Comparison]
    _at: dict[tuple[int, ...], float] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def shots(self) -> tuple[int, ...]:
        return tuple([one.shots for one in self.circuits])

    @cached_property
    def error(self) -> float:
        return math.sqrt(sum(one.error**2 for one in self.circuits)) / len(self.circuits)

    @property
    def distance(self) -> float:
        return math.fsum(one.at(None) for one in self.circuits) / len(self.circuits)

    def distance_at(self, shots: tuple[int, ...]) -> float:
        if shots not in self._at:
            each = [one.at(number) for one, number in zip(self.circuits, shots, strict=True)]
            self._at[shots] = math.fsum(each) / len(each)
        return self._at[shots]


def _marked(rows: Sequence[tuple[BackendRun, str, Compared | None]]) -> Iterator[BackendRun]:
    """The runs of one backend, with their marks: those without a distance are passed over."""
    for _, alike in groupby(rows, key=lambda row: row[1]):
        group = list(alike)
        marks = iter(changes([compared for _, _, compared in group if compared is not None]))
        for one, _, compared in group:
            yield one if compared is None else replace(one, change=next(marks))


class _Reading:
    """Makes comparisons of what was recorded.

    Args:
        name: of the experiment.
        reference: as given to :func:`backend_history`.
        distance: which distance.
        circuit: the number of the only circuit to look at; ``None`` for all.
        circuits: the circuits of the runs, by their digests.
    """

    def __init__(
        self,
        name: str,
        reference: Any,
        distance: Kind,
        circuit: int | None,
        circuits: Mapping[str, list[RecordedCircuit]],
    ) -> None:
        self._name = name
        self._reference = reference
        self._distance: Kind = distance
        self._circuits = circuits
        self._numbers = {digest: _chosen(circuit, len(each)) for digest, each in circuits.items()}
        self._exact: dict[str, dict[int, Distribution]] = {}

    def backends(self, run: ExperimentRun) -> Iterator[tuple[BackendRun, Compared | None]]:
        """Each backend of a run, and its comparisons, if it has counts of all circuits."""
        numbers = self._numbers[run.circuits]
        results = {
            f"{one.provider}/{one.backend}": results_of(one.results, len(self._circuits[run.circuits]))
            for one in run.backends
        }
        references = self._references(run.circuits, results)
        for one in run.backends:
            mine = results[f"{one.provider}/{one.backend}"]
            counts = {number: self._counts(mine, number) for number in numbers}
            compared = self._compared(counts, references)
            yield (
                BackendRun(
                    run=run.id,
                    time=run.started,
                    provider=one.provider,
                    backend=one.backend,
                    shots=sum(each.shots or 0 for each in counts.values() if each is not None),
                    asked=sum(each.shots for number in numbers if (each := mine[number]) is not None),
                    distance=None if compared is None else compared.distance,
                    error=None if compared is None else compared.error,
                    change=Change.NONE,
                    failure=one.error,
                    seconds=one.seconds,
                    cost=one.cost,
                ),
                compared,
            )

    def check_reference(self, places: Mapping[str, Any]) -> None:
        """Refuse the name of a backend that is in no run."""
        if isinstance(self._reference, str) and self._reference != IDEAL and self._reference not in places:
            raise ConfigurationError(unknown("reference", self._reference, [IDEAL, *sorted(places)]))

    def _compared(
        self, counts: Mapping[int, Distribution | None], references: Mapping[int, Distribution | None]
    ) -> Compared | None:
        found = []
        for number, mine in counts.items():
            other = references[number]
            if mine is None or other is None:
                return None
            found.append(Comparison(mine, other, self._distance))
        return Compared(found)

    def _references(
        self, digest: str, results: Mapping[str, Sequence[RecordedResult | None]]
    ) -> Mapping[int, Distribution | None]:
        numbers = self._numbers[digest]
        if isinstance(self._reference, str) and self._reference != IDEAL:
            own = results.get(self._reference)
            return {number: None if own is None else self._counts(own, number) for number in numbers}
        if digest not in self._exact:
            self._exact[digest] = {number: self._exactly(digest, number) for number in numbers}
        return self._exact[digest]

    def _exactly(self, digest: str, number: int) -> Distribution:
        if self._reference == IDEAL:
            from pennylane_qexec.experiment.ideal import ideal  # PennyLane's simulator comes with it

            return Distribution(ideal(self._circuits[digest][number], number), None)
        numbers = self._numbers[digest]
        given = [self._reference] if isinstance(self._reference, Mapping) else list(self._reference)
        if len(given) != len(numbers):
            raise ConfigurationError(
                f"reference= has the probabilities of {len(given)} circuits, and {len(numbers)} are compared: give "
                "those of each, or the number of one as circuit=."
            )
        return _given(given[numbers.index(number)], self._circuits[digest][number])

    def _counts(self, results: Sequence[RecordedResult | None], number: int) -> Distribution | None:
        """The counts of a circuit; ``None`` if there are none, or no shot of them."""
        one = results[number]
        if one is None or one.result is None:
            return None
        if not isinstance(one.result, Mapping):
            raise ConfigurationError(
                f"circuit {number} of the experiment {self._name!r} returned no counts, and distances are those of "
                "counts: choose another circuit=."
            )
        found = of_counts(one.result)
        return found if found.shots else None


def _chosen(circuit: int | None, circuits: int) -> list[int]:
    """The numbers of the circuits to look at."""
    if circuit is None:
        return list(range(circuits))
    if isinstance(circuit, bool) or not isinstance(circuit, int) or not 0 <= circuit < circuits:
        raise ConfigurationError(
            f"circuit={circuit!r} is no number of a circuit: the experiment has {circuits}, from 0."
        )
    return [circuit]


def _given(probabilities: Any, circuit: RecordedCircuit) -> Distribution:
    """Probabilities that a user gives.

    Raises:
        ConfigurationError: they are none, or not of outcomes that the circuit can have.
    """
    if not isinstance(probabilities, Mapping) or not probabilities:
        raise ConfigurationError(
            f"reference={probabilities!r} must be 'ideal', a backend, or probabilities by outcome."
        )
    for outcome, value in probabilities.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise ConfigurationError(f"reference= has {value!r} for {outcome!r}, which is no probability.")
        if circuit.bits is not None and not _is_outcome(outcome, circuit):
            raise ConfigurationError(
                f"reference= has the outcome {outcome!r}, and those of the circuit are as {_zeros(circuit)!r}."
            )
    total = math.fsum(probabilities.values())
    if abs(total - 1) > _TOLERANCE:
        raise ConfigurationError(f"the probabilities in reference= add up to {total:.6g}, and not to 1.")
    return Distribution({outcome: value / total for outcome, value in probabilities.items() if value}, None)


def _zeros(circuit: RecordedCircuit) -> str:
    """The outcome of a circuit that has all bits 0, as it is written."""
    assert circuit.bits is not None
    most = max((place or 0 for register in circuit.bits.registers for place in register), default=0)
    (written,) = circuit.bits.write({"0" * (most + 1): 1}, circuit.order)
    return written


def _is_outcome(outcome: Any, circuit: RecordedCircuit) -> bool:
    return isinstance(outcome, str) and outcome.replace("1", "0") == _zeros(circuit)
