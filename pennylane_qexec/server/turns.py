"""Whose job is next: nobody waits for all jobs of somebody else."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Collection, Sequence

from pennylane_qexec.server.records import ServerJob

MOST_TOGETHER = 32
"""The most jobs that run as one."""


class Turns:
    """Chooses among jobs that wait: those of sessions first, then users in turn, then the oldest.

    It is the turn of the user with the fewest running jobs, and of these, of the one who has waited longest for a turn.
    Sessions go first every other time at least, so that one of many jobs does not keep out those who have none.
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._served: dict[str, int] = {}
        self._session_was_first = False

    def choose(
        self, waiting: Sequence[ServerJob], running: Counter[str], places: int, alone: Collection[str] = ()
    ) -> list[list[ServerJob]]:
        """Choose jobs to run next.

        Args:
            waiting: those that wait, oldest first.
            running: how many jobs of each user run.
            places: how many may begin.
            alone: ids of jobs that do not run with others.

        Returns:
            Groups of jobs that run as one: they have equal keys.
        """
        left, running = list(waiting), Counter(running)
        groups: list[list[ServerJob]] = []
        while left and len(groups) < places:
            first = self._next(left, running)
            group = [first]
            if first.key is not None and first.id not in alone:
                group += [job for job in left if job.key == first.key and job is not first and job.id not in alone]
            del group[MOST_TOGETHER:]
            chosen = {job.id for job in group}
            left = [job for job in left if job.id not in chosen]
            groups.append(group)
            for user in {job.user for job in group}:
                running[user] += 1
                self._served[user] = next(self._numbers)
        return groups

    def _next(self, waiting: Sequence[ServerJob], running: Counter[str]) -> ServerJob:
        sessions = [job for job in waiting if job.session is not None]
        among = sessions if sessions and not self._session_was_first else waiting
        first = min(among, key=lambda job: (running[job.user], self._served.get(job.user, 0)))  # the oldest of equals
        self._session_was_first = first.session is not None and len(sessions) < len(waiting)
        return first
