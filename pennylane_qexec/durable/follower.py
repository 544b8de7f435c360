"""Follows jobs on their way to backends with a queue."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from pennylane_qexec.durable.entry import Entry
from pennylane_qexec.durable.keeper import Keeper, Letter
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.job import Job


class Follower:
    """Notes where the jobs of a run are sent.

    Args:
        keeper: what notes it.
        resumes: whether the run asks for them when it goes on.
    """

    def __init__(self, keeper: Keeper, resumes: bool) -> None:
        self._keeper = keeper
        self._resumes = resumes
        self._entries: dict[int | None, Entry] = {}

    @property
    def entries(self) -> list[Entry]:
        """What is followed, and has not come to its end."""
        return list(self._entries.values())

    def add(self, entries: Sequence[Entry]) -> None:
        """Follow entries."""
        self._entries |= {entry.job.number: entry for entry in entries}

    def forget(self, entry: Entry) -> None:
        """An entry has come to its end."""
        self._entries.pop(entry.job.number, None)

    def sending(self, jobs: Sequence[Job], executor: Executor) -> AbstractContextManager[Letter]:
        """What to send jobs in, as one job of an executor's backend."""
        return self._keeper.sending([self._entries[job.number] for job in jobs], executor)

    def leaves(self, jobs: Sequence[Job]) -> bool:
        """Whether jobs that are given up are left at the backend, as the run will ask for them when it goes on."""
        entries = [self._entries.get(job.number) for job in jobs]
        if any(job.number is None for job in jobs):
            return self._resumes  # some were not asked for yet
        return self._resumes and any(entry is not None and entry.wanted for entry in entries)
