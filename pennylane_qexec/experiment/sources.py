"""Where a collector's results come from: an experiment under way, or a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from pennylane_qexec.errors import QExecError
from pennylane_qexec.experiment.gathered import FromEntries, FromRecords, Gathered
from pennylane_qexec.experiment.record import Record
from pennylane_qexec.experiment.run import Run
from pennylane_qexec.experiment.source import Errors, Source
from pennylane_qexec.job import JobState
from pennylane_qexec.providers import Backend


class Live(Source):
    """An experiment under way.

    Args:
        run: the run.
        find: finds the backends that a user names.
        many: whether the user gave a list of circuits.
    """

    def __init__(self, run: Run, find: Callable[[Any], list[Backend]], many: bool) -> None:
        self._run = run
        self._find = find
        self._many = many

    @property
    def over(self) -> bool:
        return self._run.over

    @property
    def records(self) -> list[Record]:
        return [entry.record() for entry in list(self._run.entries)]

    @property
    def errors(self) -> Errors:
        found: Errors = {}
        for entry in list(self._run.entries):
            if entry.error is not None:
                found.setdefault(entry.backend.provider, {}).setdefault(entry.backend.name, []).append(entry.error)
        return found

    @property
    def missing(self) -> list[Record]:
        asked = [entry for entry in list(self._run.entries) if entry.instead_of is None]
        return [entry.record() for entry in asked if not entry.made_good]

    def gathered(self) -> Gathered:
        return FromEntries(list(self._run.entries), self._many)

    def wait(self, timeout: float | None) -> bool:
        return self._run.wait(timeout)

    def cancel(self) -> None:
        self._run.cancel()

    def rerun(self, backends: Any) -> None:
        self._run.rerun(None if backends is None else self._find(backends))

    def listen(self, listener: Callable[[], None]) -> None:
        self._run.listen(listener)


class Saved(Source):
    """Results of a file.

    Args:
        records: what had become of each circuit of each job.
        many: whether the user gave a list of circuits.
    """

    def __init__(self, records: Sequence[Record], many: bool) -> None:
        self._records = list(records)
        self._many = many

    @property
    def over(self) -> bool:
        return all(record.state.final for record in self._records)

    @property
    def records(self) -> list[Record]:
        return list(self._records)

    @property
    def errors(self) -> Errors:
        found: Errors = {}
        for record in self._records:
            if record.error is not None:
                found.setdefault(record.provider, {}).setdefault(record.backend, []).append(QExecError(record.error))
        return found

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

    def gathered(self) -> Gathered:
        return FromRecords(self._records, self._many)

    def wait(self, timeout: float | None) -> bool:
        return True

    def cancel(self) -> None:
        return None

    def rerun(self, backends: Any) -> None:
        raise QExecError("rerun(): this collector was loaded from a file and has results only: run its dispatch again.")

    def listen(self, listener: Callable[[], None]) -> None:
        return None
