"""What a run has recorded, and which of it the program has asked for again."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Sequence
from typing import NamedTuple

from pennylane_qexec.durable.mismatch import mismatch
from pennylane_qexec.durable.written import Written, digest_of, first_number
from pennylane_qexec.errors import StoreMismatchError
from pennylane_qexec.job import Job
from pennylane_qexec.store import Run, State, Store, StoredJob
from pennylane_qexec.store.records import NewJob


class Taken(NamedTuple):
    """A job that the program asks for.

    Attributes:
        row: as it is recorded. One that was recorded just now is claimed.
        number: by which executors with a seed draw its shots.
        new: whether it was recorded just now.
    """

    row: StoredJob
    number: int
    new: bool


class Book:
    """The jobs of a run. Not to be used by two threads at once.

    Jobs are found by what they ask for: the third time that a circuit is asked for, it is the third one recorded.

    Args:
        store: where they are.
        run: the run.
        worker: who claims what is new.
        lease: for how long, in seconds.
    """

    def __init__(self, store: Store, run: Run, worker: str, lease: float) -> None:
        self._store = store
        self._run = run
        self._worker = worker
        self._lease = lease
        self._calls: Counter[str] = Counter()
        self._asked: set[int] = set()
        self._next = 0
        self._by_key: defaultdict[str, deque[StoredJob]] = defaultdict(deque)
        self.unasked: OrderedDict[int, StoredJob] = OrderedDict()
        """Jobs that the program has not asked for yet, by their place in the run."""
        self._read()

    def take(self, asked: Sequence[Written], jobs: Sequence[Job], strict: bool) -> list[Taken]:
        """Find the jobs of a call, and record those that are new.

        Args:
            asked: the jobs, as they are written.
            jobs: the jobs.
            strict: whether a new job is an error while there are others that were not asked for.

        Raises:
            ReplayMismatchError: there is such a job. None is recorded, and all can be asked for again.
        """
        while True:
            found = self._find(asked)
            try:
                rows = self._complete(found, asked, jobs, strict)
            except StoreMismatchError:  # another process records in this run, and was faster
                self._put_back(found)
                self._read()
            except BaseException:
                self._put_back(found)
                raise
            else:
                return self._taken(asked, rows)

    def sent_as(self, remote_id: str) -> list[StoredJob]:
        """All jobs that were sent in one job of a backend, in the order in which it has them."""
        rows = [row for row in self._store.jobs(self._run.id) if row.remote_id == remote_id]
        return sorted(rows, key=lambda row: row.remote_index or 0)

    def _read(self) -> None:
        """Read what is recorded and was not asked for yet."""
        self._by_key.clear()
        self.unasked.clear()
        for row in self._store.jobs(self._run.id):
            self._next = max(self._next, row.number + 1)
            if row.id not in self._asked:
                self._by_key[row.key].append(row)
                self.unasked[row.number] = row

    def _find(self, asked: Sequence[Written]) -> list[StoredJob | None]:
        found: list[StoredJob | None] = []
        for one in asked:
            rows = self._by_key.get(one.key)
            row = rows.popleft() if rows else None
            if row is not None:
                del self.unasked[row.number]
            found.append(row)
        return found

    def _complete(
        self, found: Sequence[StoredJob | None], asked: Sequence[Written], jobs: Sequence[Job], strict: bool
    ) -> list[StoredJob]:
        """What was found, and the rest recorded."""
        missing = [place for place, row in enumerate(found) if row is None]
        if missing and strict and self.unasked:
            expected = next(iter(self.unasked.values()))
            raise mismatch(self._store, self._run.name, expected, jobs[missing[0]])
        new = iter(self._record(asked, jobs, missing))
        return [next(new) if row is None else row for row in found]

    def _put_back(self, found: Sequence[StoredJob | None]) -> None:
        for row in reversed(found):
            if row is not None:
                self._by_key[row.key].appendleft(row)
                self.unasked[row.number] = row
        self.unasked = OrderedDict(sorted(self.unasked.items()))

    def _record(self, asked: Sequence[Written], jobs: Sequence[Job], missing: Sequence[int]) -> list[StoredJob]:
        if not missing:
            return []
        new = [_new(self._next + place, asked[index], jobs[index]) for place, index in enumerate(missing)]
        rows = self._store.record(self._run.id, new, self._worker, self._lease)
        self._next += len(new)
        return rows

    def _taken(self, asked: Sequence[Written], rows: Sequence[StoredJob]) -> list[Taken]:
        call = digest_of(" ".join([one.key for one in asked]))
        first = first_number(call, self._calls[call])
        self._calls[call] += 1
        taken = []
        for index, row in enumerate(rows):
            new = row.id not in self._asked and row.worker == self._worker and row.state == State.CLAIMED
            self._asked.add(row.id)
            taken.append(Taken(row, first + index, new))
        return taken


def _new(number: int, one: Written, job: Job) -> NewJob:
    executor = job.executor
    name, backend = ("", "") if executor is None else (executor.name, executor.backend)
    return NewJob(number, one.key, one.digest, one.text, name, backend, job.shots)
