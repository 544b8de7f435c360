"""Results of an experiment as merges see them, and the source that a collector has them from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pennylane_qexec.errors import QExecError
from pennylane_qexec.experiment.tasks import CircuitTask, Record, tasks_of_records
from pennylane_qexec.job import JobState, Outcome, Result

Raw = dict[str, dict[str, list[Any]]]
"""Results by provider and backend: ``{"local_aer": {"aer_simulator": [{"00": 1015, "11": 1033}]}}``."""

Errors = dict[str, dict[str, list[BaseException]]]
"""What went wrong, by provider and backend."""


class Results:
    """The results of the tasks that are done.

    Args:
        tasks: all tasks, in the dispatch's order, whether they have ended or not.
        many: whether the user gave a list of circuits, so that merged results are lists too.

    Attributes:
        circuits: the numbers of all circuits of the experiment.
        places: the full names of the backends that have results.
    """

    def __init__(self, tasks: Sequence[CircuitTask], many: bool) -> None:
        self._tasks = tasks
        self._many = many
        self._by_circuit: dict[int, list[CircuitTask]] = {}
        for task in tasks:
            self._by_circuit.setdefault(task.circuit, []).append(task)
        self.circuits = sorted(self._by_circuit)
        self.places = list(dict.fromkeys(task.place for task in tasks if task.done))

    @classmethod
    def from_raw(cls, results: Mapping[str, Mapping[str, Sequence[Any]]], many: bool) -> Results:
        """Results as ``{provider: {backend: [result, ...]}}``, the places in the lists being the circuits' numbers."""
        records = [
            Record(0, number, provider, name, 0, JobState.DONE if one is not None else JobState.FAILED, one)
            for provider, names in results.items()
            for name, found in names.items()
            for number, one in enumerate(found)
        ]
        return cls(tasks_of_records(records), many)

    @property
    def raw(self) -> Raw:
        """Results as they came.

        One for each circuit of each job, in the dispatch's order, ``None`` where there is none; a backend that has
        none at all is left out.
        """
        found: Raw = {}
        for group in _grouped(self._tasks):
            backend = group[0].backend
            found.setdefault(backend.provider, {}).setdefault(backend.name, []).append(_joined(group))
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
        return _joined([task for task in self._by_circuit[circuit] if place in (None, task.place)])

    def outcomes(self, circuit: int) -> list[Outcome]:
        """What came back for a circuit, share by share, as a merge ``(circuit, outcomes) -> result`` takes it."""
        return [_outcome(task.record()) for task in self._by_circuit[circuit] if task.done]

    def each(self, results: Sequence[Any]) -> Any:
        """Results of all circuits as the user gets them: a list, or the only one."""
        return list(results) if self._many or len(results) != 1 else results[0]

    def script(self, circuit: int) -> Any:
        """A circuit as PennyLane's, with the shots of its first share.

        Raises:
            PolicyError: only its results are known.
        """
        return self._by_circuit[circuit][0].circuits()[0]


def _joined(tasks: Sequence[CircuitTask]) -> Result:
    """The results of those that are done together; ``None`` if there are none."""
    returned = [task.returned for task in tasks if task.returned is not None]
    return tasks[0].plan.joined(returned) if returned else None


def _grouped(tasks: Sequence[CircuitTask]) -> list[list[CircuitTask]]:
    """Tasks, one group for each result as it came.

    Shots that a backend has run in place of another's are part of what it has run itself of the circuit, if it has.
    """
    groups: list[list[CircuitTask]] = []
    first: dict[tuple[str, int], list[CircuitTask]] = {}
    for task in tasks:
        own = first.get((task.place, task.circuit))
        if task.instead_of is not None and own is not None:
            own.append(task)
        else:
            groups.append([task])
            first.setdefault((task.place, task.circuit), groups[-1])
    return groups


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


class Source:
    """Where a collector's results come from: tasks that were saved to a file, or an experiment under way.

    Args:
        tasks: the tasks, in the dispatch's order.
        many: whether the user gave a list of circuits.
    """

    def __init__(self, tasks: Sequence[CircuitTask], many: bool) -> None:
        self.many = many
        self._tasks = list(tasks)

    @property
    def over(self) -> bool:
        """Whether everything has ended."""
        return all(task.state.final for task in self._tasks)

    @property
    def records(self) -> list[Record]:
        """What has become of each circuit of each job, in the dispatch's order."""
        return [task.record() for task in list(self._tasks)]

    @property
    def errors(self) -> Errors:
        """What went wrong."""
        found: Errors = {}
        for task in list(self._tasks):
            if task.error is not None:
                found.setdefault(task.backend.provider, {}).setdefault(task.backend.name, []).append(task.error)
        return found

    @property
    def missing(self) -> list[Record]:
        """What was asked for and has not been run, neither where it was to run nor elsewhere."""
        asked = [task for task in list(self._tasks) if task.instead_of is None]
        return [task.record() for task in asked if not task.made_good]

    def results(self) -> Results:
        """The results of what is done."""
        return Results(list(self._tasks), self.many)

    def wait(self, timeout: float | None) -> bool:
        """Wait until everything has ended, or for some seconds; returns whether it has."""
        return True

    def cancel(self) -> None:
        """Give up what has not ended."""

    def rerun(self, backends: Any) -> None:
        """Run the shots of what has failed again."""
        raise QExecError("rerun(): this collector was loaded from a file and has results only: run its dispatch again.")

    def listen(self, listener: Callable[[], None]) -> None:
        """Have a function called whenever something has ended."""
