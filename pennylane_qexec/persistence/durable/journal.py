"""What a run has recorded, which of it the program has asked for again, and what to say where the two differ.

Recorded results are checked as those of executors are: a store may have been changed since.
"""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from itertools import accumulate, zip_longest
from typing import Any, NoReturn

import numpy as np
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.results import check_kept
from pennylane_qexec.circuits.serialization import circuit_of, circuit_text, result_of, results_of, sweep_of
from pennylane_qexec.errors import ConfigurationError, ReplayMismatchError, ResultError, StoreError, StoreMismatchError
from pennylane_qexec.job import CACHE, Job, Outcome, Result, Sweep, Usage, Work
from pennylane_qexec.persistence.durable.jobs import (
    UNRECORDED,
    RunEntry,
    SerializedJob,
    digest_of,
    first_number,
    place_of,
    what_of,
)
from pennylane_qexec.persistence.store import Run, State, Store, StoredJob
from pennylane_qexec.persistence.store.records import NewJob
from pennylane_qexec.policies.budgets import Amounts

logger = logging.getLogger("pennylane_qexec")


# Where program and record differ

_LONGEST = 120
_BEFORE = 40


def _mismatch(store: Store, name: str, recorded: StoredJob, asked: Job) -> ReplayMismatchError:
    """The error of a run whose program asks for a circuit that is not the next of those recorded."""
    text = store.circuits([recorded.circuit]).get(recorded.circuit, "")
    return ReplayMismatchError(name, recorded.number + 1, _difference(text, asked))


def _difference(text: str, asked: Job) -> str:
    recorded = _recorded(text)
    if not isinstance(recorded, Sweep) and asked.sweep is None:
        return _difference_of(recorded, asked.circuit, asked.call.method)
    rows = len(recorded) if isinstance(recorded, Sweep) else 1
    if rows != asked.rows:
        return f"circuits that are asked for together: {asked.rows} in place of {rows}"
    row = _first_difference(recorded, asked.sweep)
    one, other = [each.circuit(row) if isinstance(each, Sweep) else each for each in (recorded, asked.sweep)]
    differ = _difference_of(one, asked.circuit if other is None else other, asked.call.method)
    return f"in circuit {row + 1} of {rows} that are asked for together, {differ}"


def _recorded(text: str) -> QuantumScript | Sweep | None:
    """What was recorded; ``None`` if that cannot be read."""
    for read in (circuit_of, sweep_of):
        try:
            return read(text)
        except ConfigurationError:
            continue
    return None


def _first_difference(one: Any, other: Any) -> int:
    """The first row in which two sweeps of as many rows differ; 0 if it is not in their numbers."""
    numbers = [each.parameters if isinstance(each, Sweep) else np.empty((1, 0)) for each in (one, other)]
    if numbers[0].shape != numbers[1].shape:
        return 0
    return int(np.argmax((numbers[0] != numbers[1]).any(axis=1)))


def _difference_of(recorded: QuantumScript | None, asked: QuantumScript, method: str) -> str:
    try:
        if recorded is None:
            raise ConfigurationError("it cannot be read")
        before, now = json.loads(circuit_text(recorded)), json.loads(circuit_text(asked))
    except (ConfigurationError, ValueError):
        return f"a circuit of {len(asked.operations)} operations in place of one that cannot be shown"
    for what, singular in (("operations", "operation"), ("measurements", "measurement")):
        for index, (one, other) in enumerate(zip_longest(before[what], now[what])):
            if one != other:
                shown = _both(_part(recorded, what, index), _part(asked, what, index), one, other)
                return f"{singular} {index + 1} is {shown}{_hint(other)}"
    for what, words in (("shots", "the shots are"), ("trainable", "the trainable parameters are")):
        if before[what] != now[what]:
            return f"{words} {json.dumps(now[what])} in place of {json.dumps(before[what])}"
    return f"{method!r} is asked of it" if method != "execute" else "it is asked for once more, or of another cluster"


def _part(circuit: QuantumScript, what: str, index: int) -> Any:
    parts: Sequence[Any] = getattr(circuit, what)
    return parts[index] if index < len(parts) else None


