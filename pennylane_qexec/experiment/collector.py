"""The results of an experiment, as they come in or from a file, and ways to wait for them."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pennylane_qexec.engine import tables
from pennylane_qexec.errors import (
    ConfigurationError,
    ExperimentTimeoutError,
    PartialResultError,
    PartialResultWarning,
    PolicyError,
)
from pennylane_qexec.experiment import merges, persistence, plots
from pennylane_qexec.experiment.dispatch import Dispatch
from pennylane_qexec.experiment.merges import ExperimentMerge
from pennylane_qexec.experiment.policies import ExperimentPolicies
from pennylane_qexec.experiment.results import Errors, Raw, Source
from pennylane_qexec.experiment.tasks import Record, tasks_of_records
from pennylane_qexec.job import JobState
from pennylane_qexec.redaction.display import even_incomplete

if TYPE_CHECKING:
    import matplotlib.axes
    import pandas


_NOT_DONE = (JobState.FAILED, JobState.CANCELLED)


class ResultCollector:
    """The results of an experiment: those that are there, and those that are still to come.

    :meth:`QuantumExecutor.run_experiment` and :meth:`QuantumExecutor.run_dispatch` return one. ``await collector``
    waits for it in any event loop.

    Attributes:
        dispatch: what was sent where; ``None`` if the collector was loaded from a file that does not say.
        merge_data: what the merge returned beside the merged results, once they were merged.
    """

    def __init__(
        self,
        source: Source,
        dispatch: Dispatch | None,
        merge: ExperimentMerge,
        resolve: Callable[[Any], ExperimentMerge],
        data: Any,
        refuses: bool,
    ) -> None:
        self.dispatch = dispatch
        self.merge_data = data
        self._source = source
        self._merge = merge
        self._resolve = resolve
        self._given = data
        self._refuses = refuses
        self._merged: tuple[Any] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether all jobs have ended, well or not. Asking does not wait."""
        return self._source.over

    @property
    def progress(self) -> float:
        """The part of the circuits that have ended, from 0 to 1. Asking does not wait."""
        if self._source.over:
            return 1.0
        records = self._source.records
        return sum(record.state.final for record in records) / max(len(records), 1)

    @property
    def errors(self) -> Errors:
        """What went wrong: ``{"provider": {"backend": [error, ...]}}``, empty if nothing did. Asking does not wait."""
        return self._source.errors

    @property
    def records(self) -> list[Record]:
        """What has become of each circuit of each job until now, in the dispatch's order. Asking does not wait."""
        return self._source.records

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all jobs have ended.

        Args:
            timeout: the most seconds to wait; ``None`` for as long as it takes.

        Returns:
            Whether they have.

        Raises:
            KeyboardInterrupt: Ctrl-C, which does not stop the jobs: see :meth:`cancel`.
        """
        return self._source.wait(timeout)

    def get_results(self, timeout: float | None = None) -> Raw:
        """The results as they came, when all jobs have ended.

        Args:
            timeout: the most seconds to wait; ``None`` for as long as it takes.

        Returns:
            ``{"local_aer": {"aer_simulator": [{"00": 1015, "11": 1033}]}}``: for each backend a list with the results
            of its jobs' circuits, in the dispatch's order. Those that failed have ``None`` there, and a backend where
            all of them failed is not in it; a warning says so, and :attr:`errors` says why.

        Raises:
            JobTimeoutError: not all jobs have ended in time. They go on.
        """
        self._await(timeout)
        if self._source.missing:
            warnings.warn(f"{self._failures()}; see errors.", PartialResultWarning, stacklevel=2)
        return self.partial_results()

    def partial_results(self) -> Raw:
        """The results that are there now, as :meth:`get_results` returns them. Asking does not wait."""
        return self._source.results().raw

    def get_merged_results(self, timeout: float | None = None) -> Any:
        """The merged results, when all jobs have ended.

        Args:
            timeout: the most seconds to wait; ``None`` for as long as it takes.

        Returns:
            What the merge makes of them; for ``"aggregate"`` the counts of all shots of a circuit, or a list of them if
            a list of circuits was given.

        Raises:
            PartialResultError: jobs have failed, and it was not asked for a merge of what is left
                (``on_failure="partial"``). Its ``partial`` are the results there are.
            JobTimeoutError: not all jobs have ended in time. They go on.
        """
        self._await(timeout)
        if self._merged is None:
            merged, self.merge_data = self._merge_with(self._merge, self._given, not self._refuses)
            self._merged = (merged,)
        return self._merged[0]

    def merge(self, policy: Any, data: Any = None, *, partial: bool = False) -> Any:
        """The results merged by another policy.

        Args:
            policy: a merge's name, or a function ``(results, data) -> (merged, data)``.
            data: for the merge.
            partial: whether to merge what is there, though jobs have failed or not ended.

        Raises:
            PolicyError: nobody knows the name, or the merge cannot be used on these results.
            PartialResultError: jobs have failed.
        """
        merge = self._resolve(policy)
        merge.check(list(dict.fromkeys(record.place for record in self.records)), data)
        if not partial:
            self._await(None)
        return self._merge_with(merge, data, partial)[0]

    def cancel(self) -> None:
        """Give up the jobs that have not ended: they leave their queues, or are stopped where the backend can."""
        self._source.cancel()

    def rerun(self, backends: Any = None) -> ResultCollector:
        """Run the shots of the jobs that failed again; those that came back are kept.

        Args:
            backends: where, in equal shares: names as ``run_experiment`` takes them; default: the backends where they
                have failed.

        Returns:
            The collector itself, which has more to wait for.

        Raises:
            QExecError: the collector was loaded from a file.
        """
        self._await(None)
        self._source.rerun(backends)
        self._merged = None
        return self

    def to_dataframe(self) -> pandas.DataFrame:
        """One row for each circuit of each job.

        Returns:
            A table with the columns ``job`` and ``circuit`` (their numbers, from 0), ``provider``, ``backend``,
            ``shots``, ``state``, ``submitted``, ``started``, ``finished`` (UTC; ``NaT`` where it has not come to that),
            ``seconds_queued`` (from submitted to started; ``NaN`` before), ``seconds_running`` (the circuit's part of
            its batch, so that they add up), ``cost`` (US dollars), ``attempt`` (how many were made), ``error`` (``""``
            without one), ``instead_of`` (``"provider/backend"`` whose failed shots these are; ``""`` for others) and
            ``result`` (counts by outcome, or what PennyLane returns; ``None`` without one).
        """
        return tables.to_dataframe(self.records, tables.OF_EXPERIMENT)

    def plot_counts(self, circuit: int = 0, *, merged: bool = False, ax: matplotlib.axes.Axes | None = None) -> Any:
        """Draw how often each outcome was counted.

        Args:
            circuit: number of the circuit.
            merged: whether to draw the merged results instead of those of each backend: counts, or numbers by backend
                as the merge ``"tvd"`` gives them.
            ax: matplotlib axes to draw on; default: new ones.

        Returns:
            The axes.
        """
        if not merged:
            return plots.plot_counts(self.records, circuit=circuit, ax=ax)
        return plots.plot_merged(self.get_merged_results(), circuit=circuit, ax=ax)

    def plot_timeline(self, ax: matplotlib.axes.Axes | None = None) -> Any:
        """Draw when each backend ran its jobs, over the seconds since the first was submitted.

        Args:
            ax: matplotlib axes to draw on; default: new ones.

        Returns:
            The axes.
        """
        return plots.plot_timeline(self.records, ax=ax)

    def save(self, path: str | Path) -> None:
        """Write everything to a file, as JSON: dispatch, results, errors and times.

        Args:
            path: the file. What has not ended yet is written as such, and merged results if they were asked for before.
        """
        merge = (self._merge.name, self._given)
        persistence.write(
            persistence.document_of(self.records, self.dispatch, merge, self._merged, self._source.many), Path(path)
        )

    @classmethod
    def load(cls, path: str | Path) -> ResultCollector:
        """Read what :meth:`save` has written.

        Raises:
            ConfigurationError: there is no such file, or it is something else.
        """
        document = persistence.read(Path(path))
        many = bool(document.get("many"))
        records, dispatch = persistence.records_of(document), persistence.dispatch_of(document)
        persistence.check_results(records, dispatch)
        name, data = str(document.get("merge", "aggregate")), persistence.decoded(document.get("merge_data"))
        merge = merges.BUILT_IN.get(name) or merges.UnknownMerge(name)
        source = Source(tasks_of_records(records), many)
        collector = cls(source, dispatch, merge, ExperimentPolicies().merge, data, refuses=True)
        if "merged" in document:
            collector._merged = (persistence.decoded(document["merged"]),)
            collector._check_merged()
        return collector

    def _check_merged(self) -> None:
        """Refuse merged results of a file that are not what the records next to them add up to."""
        if self._merge is not merges.BUILT_IN["aggregate"] or not all(
            isinstance(record.result, Mapping) for record in self.records if record.state is JobState.DONE
        ):
            return
        if not self._source.results().places:
            return
        merged, _ = self._merge_with(self._merge, self._given, partial=True)
        if self._merged is not None and merged != self._merged[0]:
            raise ConfigurationError(
                "the merged results in this file are not what its records add up to. Somebody has changed the file, or "
                "it is damaged: give it as save() has written it."
            )

    def listen(self, listener: Callable[[], None]) -> None:
        """Have a function called whenever a circuit has ended, in whatever thread that happens; it must be short."""
        self._source.listen(listener)

    def _await(self, timeout: float | None) -> None:
        if not self.wait(timeout):
            records = self.records
            ended = sum(record.state.final for record in records)
            raise ExperimentTimeoutError(timeout or 0.0, ended, len(records))

    def _merge_with(self, merge: ExperimentMerge, data: Any, partial: bool) -> tuple[Any, Any]:
        results = self._source.results()
        if not partial and self._source.missing:
            raise PartialResultError(self._failures(), results.raw)
        if partial and not results.places:
            raise PolicyError(f"there is nothing to merge: {self._failures()}.")
        return merge.merged(results, data)

    def _failures(self) -> str:
        missing = self._source.missing
        first = next((f": {record.error.rstrip('.')}" for record in missing if record.error), "")
        places = list(dict.fromkeys(record.place for record in missing))
        named = ", ".join(places[:3]) + (f" and {len(places) - 3} more" if len(places) > 3 else "")
        asked = sum(record.instead_of is None for record in self.records)
        return f"{len(missing)} of {asked} circuits are missing, on {named}{first}"

    def __await__(self) -> Generator[Any, None, ResultCollector]:
        yield from asyncio.to_thread(self.wait).__await__()
        return self

    @even_incomplete
    def __repr__(self) -> str:
        records = self.records
        ended = sum(record.state.final for record in records)
        numbers = {state: sum(record.state is state for record in records) for state in _NOT_DONE}
        problems = "".join(f", {number} {state}" for state, number in numbers.items() if number)
        return f"<ResultCollector: {ended} of {len(records)} circuits have ended{problems}>"
