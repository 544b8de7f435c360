"""QCluster: executors, policies and an engine as one; and the checks of what users give it."""

from __future__ import annotations

import threading
import warnings
import weakref
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import Executor as Pool
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.evolutions import with_matrices
from pennylane_qexec.cluster import nested
from pennylane_qexec.cluster.derivatives import Derivatives
from pennylane_qexec.cluster.estimates import Estimate, estimate
from pennylane_qexec.cluster.nested import Nestable, with_clusters_wrapped
from pennylane_qexec.cluster.planning import CallPlanner, Settings
from pennylane_qexec.cluster.selection import Selection
from pennylane_qexec.cluster.validation import (
    check_circuits,
    check_names,
    check_options,
    check_repeatable,
    description,
    mixed,
    refuse_both,
)
from pennylane_qexec.concurrency import context, isolation
from pennylane_qexec.concurrency.differentiation import is_plain
from pennylane_qexec.engine import KEPT_ROWS, AskedFuture, Engine, History, prepares_late, process_pool
from pennylane_qexec.errors import NoExecutorError, checked_seed
from pennylane_qexec.executors import Executor, are_equivalent, identity, refuse_split
from pennylane_qexec.executors import executors as make_executors
from pennylane_qexec.executors.options import Parallel
from pennylane_qexec.executors.pennylane.seeds import of_parts
from pennylane_qexec.executors.validation import lasting_objection
from pennylane_qexec.job import Job, Outcome, Result, Share, Usage, used_by
from pennylane_qexec.persistence import durable
from pennylane_qexec.persistence.cache.cache import GivenCache, cache_of
from pennylane_qexec.persistence.cache.middleware import CachedRunner
from pennylane_qexec.persistence.store.base import check_portable
from pennylane_qexec.policies import Policies, hedges, merges, retries
from pennylane_qexec.policies.budgets import Budget, budget_of
from pennylane_qexec.policies.merges import Merge
from pennylane_qexec.policies.registry import Kind
from pennylane_qexec.redaction import veiled
from pennylane_qexec.redaction.display import even_incomplete

_DEFAULT = "cyclic"