def _both(before: Any, now: Any, form_before: Any, form_now: Any) -> str:
    """Two parts of circuits: as PennyLane shows them, if the difference is seen there."""
    texts = ["nothing" if part is None else repr(part) for part in (before, now)]
    if texts[0] == texts[1]:
        texts = [json.dumps(form) for form in (form_before, form_now)]
    start = next((place for place, pair in enumerate(zip(*texts, strict=False)) if pair[0] != pair[1]), 0)
    start = max(0, start - _BEFORE) if max(map(len, texts)) > _LONGEST else 0
    shown = [_cut(text, start) for text in texts]
    return f"{shown[1]} in place of {shown[0]}"


def _cut(text: str, start: int) -> str:
    end = start + _LONGEST
    return f"{'...' * bool(start)}{text[start:end]}{'...' * (end < len(text))}"


def _hint(form: Any) -> str:
    drawn = isinstance(form, dict) and "Shadow" in str(form.get("name", ""))
    return " (a classical shadow draws a seed of its own, unless it is given one)" if drawn else ""


# The journal

_MOST_STRUCTURES = 64
"""Structures of sweeps of which it is known what a backend runs for them."""

_NOT_SENT = (State.WAITING, State.CLAIMED, State.CANCELLED)


class Journal:
    """The jobs of a run, whichever thread asks for them.

    Jobs are found by what they ask for: the third time that a circuit is asked for, it is the third one recorded.

    Args:
        store: where they are.
        run: the run, which this thread has opened.
        worker: who claims what is new.
        lease: for how long, in seconds.

    Attributes:
        name: of the run.
        recorded: how many jobs this program has recorded.
        unasked: jobs that the program has not asked for yet, by their place in the run.
    """

    def __init__(self, store: Store, run: Run, worker: str, lease: float) -> None:
        self.name = run.name
        self._store = store
        self._run = run
        self._worker = worker
        self._lease = lease
        self._lock = threading.Lock()
        self._concurrent = run.concurrent
        self._opener = threading.get_ident()
        self._askers: dict[str, int] | None = {}  # None when it was warned of them
        self._calls: Counter[str] = Counter()
        self._asked: set[int] = set()
        self._in_vain: set[int] = set()
        self._next = 0
        self._usages: dict[Any, Usage] = {}
        self._by_key: defaultdict[str, deque[StoredJob]] = defaultdict(deque)
        self._keys: defaultdict[str, set[str]] = defaultdict(set)
        self._places: set[str] = set()
        self._moved = False
        self.recorded = 0
        self.unasked: dict[int, StoredJob] = {}
        self._read()

    def take(self, asked: Sequence[SerializedJob], jobs: Sequence[Job]) -> tuple[int, list[tuple[StoredJob, bool]]]:
        """Find the jobs of a call, and record those that are new.

        Args:
            asked: the jobs, as they are written.
            jobs: the jobs.

        Returns:
            The number of the first job, by which executors with a seed draw its shots; the others follow it. And the
            jobs as they are recorded, each with whether it was recorded, and claimed, just now.

        Raises:
            ReplayMismatchError: one of them is new, while others were not asked for yet, in a program of one thread.
                None is recorded, and all can be asked for again.
        """
        with self._lock:
            self._note_thread(asked, jobs)
            while True:
                found = self._find(asked)
                try:
                    rows = self._complete(found, asked, jobs)
                except StoreMismatchError:  # another process records in this run, and was faster
                    self._put_back(found)
                    self._read()
                except BaseException:
                    self._put_back(found)
                    raise
                else:
                    break
            call = digest_of(" ".join([what_of(one.key) for one in asked]))
            first = first_number(call, self._calls[call])
            self._calls[call] += 1
            self._asked.update(row.id for row, _ in rows)
            return first, rows

    @property
    def circuits_left(self) -> int:
        """How many circuits the program has not asked for yet."""
        return sum(row.rows for row in self.unasked.values())

    @property
    def place(self) -> int:
        """How many circuits come before the next one that the program asks for."""
        with self._lock:
            return min(self.unasked) if self.unasked else self._next

    @property
    def used(self) -> bool:
        """Whether anything was asked for."""
        return bool(self._calls)

    def usage(self) -> Amounts:
        """What the recorded circuits have used, with all attempts, and what is at backends, whose cost is not known.

        What came from the run that this one was forked from was paid there.
        """
        shots = circuits = 0
        cost = seconds = 0.0
        for job in self._store.jobs(self._run.id):
            if job.backend == CACHE or job.copied_from is not None:
                continue  # it was answered at no cost
            attempts = job.attempt - (job.state in _NOT_SENT)
            shots += attempts * job.shots
            circuits += attempts * job.circuits
            cost += job.cost
            seconds += job.seconds
        return Amounts(shots, circuits, cost, seconds)

    def knows(self, one: SerializedJob) -> bool:
        """Whether a job is recorded, and was not asked for yet."""
        with self._lock:
            return any(self._by_key.get(key) for key in (one.key, *self._keys.get(what_of(one.key), ())))

    def ask_again(self, row: StoredJob) -> None:
        """Nothing came of a job that was asked for: who asks for the same again asks for this one."""
        with self._lock:
            if row.id in self._asked:
                self._asked.discard(row.id)
                self._in_vain.add(row.id)
                self._add(row, first=True)

    def sent_as(self, executor: str, remote_id: str) -> list[StoredJob]:
        """All jobs that were sent in one job of an executor's backend, in the order in which it has them."""
        rows = [row for row in self._store.jobs(self._run.id) if (row.executor, row.remote_id) == (executor, remote_id)]
        return sorted(rows, key=lambda row: row.remote_index or 0)

    def texts(self, rows: Sequence[StoredJob]) -> dict[str, str]:
        """The circuits of jobs, as they are recorded, by their digests."""
        return self._store.circuits([row.circuit for row in rows])

    def outcome(self, entry: RunEntry) -> Outcome | None:
        """The recorded outcome of an entry that is done; ``None`` if its result could not be recorded.

        Raises:
            StoreError: what is recorded cannot be the result of its circuit.
        """
        row = entry.row
        if row.result is None:
            if row.error.startswith(UNRECORDED):
                return None
            _refuse(row, self.name, "is empty")
        return Outcome(
            _result(entry, row.result, self.name),
            row.executor,
            row.shots,
            attempt=row.attempt,
            submitted=row.submitted,
            started=row.started,
            finished=row.finished or 0.0,
            cost=row.cost,
            backend=row.backend,
            seconds=row.seconds,
            circuits=row.circuits,
        )

    def _note_thread(self, asked: Sequence[SerializedJob], jobs: Sequence[Job]) -> None:
        """Note that several threads ask: then nobody knows what the next circuit should be."""
        me = threading.get_ident()
        if me != self._opener and not self._concurrent:
            self._concurrent = True
            self._store.note_concurrent(self._run.id)
        if self._concurrent and self._askers is not None:
            sampled = (one.key for one, job in zip(asked, jobs, strict=True) if job.shots)
            if {self._askers.setdefault(key, me) for key in sampled} - {me}:
                self._askers = None
                logger.warning(
                    "several threads ask for the same circuit with shots in the durable run %r. When the program runs "
                    "again, whoever asks first gets the first result, and may go another way from there: give each "
                    "thread a durable run of its own, with a name of its own",
                    self.name,
                )

    def _read(self) -> None:
        """Read what is recorded and was not asked for yet."""
        self._by_key.clear()
        self.unasked.clear()
        for row in self._store.jobs(self._run.id):
            self._next = max(self._next, row.number + row.rows)
            if row.id not in self._asked:
                self._add(row)

    def _add(self, row: StoredJob, first: bool = False) -> None:
        """Let a job be found."""
        rows = self._by_key[row.key]
        rows.insert(0 if first else len(rows), row)
        self._keys[what_of(row.key)].add(row.key)
        if row.id not in self._in_vain:
            self.unasked[row.number] = row

    def _find(self, asked: Sequence[SerializedJob]) -> list[StoredJob | None]:
        self._places |= {place_of(one.key) for one in asked}
        found: list[StoredJob | None] = []
        for one in asked:
            rows = self._by_key.get(one.key) or self._elsewhere(one.key)
            row = rows.popleft() if rows else None
            if row is not None:
                self.unasked.pop(row.number, None)
            found.append(row)
        return found

    def _elsewhere(self, key: str) -> deque[StoredJob] | None:
        """Jobs that ask for the same of a cluster that the program does not have any more, the first of them first."""
        keys = [other for other in self._keys[what_of(key)] if place_of(other) not in self._places]
        waiting = [rows for other in keys if (rows := self._by_key[other])]
        if waiting and not self._moved:
            self._moved = True
            logger.warning(
                "the durable run %r was recorded with other executors than the cluster has now: what they had done is "
                "not run again. If that is not meant, give the run another name",
                self.name,
            )
        return min(waiting, key=lambda rows: rows[0].number, default=None)

    def _complete(
        self, found: Sequence[StoredJob | None], asked: Sequence[SerializedJob], jobs: Sequence[Job]
    ) -> list[tuple[StoredJob, bool]]:
        """What was found, and the rest recorded; and whether each was recorded just now, and is ours."""
        missing = [place for place, row in enumerate(found) if row is None]
        if missing and self.unasked and not self._concurrent:
            expected = self.unasked[min(self.unasked)]
            raise _mismatch(self._store, self.name, expected, jobs[missing[0]])
        places = accumulate((jobs[index].rows for index in missing), initial=self._next)
        new = [_new(next(places), asked[index], jobs[index], self._usage(jobs[index])) for index in missing]
        recorded = iter(self._store.record(self._run.id, new, self._worker, self._lease) if new else [])
        self._next = next(places)
        self.recorded += len(new)
        return [(row, False) if row is not None else self._mine(next(recorded)) for row in found]

    def _usage(self, job: Job) -> Usage:
        """What the backend runs for one circuit of a job: the same for all sweeps of one structure."""
        if job.executor is None:
            return Usage(1, job.circuit.shots.total_shots or 0)
        if job.sweep is None or not job.call.bound:
            return job.executor.usage_of(job.circuit, job.call)  # type: ignore[no-any-return]
        known = job.executor, job.sweep.key
        if known not in self._usages:
            if len(self._usages) >= _MOST_STRUCTURES:
                self._usages.clear()
            self._usages[known] = job.executor.usage_of(job.circuit, job.call)
        return self._usages[known]

    def _mine(self, row: StoredJob) -> tuple[StoredJob, bool]:
        return row, row.worker == self._worker and row.state == State.CLAIMED

    def _put_back(self, found: Sequence[StoredJob | None]) -> None:
        for row in reversed(found):
            if row is not None:
                self._add(row, first=True)


