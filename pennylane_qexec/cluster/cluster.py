"""QCluster: executors, policies and an engine as one; and the checks of what users give it."""

from __future__ import annotations

import itertools
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor as Pool
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

from pennylane_qexec.cluster import nested
from pennylane_qexec.cluster.derivatives import Derivatives
from pennylane_qexec.cluster.estimates import Estimate, estimate
from pennylane_qexec.cluster.nested import Nestable, with_clusters_wrapped
from pennylane_qexec.cluster.planning import Choosing, Dispatcher, Preview
from pennylane_qexec.concurrency import context, isolation
from pennylane_qexec.engine import KEPT_ROWS, AskedFuture, Engine, History, lasting_objection, prepares_late
from pennylane_qexec.errors import ConfigurationError, NoExecutorError, PolicyError, checked_seed, unknown
from pennylane_qexec.executors import are_equivalent, refuse_split, seeds
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.options import Parallel
from pennylane_qexec.executors.pennylane.seeds import of_parts
from pennylane_qexec.executors.specs import executors as make_executors
from pennylane_qexec.job import Job, Outcome, Result, Share, Usage, used_by
from pennylane_qexec.persistence import durable
from pennylane_qexec.persistence.cache.cache import GivenCache, cache_of
from pennylane_qexec.persistence.cache.middleware import Answering
from pennylane_qexec.persistence.store.base import check_portable
from pennylane_qexec.policies import Policies, hedges, merges, retries, splits
from pennylane_qexec.policies.base import Weighted
from pennylane_qexec.policies.budgets import Budget, budget_of
from pennylane_qexec.policies.merges import Merge
from pennylane_qexec.policies.registry import Kind
from pennylane_qexec.redaction import veiled
from pennylane_qexec.redaction.display import even_incomplete


def description(circuit: QuantumScript) -> str:
    """A circuit, as errors speak of it."""
    shots = circuit.shots.total_shots
    return f"this circuit of {len(circuit.wires)} wires ({'analytic' if shots is None else f'{shots} shots'})"


def check_options(timeout: Any, batch_window: Any, failover: Any, history_limit: Any) -> None:
    """Refuse options of a cluster that make no sense."""
    if timeout is not None and not (_is_number(timeout) and timeout > 0):
        raise ConfigurationError(f"timeout={timeout!r} must be a number of seconds above 0, or None for no limit.")
    if not (_is_number(batch_window) and batch_window >= 0):
        raise ConfigurationError(f"batch_window={batch_window!r} must be a number of seconds, at least 0.")
    if not isinstance(failover, bool):
        raise ConfigurationError(f"failover={failover!r} must be True or False.")
    whole = isinstance(history_limit, int) and not isinstance(history_limit, bool) and history_limit >= 0
    if history_limit is not None and not whole:
        raise ConfigurationError(
            f"history_limit={history_limit!r} must be a whole number of jobs, at least 0, or None to keep all."
        )


