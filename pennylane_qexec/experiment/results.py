"""What has come back of an experiment, as merges see it, and what a collector asks of where its results come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pennylane_qexec.errors import PolicyError
from pennylane_qexec.experiment.records import Record
from pennylane_qexec.experiment.tasks import Entry
from pennylane_qexec.job import JobState, Outcome, Result

Errors = dict[str, dict[str, list[BaseException]]]
"""What went wrong, by provider and backend."""

Raw = dict[str, dict[str, list[Any]]]
"""Results by provider and backend: ``{"local_aer": {"aer_simulator": [{"00": 1015, "11": 1033}]}}``."""


class Gathered(ABC):
    """The results of what is done.

    Args:
        circuits: the numbers of all circuits of the experiment.
        places: the full names of the backends that have results, in the dispatch's order.
        many: whether the user gave a list of circuits, so that merged results are lists too.
    """

    def __init__(self, circuits: Iterable[int], places: Iterable[str], many: bool) -> None:
        self.circuits = sorted(set(circuits))
        self.places = list(dict.fromkeys(places))
        self._many = many

    @property
    @abstractmethod
    def raw(self) -> Raw:
        """Results as they came.

        One for each circuit of each job, in the dispatch's order, ``None`` where there is none; a backend that has
        none at all is left out.
        """

    @abstractmethod
    def joined(self, circuit: int, place: str | None = None) -> Result:
        """The result of a circuit over all backends, or over the jobs of one; ``None`` if there is none.

        Raises:
            PolicyError: results of the circuit cannot be put together.
        """

    @abstractmethod
    def script(self, circuit: int) -> Any:
        """A circuit as PennyLane's, with the shots of its first share.

        Raises:
            PolicyError: only its results are known.
        """

    @abstractmethod
    def outcomes(self, circuit: int) -> list[Outcome]:
        """What came back for a circuit, share by share, as a merge ``(circuit, outcomes) -> result`` takes it."""

    def each(self, results: Sequence[Any]) -> Any:
        """Results of all circuits as the user gets them: a list, or the only one."""
        return list(results) if self._many or len(results) != 1 else results[0]


class FromEntries(Gathered):
    """The results of entries, whether all of them have ended or not.

    Args:
        entries: the entries of the experiment.
        many: whether the user gave a list of circuits.
    """

    def __init__(self, entries: Sequence[Entry], many: bool) -> None:
        self._entries = list(entries)
        circuits = [entry.circuit for entry in entries]
        super().__init__(circuits, [entry.place for entry in entries if entry.done], many)

    @property
    def raw(self) -> Raw:
        listed = [entry for entry in self._entries if entry.host is None]
        return _by_backend([(entry.backend.provider, entry.backend.name, entry.result()) for entry in listed])

    def joined(self, circuit: int, place: str | None = None) -> Result:
        entries = [entry for entry in self._done(circuit) if place in (None, entry.place)]
        parts = [entry.part for entry in entries if entry.part is not None]
        return entries[0].form.joined(parts) if parts else None

    def script(self, circuit: int) -> Any:
        entry = next(entry for entry in self._entries if entry.circuit == circuit)
        return entry.form.circuits(entry.shots, entry.share)[0]

    def outcomes(self, circuit: int) -> list[Outcome]:
        return [_outcome(entry.record()) for entry in self._done(circuit)]

    def _done(self, circuit: int) -> list[Entry]:
        return [entry for entry in self._entries if entry.circuit == circuit and entry.done]


class FromRecords(Gathered):
    """Results without the circuits they are of: of a file, or as the paper's merges are given them.

    Args:
        records: what became of each circuit on each backend.
        many: whether the user gave a list of circuits.
    """

    def __init__(self, records: Sequence[Record], many: bool) -> None:
        self._records = list(records)
        done = [record for record in records if record.state is JobState.DONE]
        super().__init__([record.circuit for record in records], [record.place for record in done], many)

    @classmethod
    def from_raw(cls, results: Mapping[str, Mapping[str, Sequence[Any]]], many: bool) -> FromRecords:
        """Results as ``{provider: {backend: [result, ...]}}``, the places in the lists being the circuits' numbers."""
        records = [
            Record(0, number, provider, name, 0, JobState.DONE if one is not None else JobState.FAILED, one)
            for provider, names in results.items()
            for name, found in names.items()
            for number, one in enumerate(found)
        ]
        return cls(records, many)

    @property
    def raw(self) -> Raw:
        listed: list[list[Record]] = []
        hosts: dict[tuple[str, int], list[Record]] = {}
        for record in self._records:
            host = hosts.get((record.place, record.circuit))
            if record.instead_of is not None and host is not None:
                host.append(record)
            else:
                listed.append([record])
                hosts.setdefault((record.place, record.circuit), listed[-1])
        return _by_backend([(group[0].provider, group[0].backend, self._joined(group)) for group in listed])

    def joined(self, circuit: int, place: str | None = None) -> Result:
        return self._joined(
            [record for record in self._records if record.circuit == circuit and place in (None, record.place)]
        )

    def _joined(self, records: Sequence[Record]) -> Result:
        results = [record.result for record in records if record.state is JobState.DONE]
        if len(results) <= 1:
            return results[0] if results else None
        if not all(isinstance(result, Mapping) for result in results):
            raise PolicyError(
                f"circuit {records[0].circuit} has several results that are no counts, and its samples were not kept."
            )
        total: Counter[str] = Counter()
        for counts in results:
            total.update(counts)
        return dict(sorted(total.items()))

    def script(self, circuit: int) -> Any:
        raise PolicyError("a merge (circuit, outcomes) -> result needs the circuits, and only results are known here.")

    def outcomes(self, circuit: int) -> list[Outcome]:
        done = [record for record in self._records if record.circuit == circuit and record.state is JobState.DONE]
        return [_outcome(record) for record in done]


def _by_backend(results: Iterable[tuple[str, str, Any]]) -> Raw:
    found: Raw = {}
    for provider, name, result in results:
        found.setdefault(provider, {}).setdefault(name, []).append(result)
    kept = {
        provider: {name: each for name, each in names.items() if any(one is not None for one in each)}
        for provider, names in found.items()
    }
    return {provider: names for provider, names in kept.items() if names}


def _outcome(record: Record) -> Outcome:
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


class Source(ABC):
    """Where a collector's results come from: an experiment under way, or a file."""

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
    def gathered(self) -> Gathered:
        """What is done."""

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