def _new(number: int, one: SerializedJob, job: Job, usage: Usage) -> NewJob:
    executor = job.executor
    name, backend = ("", "") if executor is None else (executor.name, executor.backend)
    shots, circuits = usage.shots * job.rows, usage.circuits * job.rows
    return NewJob(number, one.key, one.digest, one.text, name, backend, shots=shots, circuits=circuits, rows=job.rows)


# Recorded results


def _result(entry: RunEntry, text: str, run: str) -> Result:
    """A result, as the executor that is recorded with it may return it."""
    job, executor = entry.job, entry.call.engine.executor(entry.row.executor)
    work = Work.of([job])
    try:
        if job.sweep is None:
            result = result_of(text)
            results = [result]
        else:
            result = results = results_of(text)
            work = work.by_template()
        if len(results) != len(work.circuits):
            _refuse(entry.row, run, f"has {len(results)} parts in place of {len(work.circuits)}")
        if executor is None:
            check_kept(work, work.circuits, results)
        else:
            executor.check_kept(work, results)
    except ConfigurationError as error:
        _refuse(entry.row, run, f"cannot be read: {error}", error)
    except ResultError as error:
        _refuse(entry.row, run, f"is not that of {error.what}: {error.difference}", error)
    return result


def _refuse(row: StoredJob, run: str, why: str, error: Exception | None = None) -> NoReturn:
    raise StoreError(
        f"the 'result' of circuit {row.number + 1} of the durable run {run!r} in the store {why.rstrip('.')}. Somebody "
        "has changed the database, or it is damaged. Restore it from a backup, or begin a run with another name."
    ) from error
