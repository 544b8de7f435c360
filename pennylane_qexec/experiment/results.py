"""Results of an experiment as merges see them, and the source that a collector has them from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from pennylane_qexec.errors import PolicyError, QExecError
from pennylane_qexec.experiment.tasks import CircuitTask, Record
from pennylane_qexec.job import JobState, Outcome, Result

Raw = dict[str, dict[str, list[Any]]]
"""Results by provider and backend: ``{"local_aer": {"aer_simulator": [{"00": 1015, "11": 1033}]}}``."""

Errors = dict[str, dict[str, list[BaseException]]]
"""What went wrong, by provider and backend."""

T = TypeVar("T", CircuitTask, Record)


class Results(ABC, Generic[T]):
    """The results of what is done.

    Args:
        items: what became of each circuit on each backend, in the dispatch's order.
        many: whether the user gave a list of circuits, so that merged results are lists too.

    Attributes:
        circuits: the numbers of all circuits of the experiment.
        places: the full names of the backends that have results.
    """

    def __init__(self, items: Sequence[T], many: bool) -> None:
        self._items: Sequence[T] = items
        self._many = many
        self.circuits = sorted({item.circuit for item in items})
        self.places = list(dict.fromkeys(item.place for item in items if item.state is JobState.DONE))

    @property
    def raw(self) -> Raw:
        """Results as they came.

        One for each circuit of each job, in the dispatch's order, ``None`` where there is none; a backend that has
        none at all is left out.
        """
        found: Raw = {}
        for group in _grouped(self._items):
            provider, name = _names(group[0])
            found.setdefault(provider, {}).setdefault(name, []).append(self._joined(group))
        with_results = {
            provider: {name: each for name, each in names.items() if any(one is not None for one in each)}
            for provider, names in found.items()
        }
        return {provider: names for provider, names in with_results.items() if names}

    def joined(self, circuit: int, place: str | None = None) -> Result:
        """The result of a circuit over all backends, or over the jobs of one; ``None`` if there is none.

        Raises:
            PolicyError: results of the circuit cannot be put together.
        """
        return self._joined([item for item in self._of(circuit) if place in (None, item.place)])

    def outcomes(self, circuit: int) -> list[Outcome]:
        """What came back for a circuit, share by share, as a merge ``(circuit, outcomes) -> result`` takes it."""
        return [_outcome(item) for item in self._of(circuit) if item.state is JobState.DONE]

    def each(self, results: Sequence[Any]) -> Any:
        """Results of all circuits as the user gets them: a list, or the only one."""
        return list(results) if self._many or len(results) != 1 else results[0]

    @abstractmethod
    def script(self, circuit: int) -> Any:
        """A circuit as PennyLane's, with the shots of its first share.

        Raises:
            PolicyError: only its results are known.
        """

    @abstractmethod
    def _joined(self, items: Sequence[T]) -> Result:
        """The results of those that are done together; ``None`` if there are none."""

    def _of(self, circuit: int) -> list[T]:
        return [item for item in self._items if item.circuit == circuit]


class TaskResults(Results[CircuitTask]):
    """The results of tasks, whether all of them have ended or not."""

    def script(self, circuit: int) -> Any:
        return self._of(circuit)[0].circuits()[0]

    def _joined(self, items: Sequence[CircuitTask]) -> Result:
        returned = [task.returned for task in items if task.returned is not None]
        return items[0].plan.joined(returned) if returned else None


class RecordResults(Results[Record]):
    """Results without the circuits they are of: of a file, or as the paper's merges are given them."""

    @classmethod
    def from_raw(cls, results: Mapping[str, Mapping[str, Sequence[Any]]], many: bool) -> RecordResults:
        """Results as ``{provider: {backend: [result, ...]}}``, the places in the lists being the circuits' numbers."""
        records = [
            Record(0, number, provider, name, 0, JobState.DONE if one is not None else JobState.FAILED, one)
            for provider, names in results.items()
            for name, found in names.items()
            for number, one in enumerate(found)
        ]
        return cls(records, many)

    def script(self, circuit: int) -> Any:
        raise PolicyError("a merge (circuit, outcomes) -> result needs the circuits, and only results are known here.")

    def _joined(self, items: Sequence[Record]) -> Result:
        results = [record.result for record in items if record.state is JobState.DONE]
        if len(results) <= 1:
            return results[0] if results else None
        if not all(isinstance(result, Mapping) for result in results):
            raise PolicyError(
                f"circuit {items[0].circuit} has several results that are no counts, and its samples were not kept."
            )
        total: Counter[str] = Counter()
        for counts in results:
            total.update(counts)
        return dict(sorted(total.items()))


