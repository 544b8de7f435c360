"""The cache as middleware: jobs whose results are known, or are being computed, do not get to the engine."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar

from pennylane_qexec.concurrency.futures import AskedFuture, resolve
from pennylane_qexec.errors import ResultError
from pennylane_qexec.executors import DelegatingExecutor, Executor
from pennylane_qexec.job import Job, Outcome, Result, Work
from pennylane_qexec.persistence.cache.cache import Cache
from pennylane_qexec.persistence.cache.keys import ForeignError, Keys, copied
from pennylane_qexec.persistence.expansion import joined_future
from pennylane_qexec.persistence.runners import BaseRunner

T = TypeVar("T")
logger = logging.getLogger("pennylane_qexec")


Circuit = tuple[int, int]
"""One of those that are asked for together: the index of its job, and its row in the sweep; 0 if there is none."""


class _Found(NamedTuple):
    """What is known of circuits that are asked for together.

    Attributes:
        keys: of each, by the names of executors.
        known: those whose results are known, with the name of the executor and the result.
        missing: those that have to be run.
        equal: those that are equal to one that has to be run.
    """

    keys: dict[Circuit, dict[str, str]]
    known: dict[Circuit, tuple[str, Result]]
    missing: list[Circuit]
    equal: dict[Circuit, Circuit]


class _Part(NamedTuple):
    """What has to be run of a job: itself, or some of the rows of its sweep.

    Attributes:
        job: what is run.
        circuits: its circuits.
        whole: whether it is all of the job.
    """

    job: Job
    circuits: list[Circuit]
    whole: bool = True

    @property
    def of_job(self) -> int:
        """The index of the job of which it is a part."""
        return self.circuits[0][0]

    def results(self, outcome: Outcome) -> dict[Circuit, tuple[str, Result]]:
        """The name of the executor that has run it, and the result, for each circuit."""
        results = [outcome.result] if self.job.sweep is None else outcome.result
        return {circuit: (outcome.executor, result) for circuit, result in zip(self.circuits, results, strict=True)}


class CachedRunner:
    """A cache in front of a cluster's engine.

    Args:
        cache: the cache.
        engine: the engine.
        executors: the cluster's executors.
        shared: whether others may use the cache too.
    """

    def __init__(self, cache: Cache, engine: BaseRunner, executors: Sequence[Executor], shared: bool) -> None:
        cache.open()
        self._cache = cache
        self._shared = shared
        self._engine = engine
        self._executors = {executor.name: executor for executor in executors}
        self._identities = {one: text for one in executors if (text := one.identity) is not None}
        _warn_of([one for one in executors if one not in self._identities and not isinstance(one, DelegatingExecutor)])

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """The outcomes of jobs, in order; see :meth:`Engine.run`."""
        found = self._look_up(jobs)
        parts = _parts(jobs, found.missing)
        ran = list(zip(parts, self._engine.run([part.job for part in parts]), strict=True))
        self._keep(found.keys, ran)
        again = _copies(found.equal, ran)
        pairs = _by_job([*self._answers(jobs, found.known | again), *ran])
        return [_outcome(pairs[index]) for index in range(len(jobs))]

    def submit(self, jobs: Sequence[Job], asked: Callable[[], bool] | None) -> list[AskedFuture[Outcome]]:
        """A future for each job, in order; see :meth:`Engine.submit`. What is known is there at once."""
        found = self._look_up(jobs)
        parts = _parts(jobs, found.missing)
        futures: dict[int, AskedFuture[Outcome]] = {}
        if asked is None and (found.equal or not all(part.whole for part in parts)):
            asked = lambda: any(future.asked for future in list(futures.values()))  # noqa: E731
        running = self._engine.submit([part.job for part in parts], asked)
        for part, future in zip(parts, running, strict=True):
            future.add_done_callback(partial(self._ended, found.keys, part))
        of_jobs, answered = _by_job(zip(parts, running, strict=True)), _by_job(self._answers(jobs, found.known))
        equal: dict[int, dict[Circuit, Circuit]] = {}
        for circuit, first in found.equal.items():
            equal.setdefault(circuit[0], {})[circuit] = first
        for index, job in enumerate(jobs):
            own, again = of_jobs.get(index, []), equal.get(index, {})
            if own and own[0][0].whole:
                futures[index] = own[0][1]
            elif job.sweep is None and again:
                futures[index] = AskedFuture()
                self._follow(futures[index], futures[again[index, 0][0]], job)
            else:
                join = partial(self._join, jobs, index, [part for part, _ in own], again, answered.get(index, []))
                futures[index] = joined_future([future for _, future in own], join)
        return [futures[index] for index in range(len(jobs))]

    def _join(
        self,
        jobs: Sequence[Job],
        index: int,
        parts: Sequence[_Part],
        equal: Mapping[Circuit, Circuit],
        answered: Sequence[tuple[_Part, Outcome]],
        outcomes: Sequence[Outcome],
    ) -> Outcome:
        """The outcome of a job whose unknown rows have run now."""
        ran = list(zip(parts, outcomes, strict=True))
        return _outcome([*answered, *self._answers(jobs, _copies(equal, ran)), *ran])

    def _follow(self, future: AskedFuture[Outcome], first: AskedFuture[Outcome], job: Job) -> None:
        """Let the future of a job come to its end with that of an equal job; if that is cancelled, run the job."""

        def ended(done: Future[Outcome]) -> None:
            if not done.cancelled():
                error = done.exception()
                resolve(future, self._again(job, done.result()) if error is None else error)
            elif not future.cancelled():
                try:
                    (other,) = self.submit([job], lambda: future.asked)
                except Exception as error:  # closed meanwhile, or beyond a budget
                    resolve(future, error)
                    return
                future.add_done_callback(lambda given_up: given_up.cancelled() and other.cancel())
                self._follow(future, other, job)

        first.add_done_callback(ended)

    def _again(self, job: Job, outcome: Outcome) -> Outcome:
        """The outcome of a job that is equal to one that has run."""
        ((_, answer),) = self._answers([job], {(0, 0): _copy_of(outcome.executor, outcome.result)})
        return answer

    def close(self) -> None:
        """Wait until what is kept is in the store, and close the cache if it is the cluster's own."""
        if self._shared:
            self._cache.flush()
        else:
            self._cache.close()

    def _look_up(self, jobs: Sequence[Job]) -> _Found:
        keys = Keys(self._identities, self._cache.shots)
        found = _Found({}, {}, [], {})
        for index, job in enumerate(jobs):
            found.keys.update(((index, row), named) for row, named in enumerate(keys.of_rows(job)))
        owners = {key: (name, jobs[index]) for (index, _), named in found.keys.items() for name, key in named.items()}
        values = self._cache.get(list(owners), partial(self._may_be, owners)) if owners else {}
        first: dict[tuple[Any, ...], Circuit] = {}
        for circuit, named in found.keys.items():
            name = next((name for name, key in named.items() if key in values), None)
            # A sweep waits for no other one.
            alike = tuple(named.values()), None if jobs[circuit[0]].sweep is None else circuit[0]
            if name is not None:
                found.known[circuit] = (name, copied(values[named[name]]))
            elif alike in first:
                found.equal[circuit] = first[alike]
            else:
                found.missing.append(circuit)
                if named:
                    first[alike] = circuit
        return found

    def _may_be(self, owners: Mapping[str, tuple[str, Job]], key: str, value: Any) -> bool:
        """Whether a cached value can be what the executor of its key returned for its circuit."""
        name, job = owners[key]
        try:
            self._executors[name].check_kept(Work.of([replace(job, sweep=None)]), [value])
        except ResultError as error:
            logger.warning(
                "the 'result' under %r in the cache %s is not that of %s on %r, and its circuit runs again: %s",
                key,
                self._cache.url,
                error.what,
                name,
                error.difference,
            )
            return False
        return True

    def _keep(self, keys: Mapping[Circuit, Mapping[str, str]], ended: Iterable[tuple[_Part, Outcome]]) -> None:
        """Keep results under the key of the executor that ran them; there is none if that is another one than asked."""
        items: list[tuple[str, Result]] = []
        for part, outcome in ended:
            for circuit, (executor, result) in part.results(outcome).items():
                if (key := keys[circuit].get(executor)) is not None:
                    with suppress(ForeignError):
                        items.append((key, copied(result)))
        if items:
            self._cache.put(items)

    def _ended(self, keys: Mapping[Circuit, Mapping[str, str]], part: _Part, future: Future[Outcome]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._keep(keys, [(part, future.result())])

    def _answers(self, jobs: Sequence[Job], known: Mapping[Circuit, tuple[str, Result]]) -> list[tuple[_Part, Outcome]]:
        """What is known: of a job, or of some of its rows whose results are those of one executor."""
        of_executors: dict[tuple[int, str], list[Circuit]] = {}
        for circuit in sorted(known):
            of_executors.setdefault((circuit[0], known[circuit][0]), []).append(circuit)
        parts, answered = [], []
        for (index, name), circuits in of_executors.items():
            part = _Part(_job_of(jobs[index], circuits), circuits)
            results = [known[circuit][1] for circuit in circuits]
            parts.append(part)
            answered.append((part.job, self._executors[name], results[0] if part.job.sweep is None else results))
        return list(zip(parts, self._engine.note_answered(answered), strict=True)) if parts else []


def _parts(jobs: Sequence[Job], missing: Sequence[Circuit]) -> list[_Part]:
    """What has to be run. In a durable run, the numbers of the rows of a sweep are in a row."""
    found = []
    for index, circuits in groupby(missing, itemgetter(0)):
        job, own = jobs[index], list(circuits)
        if job.sweep is None or len(own) == job.rows:
            found.append(_Part(job, own))
            continue
        runs = [own]
        if job.number is not None:
            runs = [[one for _, one in each] for _, each in groupby(enumerate(own), lambda one: one[1][1] - one[0])]
        found += [_Part(_job_of(job, each), each, whole=False) for each in runs]
    return found


def _job_of(job: Job, circuits: Sequence[Circuit]) -> Job:
    """The part of a job that some of its circuits are."""
    if job.sweep is None or len(circuits) == job.rows:
        return job
    rows = [row for _, row in circuits]
    number = None if job.number is None else job.number + rows[0]
    return replace(job, sweep=job.sweep.part(rows), number=number)


def _by_job(pairs: Iterable[tuple[_Part, T]]) -> dict[int, list[tuple[_Part, T]]]:
    """What belongs to parts of jobs, by their jobs."""
    found: dict[int, list[tuple[_Part, T]]] = {}
    for pair in pairs:
        found.setdefault(pair[0].of_job, []).append(pair)
    return found


def _outcome(parts: Sequence[tuple[_Part, Outcome]]) -> Outcome:
    """The outcome of a job, of those of its parts; that of the last says who ran it."""
    if len(parts) == 1:
        return parts[0][1]
    results = {circuit: result for part, outcome in parts for circuit, (_, result) in part.results(outcome).items()}
    return Outcome.of_parts([outcome for _, outcome in parts], [results[circuit] for circuit in sorted(results)])


def _copies(
    equal: Mapping[Circuit, Circuit], ran: Sequence[tuple[_Part, Outcome]]
) -> dict[Circuit, tuple[str, Result]]:
    """Copies of results that have come, for circuits that are equal to theirs."""
    if not equal:
        return {}
    results = {circuit: each for part, outcome in ran for circuit, each in part.results(outcome).items()}
    return {circuit: _copy_of(*results[first]) for circuit, first in equal.items()}


def _copy_of(executor: str, result: Result) -> tuple[str, Result]:
    """The name of the executor that has run a circuit, and a copy of the result, which another caller may change."""
    try:
        return executor, copied(result)
    except ForeignError:
        return executor, copy.deepcopy(result)


def _warn_of(executors: Sequence[Any]) -> None:
    if executors:
        names = ", ".join(repr(executor.name) for executor in executors)
        warnings.warn(
            f"results of {names} are not cached: it is not known on what they depend. Give devices by name with plain "
            "options, and executors of your own an identity.",
            UserWarning,
            stacklevel=4,
        )