class QCluster(Nestable):
    """Several executors as one.

    Args:
        executors: executors or specs of them (see :func:`executor`), at least one. A cluster may be one too: it runs
            its part of the circuits by its own policies, and stays open when this one is closed.
        selector: who runs a circuit, whole: ``"cyclic"`` (the default), ``"random"``, ``"least_loaded"``,
            ``selectors.weighted({...})``, a name registered, or a function ``(circuit, executors) -> executor``.
        split: how a circuit's shots are shared out: ``"uniform"``, ``"multiplier"``, ``"proportional"``,
            ``splits.weighted({...})``, a name registered, or a function ``(circuit, executors) -> [(executor, shots),
            ...]``. Analytic circuits are not split.
        merge: how shares become one result: ``"pooled"``, a name registered, or a function ``(circuit, outcomes) ->
            result``.
        retry: how often a circuit is tried on one executor: ``retries.backoff(...)``, or a mapping with its arguments.
        failover: whether a circuit that an executor cannot do goes to another one.
        hedge: when a circuit that runs for long is given to a second executor too, whose result counts if it is there
            first: a number of seconds, ``hedges.after(...)``, or a mapping with its arguments; ``None`` for never.
        timeout: seconds until a circuit has a result, waiting and retries included; ``None`` for no limit.
        batch_window: seconds that a batch which is not full waits for more circuits.
        budget: a :class:`Budget`, or a mapping with its arguments: what would pass it is refused before it is sent.
        cache: ``True`` to answer circuits whose results are known from earlier calls and programs: exact ones, and
            those of executors with a seed; ``"shots"`` for all others too; a file or URL in place of the user's own
            cache; or a :class:`Cache`, or a mapping with its arguments.
        store: where to record every circuit, its result, and under which id it is at a backend: a file, a URL or a
            store, see :func:`~pennylane_qexec.persistence.store.open_store`. To go on after a crash, use
            :func:`durable_run`.
        seed: makes results repeatable. Policies and retries draw from it, and executors without a seed get one derived
            from it, and from their place. Circuits are numbered in the order in which they are asked for, and draw
            their shots by these numbers, in whatever thread, worker process or batch they run. Of executors with equal
            seeds, with or without this one, the second gets one derived from it.
        wires: the wires of devices that are built here and are not given wires of their own.
        history_limit: how many circuits ``history`` keeps a row of; of more, the oldest are dropped, which it says, and
            its ``totals`` go on counting them. ``None`` to keep all.

    Raises:
        ConfigurationError: no executors, options that do not go together, or a wrong one.
        PolicyError: nobody knows a policy's name.
    """

    @veiled
    def __init__(
        self,
        executors: Any,
        *,
        selector: Any = None,
        split: Any = None,
        merge: Any = "pooled",
        retry: retries.Backoff | Mapping[str, float] | None = None,
        failover: bool = True,
        hedge: hedges.Hedge | Mapping[str, float] | float | None = None,
        timeout: float | None = None,
        batch_window: float = 0.0,
        budget: Budget | Mapping[str, float] | None = None,
        cache: GivenCache = None,
        store: Any = None,
        seed: int | None = None,
        wires: Any = None,
        history_limit: int | None = KEPT_ROWS,
    ) -> None:
        check_options(timeout, batch_window, failover, history_limit)
        self._seed = checked_seed(seed)
        rng = np.random.default_rng(self._seed)
        self.budget = budget_of(budget)
        self.cache = cache_of(cache)
        self.policies = Policies(rng)
        self._selection = Selection(None)
        self.merge: Merge = merges.pooled
        refuse_both(selector, split)
        self.executors: list[Executor] = make_executors(with_clusters_wrapped(executors, self), wires)
        self._settle_seeds()
        self._next_number = 0
        self._numbering = threading.Lock()
        self._given: dict[Kind, Any] = {"selector": None, "split": None, "merge": merge}
        self.use(selector=_DEFAULT if selector is None else selector, merge=merge)
        self.use(split=split)
        self.fails_over = failover
        self._options = {
            "retry": retry,
            "failover": failover,
            "hedge": hedge,
            "timeout": timeout,
            "batch_window": batch_window,
            "budget": self.budget,
            "cache": self.cache,
            "store": store,
            "seed": seed,
            "history_limit": history_limit,
        }
        self._token = nested.new_token(self)
        self._engine = Engine(
            self.executors,
            retry=retries.of(retry),
            failover=failover,
            timeout=timeout,
            batch_window=batch_window,
            rng=rng.spawn(1)[0],
            budget=self.budget,
            hedge=hedges.of(hedge),
            history_limit=history_limit,
        )
        self._runner: Engine | CachedRunner = self._engine
        if self.cache is not None:
            self._runner = CachedRunner(self.cache, self._engine, self.executors, shared=self.cache is cache)
        self._records = None if store is None else durable.records(store)
        if self._records is not None:
            self._forgotten = weakref.finalize(self, durable.close_behind, self._records)
        self._warned = False
        isolation.install()

    def use(self, *, selector: Any = None, split: Any = None, merge: Any = None) -> None:
        """Choose other policies, from the next circuit on; for instance some registered since the cluster opened.

        Args:
            selector: who runs a circuit, whole. Ends splitting.
            split: how a circuit's shots are shared out.
            merge: how shares become one result.

        Raises:
            ConfigurationError: both a selector and a split.
            PolicyError: nobody knows a policy's name, or it names executors that the cluster does not have.
        """
        refuse_both(selector, split)
        chosen_selector = None if selector is None else self.policies.resolve("selector", selector)
        chosen_split = None if split is None else self.policies.resolve("split", split)
        chosen_merge = self.merge if merge is None else self.policies.resolve("merge", merge)
        for policy in (chosen_selector, chosen_split):
            check_names(self.executors, policy)
        if split is not None:
            refuse_split(self.executors, split)
        with self._selection.lock.held():
            if selector is not None:
                self._selection = replace(self._selection, selector=chosen_selector, split=None)
                self._given |= {"selector": selector, "split": None}
            if split is not None:
                self._selection = replace(self._selection, split=chosen_split)
                self._given |= {"selector": None, "split": split}
            if merge is not None:
                self._given["merge"] = merge
            self.merge = chosen_merge

    @property
    def history(self) -> History:
        """What ran, in one row for each job that ended."""
        return self._engine.history

    @property
    def closed(self) -> bool:
        """Whether it runs no more circuits."""
        return self._engine.closed

    @property
    def splits(self) -> bool:
        """Whether the shots of circuits are shared out."""
        return self._selection.split is not None

    @property
    def selection(self) -> Selection:
        """The policies as they stand; a durable run has its own, which begin anew whenever its program does."""
        run = durable.current()
        return self._selection if run is None else run.policies(self._selection, self._select_anew)

    def _select_anew(self, seed: int) -> Selection:
        policies = self.policies.anew(np.random.default_rng(seed if self._seed is None else self._seed))
        selector, split = self._given["selector"], self._given["split"]
        chosen = None if split is None else policies.resolve("split", split)
        check_repeatable(chosen)
        return Selection(policies.resolve("selector", _DEFAULT if selector is None else selector), chosen)

    def candidates(
        self, circuit: QuantumScript, refusals: Mapping[Executor, Exception], fitting: Container[Executor] = ()
    ) -> list[Executor]:
        """The executors that can run a circuit now, in the cluster's order.

        In a durable run, those that can run it at all: who is down at the moment would be another matter the next time.

        Args:
            circuit: the circuit.
            refusals: executors that have turned out not to be able to, with what they raised.
            fitting: executors that are known to take it when they are up.

        Raises:
            NoExecutorError: there is none; says why, executor by executor.
        """
        lasting = durable.current() is not None
        able = []
        reasons: dict[str, str] = {}
        for executor in self.executors:
            refused = refusals.get(executor)
            reason = None if refused is None else f"refuses it ({type(refused).__name__}: {refused})"
            if reason is None and not lasting:
                reason = self._engine.down(executor)
            if reason is None and executor not in fitting:
                reason = lasting_objection(executor, circuit)
            if reason is None and not lasting and not executor.status().online:
                reason = "is offline"
            if reason is None:
                able.append(executor)
            else:
                reasons[executor.name] = reason
        if not able:
            cause = next(reversed(list(refusals.values())), None)
            raise NoExecutorError(description(circuit), reasons, cause if len(reasons) == 1 else None) from cause
        return able

    def select(self, circuit: QuantumScript, candidates: Sequence[Executor]) -> Executor:
        """Ask the selector who is to run a circuit.

        Raises:
            PolicyError: it returned something that is not one of the candidates.
        """
        return self.selection.select(circuit, candidates)

    def shares(self, circuit: QuantumScript, candidates: Sequence[Executor]) -> list[Share]:
        """Ask the policy who is to run a circuit, and with how many shots.

        Returns:
            Shares with at least one shot, which add up to the circuit's. An analytic circuit, or one that a selector
            sends whole, has one share with all the shots (0 if analytic).

        Raises:
            PolicyError: the policy returned something else.
        """
        return self.selection.shares(circuit, candidates)

    def keeps_sweeps(self, circuit: QuantumScript, candidates: Sequence[Executor]) -> bool:
        """Whether a circuit has to go where those go that differ from it in numbers only.

        The first time that executors are chosen among whose results differ, a warning says so.
        """
        if self._equivalent:
            return False
        selection = self.selection
        if not selection.keeps_sweeps(circuit):
            return False
        if not self._warned and not selection.is_split(circuit) and not are_equivalent(candidates):
            self._warned = True
            warnings.warn(mixed(self.executors), UserWarning, stacklevel=2)
        return True

    @cached_property
    def _equivalent(self) -> bool:
        return are_equivalent(self.executors)

    def prepares_late(self, executor: Executor, circuit: QuantumScript, later: bool) -> bool:
        """Whether a circuit will run in another process, where it is better prepared too.

        Args:
            executor: who is to run it.
            circuit: the circuit.
            later: whether nobody waits for it.
        """
        if executor.parallel == "auto":
            pool = process_pool.shared_pool
            # What a durable run records, and by which numbers a seed draws, follows from it.
            if not (pool.hands and pool.warm) or self._seed is not None or durable.current() is not None:
                return False
        return prepares_late(executor, circuit, later)

    def submit(self, jobs: Sequence[Job], asked: Callable[[], bool] | None = None) -> list[AskedFuture[Outcome]]:
        """Let jobs run; returns a future for each at once. A program does not end before what it submitted has.

        Args:
            jobs: the jobs.
            asked: says whether somebody waits for them: then a batch does not wait for its window to be over if its
                executor is idle and nothing else comes. Default: whether somebody waits for the futures returned.

        Raises:
            BudgetExceededError: the jobs would pass a budget.
        """
        jobs = self.numbered(jobs)
        run = durable.current() if self._records is None else self._recorded_by
        return self._runner.submit(jobs, asked) if run is None else run.submit(self._runner, self._engine, jobs, asked)

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Let jobs run, and wait for their outcomes, in order.

        Raises:
            ExecutorError: a job failed wherever it was tried.
            JobTimeoutError: a job took longer than the cluster's timeout.
            JobCancelledError: the cluster was closed meanwhile.
            BudgetExceededError: the jobs would pass a budget, or a further attempt at one would.
        """
        jobs = self.numbered(jobs)
        run = durable.current() if self._records is None else self._recorded_by
        outcomes = self._runner.run(jobs) if run is None else run.run(self._runner, self._engine, jobs)
        context.note(outcomes)
        return outcomes

    def execute(self, circuits: Sequence[QuantumScript], config: ExecutionConfig | None = None) -> list[Result]:
        """Run circuits by the cluster's policies.

        Args:
            circuits: circuits with their own shots.
            config: the execution configuration asked for; default: PennyLane's.

        Returns:
            For each circuit what ``qml.execute`` on one device with all the shots would return.
        """
        return self.execute_counted(circuits, config)[0]

    def execute_counted(
        self,
        circuits: Sequence[QuantumScript],
        config: ExecutionConfig | None = None,
        numbers: Sequence[int] = (),
    ) -> tuple[list[Result], list[Usage]]:
        """Run circuits as :meth:`execute` does; returns their results, and what each has used.

        Args:
            circuits: the circuits.
            config: as there.
            numbers: those by which executors with a seed draw the circuits' shots, if they have any.
        """
        check_circuits(circuits)
        config = Derivatives(self.executors).follow(config or ExecutionConfig(), circuits)
        dispatcher = CallPlanner(self, Settings(config))
        expanded = [dispatcher(circuit if is_plain(circuit) else with_matrices(circuit)) for circuit in circuits]
        jobs = [dispatcher.job(one) for batch, _ in expanded for one in batch]
        if numbers:
            given = of_parts(numbers, [len(batch) for batch, _ in expanded])
            jobs = [replace(job, number=number) for job, number in zip(jobs, given, strict=True)]
        remaining = iter(self.run(jobs))
        results, usages = [], []
        for batch, postprocess in expanded:
            outcomes = [next(remaining) for _ in batch]
            results.append(postprocess([outcome.result for outcome in outcomes]))
            usages.append(used_by(outcomes))
        return results, usages

    def _settle_seeds(self) -> None:
        """Have no two executors draw the same shots."""
        identity.settle(self.executors, self._seed)

    @property
    def _recorded_by(self) -> durable.OpenRun | None:
        """What records the circuits that are asked for now."""
        run = durable.current()
        return run if run is not None or context.current().recorded else self._records

    def numbered(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """The jobs with numbers, if there is a seed: their shots follow from these, wherever and whenever they run."""
        if self._seed is None:
            return jobs
        with self._numbering:  # the rows of a sweep have numbers in a row
            new = [job.rows if job.number is None else 0 for job in jobs]
            *numbers, self._next_number = accumulate(new, initial=self._next_number)
        pairs = zip(jobs, numbers, strict=True)
        return [replace(job, number=number) if job.number is None else job for job, number in pairs]

    def estimate(self, circuits: Sequence[QuantumScript]) -> Estimate:
        """What circuits are going to use, by the policies as they stand; runs, reserves and changes nothing.

        The policies are asked as copies, so that those with a memory, such as ``"cyclic"``, do not go on. A function
        given as a policy is asked itself.

        Args:
            circuits: circuits with their own shots. Those of a QNode are made by
                ``qml.workflow.construct_tape(qnode)(...)``, with its gradients by ``qml.gradients.param_shift(tape)``.

        Returns:
            Circuits, shots, cost and running time, together and by executor, without retries.

        Raises:
            NoExecutorError: no executor can run one of the circuits.
        """
        check_circuits(circuits)
        return estimate(self, self.selection.copy(self.executors), circuits)

    def close(self) -> None:
        """Cancel what has not ended, and let go of threads and worker processes. Closing again does nothing."""
        self._engine.close()
        if self._runner is not self._engine:
            self._runner.close()
        if self._records is not None and self._forgotten.detach():
            self._records.close(finished=True)

    def __reduce__(self) -> tuple[Any, ...]:
        check_portable(self._options["store"])
        policies: dict[str, Any] = {kind: self.policies.portable(kind, policy) for kind, policy in self._given.items()}
        parallel = ["auto" if isinstance(one.parallel, Pool) else one.parallel for one in self.executors]
        return _reopened, (self._token, self.executors, parallel, {**self._options, **policies})

    @even_incomplete
    def __repr__(self) -> str:
        return f"<QCluster of {', '.join(repr(executor.name) for executor in self.executors)}>"


def _reopened(token: str, executors: list[Executor], parallel: list[Parallel], options: dict[str, Any]) -> QCluster:
    """A cluster that comes from another process, with its policies as they were before the first circuit."""

    def build() -> QCluster:
        for executor, way in zip(executors, parallel, strict=True):
            executor.parallel = way
        cluster = QCluster(executors, **options)
        cluster._token = token
        return cluster

    return nested.arrived(token, build)  # type: ignore[no-any-return]
