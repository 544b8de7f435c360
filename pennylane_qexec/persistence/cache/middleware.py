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

from pennylane.tape import QuantumScript

from pennylane_qexec.concurrency.futures import AskedFuture, resolve
from pennylane_qexec.errors import ResultError
from pennylane_qexec.executors import DelegatingExecutor, Executor
from pennylane_qexec.job import Job, Outcome, Result, Work
from pennylane_qexec.persistence.cache.cache import Cache
from pennylane_qexec.persistence.cache.keys import ForeignError, Keys, copied
from pennylane_qexec.persistence.expansion import joined, joined_future
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
        results = {circuit: each for part, outcome in ran for circuit, each in part.results(outcome).items()}
        again = {circuit: _copy_of(*results[first]) for circuit, first in found.equal.items()}
        answered = _by_job(self._answers(jobs, found.known | again))
        of_jobs: dict[int, list[tuple[_Part, Outcome]]] = {}
        for part, outcome in ran:
            of_jobs.setdefault(part.of_job, []).append((part, outcome))
        return [_outcome(job, of_jobs.get(index, []), answered.get(index, {})) for index, job in enumerate(jobs)]

    def submit(self, jobs: Sequence[Job], asked: Callable[[], bool] | None) -> list[AskedFuture[Outcome]]:
        """A future for each job, in order; see :meth:`Engine.submit`. What is known is there at once."""
        found = self._look_up(jobs)
        parts = _parts(jobs, found.missing)
        futures: dict[int, AskedFuture[Outcome]] = {}
        if asked is None and (found.equal or not all(part.whole for part in parts)):
            asked = lambda: any(future.asked for future in list(futures.values()))  # noqa: E731
        running = self._engine.submit([part.job for part in parts], asked)
        of_jobs: dict[int, tuple[list[_Part], list[AskedFuture[Outcome]]]] = {}
        for part, future in zip(parts, running, strict=True):
            future.add_done_callback(partial(self._ended, found.keys, part))
            own = of_jobs.setdefault(part.of_job, ([], []))
            own[0].append(part)
            own[1].append(future)
        answered, equal = _by_job(self._answers(jobs, found.known)), _by_job(found.equal)
        for index, job in enumerate(jobs):
            own, again = of_jobs.get(index, ([], [])), equal.get(index, {})
            if own[0] and own[0][0].whole:
                futures[index] = own[1][0]
            elif job.sweep is None and again:
                futures[index] = AskedFuture()
                self._follow(futures[index], futures[again[0][0]], job)
            else:
                join = partial(self._join, job, own[0], again, answered.get(index, {}))
                futures[index] = joined_future(own[1], join)
        return [futures[index] for index in range(len(jobs))]

    def _join(
        self,
        job: Job,
        parts: Sequence[_Part],
        equal: Mapping[int, Circuit],
        answered: Mapping[int, Outcome],
        outcomes: Sequence[Outcome],
    ) -> Outcome:
        """The outcome of a job whose unknown rows have run now."""
        ran = list(zip(parts, outcomes, strict=True))
        results = {circuit: each for part, outcome in ran for circuit, each in part.results(outcome).items()}
        again = {(0, row): _copy_of(*results[first]) for row, first in equal.items()}
        return _outcome(job, ran, {**answered, **_by_job(self._answers([job], again)).get(0, {})})

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
        (answer,) = self._answers([job], {(0, 0): _copy_of(outcome.executor, outcome.result)}).values()
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

    def _answers(self, jobs: Sequence[Job], known: Mapping[Circuit, tuple[str, Result]]) -> dict[Circuit, Outcome]:
        if not known:
            return {}
        answered = [
            (_circuit(jobs[index], row), self._executors[name], result)
            for (index, row), (name, result) in known.items()
        ]
        return dict(zip(known, self._engine.note_answered(answered), strict=True))


def _circuit(job: Job, row: int) -> QuantumScript:
    return job.circuit if job.sweep is None else job.sweep.circuit(row)


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
        for each in runs:
            rows = [row for _, row in each]
            number = None if job.number is None else job.number + rows[0]
            found.append(_Part(replace(job, sweep=job.sweep.part(rows), number=number), each, whole=False))
    return found


def _by_job(circuits: Mapping[Circuit, T]) -> dict[int, dict[int, T]]:
    """What belongs to circuits, by their jobs, and then their rows."""
    found: dict[int, dict[int, T]] = {}
    for (index, row), value in circuits.items():
        found.setdefault(index, {})[row] = value
    return found


def _outcome(job: Job, ran: Sequence[tuple[_Part, Outcome]], answered: Mapping[int, Outcome]) -> Outcome:
    """The outcome of a job."""
    if len(ran) == 1 and not answered:
        return ran[0][1]
    if job.sweep is None:
        return answered[0]
    results = {row: outcome.result for row, outcome in answered.items()}
    for part, outcome in ran:
        results |= {row: result for (_, row), (_, result) in part.results(outcome).items()}
    outcomes = [*answered.values(), *(outcome for _, outcome in ran)]
    return joined(outcomes, [results[row] for row in range(job.rows)])


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
