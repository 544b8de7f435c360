"""The cache as middleware: jobs whose results are known, or are being computed, do not get to the engine."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from typing import Any, NamedTuple

from pennylane_qexec.concurrency.futures import AskedFuture, resolve
from pennylane_qexec.errors import ResultError
from pennylane_qexec.executors import DelegatingExecutor, Executor
from pennylane_qexec.job import Job, Outcome, Result, Work
from pennylane_qexec.persistence.cache.cache import Cache
from pennylane_qexec.persistence.cache.keys import ForeignError, Keys, copied
from pennylane_qexec.persistence.expansion import has_sweeps, run_by_rows, submit_by_rows
from pennylane_qexec.persistence.runners import BaseRunner

logger = logging.getLogger("pennylane_qexec")


class _Found(NamedTuple):
    """What is known of jobs that are asked for together, by their indices.

    Attributes:
        keys: of each job, by the names of executors.
        known: the jobs whose results are known, with the name of the executor and the result.
        missing: those that have to be run.
        equal: those that are equal to one that has to be run, with the index of that.
    """

    keys: list[dict[str, str]]
    known: dict[int, tuple[str, Result]]
    missing: list[int]
    equal: dict[int, int]


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
        if has_sweeps(jobs):
            return run_by_rows(self.run, jobs)
        found = self._look_up(jobs)
        outcomes = dict(zip(found.missing, self._engine.run([jobs[index] for index in found.missing]), strict=True))
        self._keep((found.keys[index], outcome) for index, outcome in outcomes.items())
        again = {index: _copy_of(outcomes[first]) for index, first in found.equal.items()}
        outcomes |= self._answers(jobs, found.known | again)
        return [outcomes[index] for index in range(len(jobs))]

    def submit(self, jobs: Sequence[Job], asked: Callable[[], bool] | None) -> list[AskedFuture[Outcome]]:
        """A future for each job, in order; see :meth:`Engine.submit`. What is known is there at once."""
        if has_sweeps(jobs):
            return submit_by_rows(self.submit, jobs, asked)
        found = self._look_up(jobs)
        futures: dict[int, AskedFuture[Outcome]] = {index: AskedFuture() for index in found.equal}
        if futures and asked is None:
            asked = lambda: any(future.asked for future in list(futures.values()))  # noqa: E731
        running = self._engine.submit([jobs[index] for index in found.missing], asked)
        for index, future in zip(found.missing, running, strict=True):
            futures[index] = future
            future.add_done_callback(partial(self._ended, found.keys[index]))
        for index, first in found.equal.items():
            self._follow(futures[index], futures[first], jobs[index])
        for index, outcome in self._answers(jobs, found.known).items():
            futures[index] = AskedFuture()
            resolve(futures[index], outcome)
        return [futures[index] for index in range(len(jobs))]

    def _follow(self, future: AskedFuture[Outcome], first: AskedFuture[Outcome], job: Job) -> None:
        """Let the future of a job come to its end with that of an equal job; if that is cancelled, run the job."""

        def ended(done: Future[Outcome]) -> None:
            if not done.cancelled():
                error = done.exception()
                resolve(future, self._answers([job], {0: _copy_of(done.result())})[0] if error is None else error)
            elif not future.cancelled():
                try:
                    (other,) = self.submit([job], lambda: future.asked)
                except Exception as error:  # closed meanwhile, or beyond a budget
                    resolve(future, error)
                    return
                future.add_done_callback(lambda given_up: given_up.cancelled() and other.cancel())
                self._follow(future, other, job)

        first.add_done_callback(ended)

    def close(self) -> None:
        """Wait until what is kept is in the store, and close the cache if it is the cluster's own."""
        if self._shared:
            self._cache.flush()
        else:
            self._cache.close()

    def _look_up(self, jobs: Sequence[Job]) -> _Found:
        keys = Keys(self._identities, self._cache.shots)
        found = _Found([keys.of(job) for job in jobs], {}, [], {})
        wanted = list(dict.fromkeys([key for named in found.keys for key in named.values()]))
        values = self._cache.get(wanted, partial(self._may_be, found.keys, jobs)) if wanted else {}
        first: dict[tuple[str, ...], int] = {}
        for index, named in enumerate(found.keys):
            name = next((name for name, key in named.items() if key in values), None)
            alike = tuple(named.values())
            if name is not None:
                found.known[index] = (name, copied(values[named[name]]))
            elif alike in first:
                found.equal[index] = first[alike]
            else:
                found.missing.append(index)
                if alike:
                    first[alike] = index
        return found

    def _may_be(self, keys: Sequence[Mapping[str, str]], jobs: Sequence[Job], key: str, value: Any) -> bool:
        """Whether a cached value can be what the executor of its key returned for its circuit."""
        of_key = [(name, job) for named, job in zip(keys, jobs, strict=True) for name in named if named[name] == key]
        name, job = of_key[0]
        try:
            self._executors[name].check_kept(Work.of([job]), [value])
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

    def _keep(self, ended: Iterable[tuple[Mapping[str, str], Outcome]]) -> None:
        """Keep results under the key of the executor that ran them; there is none if that is another one than asked."""
        items: list[tuple[str, Result]] = []
        for named, outcome in ended:
            if (key := named.get(outcome.executor)) is not None:
                try:
                    items.append((key, copied(outcome.result)))
                except ForeignError:
                    continue
        if items:
            self._cache.put(items)

    def _ended(self, named: Mapping[str, str], future: Future[Outcome]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._keep([(named, future.result())])

    def _answers(self, jobs: Sequence[Job], known: Mapping[int, tuple[str, Result]]) -> dict[int, Outcome]:
        if not known:
            return {}
        answered = [(jobs[index].circuit, self._executors[name], result) for index, (name, result) in known.items()]
        return dict(zip(known, self._engine.note_answered(answered), strict=True))


def _copy_of(outcome: Outcome) -> tuple[str, Result]:
    """The name of the executor that has run a circuit, and a copy of the result, which another caller may change."""
    try:
        return outcome.executor, copied(outcome.result)
    except ForeignError:
        return outcome.executor, copy.deepcopy(outcome.result)


def _warn_of(executors: Sequence[Any]) -> None:
    if executors:
        names = ", ".join(repr(executor.name) for executor in executors)
        warnings.warn(
            f"results of {names} are not cached: it is not known on what they depend. Give devices by name with plain "
            "options, and executors of your own an identity.",
            UserWarning,
            stacklevel=4,
        )