def _grouped(items: Sequence[T]) -> list[list[T]]:
    """Tasks or records, one group for each result as it came.

    Shots that a backend has run in place of another's are part of what it has run itself of the circuit, if it has.
    """
    groups: list[list[T]] = []
    first: dict[tuple[str, int], list[T]] = {}
    for item in items:
        own = first.get((item.place, item.circuit))
        if item.instead_of is not None and own is not None:
            own.append(item)
        else:
            groups.append([item])
            first.setdefault((item.place, item.circuit), groups[-1])
    return groups


def _names(item: CircuitTask | Record) -> tuple[str, str]:
    """The names of a backend's provider and its own."""
    return (item.provider, item.backend) if isinstance(item, Record) else (item.backend.provider, item.backend.name)


def _outcome(item: CircuitTask | Record) -> Outcome:
    record = item if isinstance(item, Record) else item.record()
    return Outcome(
        record.result,
        record.place,
        record.shots,
        attempt=record.attempt,
        submitted=record.submitted,
        started=record.started,
        finished=record.finished,
        cost=record.cost,
        backend=record.backend,
    )


def errors_by_backend(errors: Iterable[tuple[str, str, BaseException]]) -> Errors:
    """Errors of backends, each given with the names of its provider and its own."""
    found: Errors = {}
    for provider, name, error in errors:
        found.setdefault(provider, {}).setdefault(name, []).append(error)
    return found


class Source(ABC):
    """Where a collector's results come from: an experiment under way, or a file.

    Args:
        many: whether the user gave a list of circuits.
    """

    def __init__(self, many: bool) -> None:
        self.many = many

    @property
    @abstractmethod
    def over(self) -> bool:
        """Whether everything has ended."""

    @property
    @abstractmethod
    def records(self) -> list[Record]:
        """What has become of each circuit of each job, in the dispatch's order."""

    @property
    @abstractmethod
    def errors(self) -> Errors:
        """What went wrong."""

    @property
    @abstractmethod
    def missing(self) -> list[Record]:
        """What was asked for and has not been run, neither where it was to run nor elsewhere."""

    @abstractmethod
    def results(self) -> Results[Any]:
        """The results of what is done."""

    @abstractmethod
    def wait(self, timeout: float | None) -> bool:
        """Wait until everything has ended, or for some seconds; returns whether it has."""

    @abstractmethod
    def cancel(self) -> None:
        """Give up what has not ended."""

    @abstractmethod
    def rerun(self, backends: Any) -> None:
        """Run the shots of what has failed again."""

    @abstractmethod
    def listen(self, listener: Callable[[], None]) -> None:
        """Have a function called whenever something has ended."""


class SavedExperiment(Source):
    """Results of a file.

    Args:
        records: what had become of each circuit of each job.
        many: whether the user gave a list of circuits.
    """

    def __init__(self, records: Sequence[Record], many: bool) -> None:
        super().__init__(many)
        self._records = list(records)

    @property
    def over(self) -> bool:
        return all(record.state.final for record in self._records)

    @property
    def records(self) -> list[Record]:
        return list(self._records)

    @property
    def errors(self) -> Errors:
        failed = [record for record in self._records if record.error is not None]
        return errors_by_backend((one.provider, one.backend, QExecError(one.error)) for one in failed)

    @property
    def missing(self) -> list[Record]:
        moved: Counter[tuple[int, int]] = Counter()
        for record in self._records:
            if record.instead_of is not None and record.state is JobState.DONE:
                moved[record.job, record.circuit] += record.shots or 1
        asked = [record for record in self._records if record.instead_of is None]
        return [
            record
            for record in asked
            if record.state is not JobState.DONE and moved[record.job, record.circuit] < max(record.shots, 1)
        ]

    def results(self) -> Results[Any]:
        return RecordResults(self._records, self.many)

    def wait(self, timeout: float | None) -> bool:
        return True

    def cancel(self) -> None:
        return None

    def rerun(self, backends: Any) -> None:
        raise QExecError("rerun(): this collector was loaded from a file and has results only: run its dispatch again.")

    def listen(self, listener: Callable[[], None]) -> None:
        return None