def refuse_both(selector: Any, split: Any) -> None:
    """Refuse a selector beside a split."""
    if selector is not None and split is not None:
        raise ConfigurationError(
            f"selector={selector!r} sends circuits whole, split={split!r} cuts them up: give one of the two."
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def check_names(executors: Sequence[Executor], policy: Any) -> None:
    """Refuse weights for executors that the cluster does not have."""
    known = [executor.name for executor in executors]
    for name in policy.weights.by_name if isinstance(policy, Weighted) else ():
        if name not in known:
            raise PolicyError(unknown("executor of this cluster", name, known))


def check_repeatable(split: Any) -> None:
    """Refuse a split that would share out the same shots otherwise the next time."""
    if split is splits.proportional:
        raise ConfigurationError(
            "split='proportional' shares shots out by the speed that was measured, which is another one every time: a "
            "durable run could not be repeated. Use 'uniform', or splits.weighted({...})."
        )


_NO_CIRCUITS = (
    "{!r} is no list of circuits: give a list of QuantumScripts, which qml.tape.make_qscript(function)(...) and "
    "qml.workflow.construct_tape(qnode)(...) make."
)


def check_circuits(circuits: Any) -> None:
    """Refuse what is no list of circuits."""
    if not isinstance(circuits, Iterable):
        raise ConfigurationError(_NO_CIRCUITS.format(circuits))
    for circuit in (circuits,) if isinstance(circuits, QuantumScript) else circuits:
        if circuit is circuits or not isinstance(circuit, QuantumScript):
            raise ConfigurationError(_NO_CIRCUITS.format(circuit))


def mixed(executors: Sequence[Executor]) -> str:
    """What to say where a policy chooses among executors whose results differ."""
    names = ", ".join(repr(executor.name) for executor in executors)
    return (
        f"the executors of this cluster ({names}) give results that differ by more than chance, by their noise for "
        "instance, and its selector takes one for this call and another for the next. Circuits that differ in nothing "
        "but parameters, as those of a gradient, stay together. To decide who runs what, give selector= a function "
        "(circuit, executors) -> executor; to share the shots of every circuit out in the same way, give split=; or "
        "make a cluster for each kind."
    )


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
        history_limit: how many jobs ``history`` keeps a row of; of more, the oldest are dropped, which it says, and
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
        self._choosing = Choosing(None)
        self.merge: Merge = merges.pooled
        refuse_both(selector, split)
        self.executors: list[Executor] = make_executors(with_clusters_wrapped(executors, self), wires)
        self._settle_seeds()
        self._numbers = itertools.count()
        self._given: dict[Kind, Any] = {"selector": None, "split": None, "merge": merge}
        self.use(selector=_DEFAULT if selector is None else selector, merge=merge)
        self.use(split=split)
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
        self._answering = (
            None
            if self.cache is None
            else Answering(self.cache, self._engine, self.executors, shared=self.cache is cache)
        )
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
        with self._choosing.lock.held():
            if selector is not None:
                self._choosing = replace(self._choosing, selector=chosen_selector, split=None)
                self._given |= {"selector": selector, "split": None}
            if split is not None:
                self._choosing = replace(self._choosing, split=chosen_split)
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
    def fails_over(self) -> bool:
        """Whether a circuit that an executor cannot do goes to another one."""
        return bool(self._options["failover"])

    @property
    def binds_late(self) -> bool:
        """Whether circuits wait for whoever is free first, and are prepared only then."""
        return self._choice.binds_late

    @property
    def splits(self) -> bool:
        """Whether the shots of circuits are shared out."""
        return self._choice.split is not None

    def candidates(self, circuit: QuantumScript, refusals: dict[Executor, str]) -> list[Executor]:
        """The executors that can run a circuit now, in the cluster's order.

        In a durable run, those that can run it at all: who is down at the moment would be another matter the next time.

        Args:
            circuit: the circuit.
            refusals: executors that are known not to be able to, with the reason.

        Raises:
            NoExecutorError: there is none; says why, executor by executor.
        """
        reasons = {}
        able = []
        objection = self._engine.objection if durable.current() is None else lasting_objection
        for executor in self.executors:
            reason = refusals.get(executor) or objection(executor, circuit)
            if reason is None:
                able.append(executor)
            else:
                reasons[executor.name] = reason
        if not able:
            raise NoExecutorError(description(circuit), reasons)
        return able

    def select(self, circuit: QuantumScript, candidates: Sequence[Executor]) -> Executor:
        """Ask the selector who is to run a circuit.

        Raises:
            PolicyError: it returned something that is not one of the candidates.
        """
        return self._choice.select(circuit, candidates)

    def shares(self, circuit: QuantumScript, candidates: Sequence[Executor]) -> list[Share]:
        """Ask the policy who is to run a circuit, and with how many shots.

        Returns:
            Shares with at least one shot, which add up to the circuit's. An analytic circuit, or one that a selector
            sends whole, has one share with all the shots (0 if analytic).

        Raises:
            PolicyError: the policy returned something else.
        """
        return self._choice.shares(circuit, candidates)

    @property
    def _recorded_by(self) -> durable.DurableRun | None:
        """What records the circuits that are asked for now."""
        run = durable.current()
        return run if run is not None or context.recorded() else self._records

    @property
    def _choice(self) -> Choosing:
        """The policies as they stand; a durable run has its own, which begin anew whenever its program does."""
        run = durable.current()
        return self._choosing if run is None else run.choosing(self._choosing, self._choose_anew)

    def _choose_anew(self, seed: int) -> Choosing:
        policies = self.policies.anew(np.random.default_rng(seed if self._seed is None else self._seed))
        selector, split = self._given["selector"], self._given["split"]
        chosen = None if split is None else policies.resolve("split", split)
        check_repeatable(chosen)
        return Choosing(policies.resolve("selector", _DEFAULT if selector is None else selector), chosen)

    def keeps_sweeps(self, circuit: QuantumScript, candidates: Sequence[Executor]) -> bool:
        """Whether a circuit has to go where those go that differ from it in numbers only.

        The first time that executors are chosen among whose results differ, a warning says so.
        """
        if self._equivalent:
            return False
        choice = self._choice
        if not choice.keeps_sweeps(circuit):
            return False
        if not self._warned and not choice.is_split(circuit) and not are_equivalent(candidates):
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
        # What a durable run records, and by which numbers a seed draws, follows from what is prepared here.
        alike = self._seed is not None or durable.current() is not None
        return prepares_late(executor, circuit, later, alike)

    def submit(self, jobs: Sequence[Job], asked: Callable[[], bool] | None = None) -> list[AskedFuture[Outcome]]:
        """Let jobs run; returns a future for each at once. A program does not end before what it submitted has.

        Args:
            jobs: the jobs.
            asked: says whether somebody waits for them: then a batch does not wait for its window to be over if its
                executor is idle and nothing else comes. Default: whether somebody waits for the futures returned.

        Raises:
            BudgetExceededError: the jobs would pass a budget.
        """
        jobs = self._numbered(jobs)
        run, runner = self._recorded_by, self._answering or self._engine
        return runner.submit(jobs, asked) if run is None else run.submit(runner, self._engine, jobs, asked)

    def run(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Let jobs run, and wait for their outcomes, in order.

        Raises:
            ExecutorError: a job failed wherever it was tried.
            JobTimeoutError: a job took longer than the cluster's timeout.
            JobCancelledError: the cluster was closed meanwhile.
            BudgetExceededError: the jobs would pass a budget, or a further attempt at one would.
        """
        jobs = self._numbered(jobs)
        run, runner = self._recorded_by, self._answering or self._engine
        outcomes = runner.run(jobs) if run is None else run.run(runner, self._engine, jobs)
        if not context.depth():  # what runs inside of a batch is part of that batch's circuits
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
        dispatcher = Dispatcher(self, Derivatives(self.executors).follow(config or ExecutionConfig(), circuits))
        expanded = [dispatcher(circuit) for circuit in circuits]
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
        seeds.settle(self.executors, self._seed)

    def _numbered(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """The jobs with numbers, if there is a seed: their shots follow from these, wherever and whenever they run."""
        if self._seed is None:
            return jobs
        return [job if job.number is not None else replace(job, number=next(self._numbers)) for job in jobs]

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
        return estimate(Preview(self, self._choice.copy(self.executors)), circuits)

    def close(self) -> None:
        """Cancel what has not ended, and let go of threads and worker processes. Closing again does nothing."""
        self._engine.close()
        if self._answering is not None:
            self._answering.close()
        if self._records is not None and self._forgotten.detach():
            durable.close(self._records)

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
