"""QuantumExecutor: circuits of any framework, over the backends of many providers."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from pennylane_qexec.circuits import frameworks
from pennylane_qexec.circuits.frameworks.builder import Order
from pennylane_qexec.concurrency import isolation
from pennylane_qexec.concurrency.futures import bar
from pennylane_qexec.concurrency.lifecycle import Closeable
from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.experiment.collector import ResultCollector
from pennylane_qexec.experiment.dispatch import Dispatch, joined
from pennylane_qexec.experiment.experiment import Experiment
from pennylane_qexec.experiment.jobs import circuits_of, shots_of
from pennylane_qexec.experiment.merges import ExperimentMerge, PaperMerge
from pennylane_qexec.experiment.policies import ExperimentPolicies
from pennylane_qexec.experiment.recording import recorder_of
from pennylane_qexec.experiment.splits import CircuitRequest, PaperSplit, named_backends
from pennylane_qexec.experiment.submission import ExecutorPool, OnFailure, Settings
from pennylane_qexec.experiment.tasks import tasks_of
from pennylane_qexec.persistence.cache.cache import GivenCache, cache_of
from pennylane_qexec.persistence.store import Store
from pennylane_qexec.policies import retries
from pennylane_qexec.policies.budgets import Budget, budget_of
from pennylane_qexec.providers import Backend, VirtualProvider
from pennylane_qexec.redaction import veiled
from pennylane_qexec.redaction.display import even_incomplete


class QuantumExecutor(Closeable):
    """Runs experiments: circuits over the backends of many providers, split, dispatched, collected and merged.

    Args:
        providers_info: credentials and other options by provider, such as ``{"ionq": {"api_key": "..."}}``. Without,
            they are looked for in the system's keyring, the environment and ``.env``.
        providers: the providers to use, by name, or your own by name; default: the local ones, and those that there are
            credentials for.
        policies_folder: a folder with policies: a file ``NAME.py`` has a function ``split``, ``merge``, or both. These
            files are run, with all that this program may do: give no folder that others may write to.
        max_workers: how many worker processes each local backend uses at most, with ``multiprocess=True``; default: all
            the cores, shared out over the backends of a run.
        virtual_provider: a :class:`VirtualProvider`, in place of ``providers_info`` and ``providers``.
        bit_order: how bit strings are written. ``"native"``: as the circuit's own framework does; ``"little"``: bit 0
            last, as in Qiskit and OpenQASM, for every framework; ``"big"``: bit 0 first, as in PennyLane and Cirq.
        budget: a :class:`Budget`, or a mapping with its arguments, for all that it runs: what would pass it is refused
            before it is sent.
        cache: as that of a :class:`QCluster`: answers circuits whose results are known.

    Attributes:
        virtual_provider: the providers and their backends.
        budget: as given.
        last_collector: the collector of the last run; ``None`` before the first.

    Raises:
        ConfigurationError: an option makes no sense, or there is no such provider.
    """

    @veiled
    def __init__(
        self,
        providers_info: Mapping[str, Mapping[str, Any]] | None = None,
        providers: Iterable[str] | Mapping[str, Any] | None = None,
        policies_folder: str | Path | None = None,
        max_workers: int | None = None,
        virtual_provider: VirtualProvider | None = None,
        *,
        bit_order: Order = "native",
        budget: Budget | Mapping[str, float] | None = None,
        cache: GivenCache = None,
    ) -> None:
        if virtual_provider is not None and (providers_info is not None or providers is not None):
            raise ConfigurationError("virtual_provider= has its providers: give providers_info= and providers= to it.")
        if max_workers is not None and (not isinstance(max_workers, int) or max_workers < 1):
            raise ConfigurationError(f"max_workers={max_workers!r} must be a whole number of at least 1.")
        if bit_order not in get_args(Order):
            raise ConfigurationError(unknown("order of bits", bit_order, get_args(Order)))
        self.virtual_provider = virtual_provider or VirtualProvider(providers_info, providers)
        self._policies = ExperimentPolicies(policies_folder)
        self._executors = ExecutorPool(max_workers)
        self._order: Order = bit_order
        self.budget = budget_of(budget)
        self._cache = cache_of(cache)
        self._collectors: weakref.WeakSet[ResultCollector] = weakref.WeakSet()
        self.last_collector: ResultCollector | None = None
        isolation.install()

    def run_experiment(
        self,
        circuits: Any,
        shots: Any = None,
        backends: Any = None,
        split_policy: Any = "uniform",
        merge_policy: Any = None,
        split_data: Any = None,
        merge_data: Any = None,
        multiprocess: bool = False,
        wait: bool = True,
        progress: bool = False,
        *,
        config: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        retry: Any = None,
        on_failure: OnFailure = "refuse",
        store: str | os.PathLike[str] | Store | None = None,
        name: str | None = None,
    ) -> ResultCollector:
        """Share circuits out over backends, and run them.

        Args:
            circuits: a circuit or a list of them: PennyLane's tapes, QNodes and functions, Qiskit's, Cirq's, OpenQASM 2
                and 3, and what qBraid converts. A circuit without measurements has all its qubits counted. A tuple
                ``(circuit, values)`` of a parametrised circuit of Qiskit is a circuit for each row of values, which are
                an array ``(R, P)`` in the order of ``circuit.parameters``, or a mapping from parameters or their names
                to ``R`` values each.
            shots: a number, or a list with one for each circuit, each row of values being one; ``None`` for those that
                PennyLane's circuits have.
            backends: names by provider: ``{"local_aer": ["aer_simulator", "fake_manila"]}``; or full names:
                ``["local_aer/aer_simulator"]``; default: ``local_aer/aer_simulator``.
            split_policy: who runs a circuit with how many of its shots: ``"uniform"`` (equal shares),
                ``"multiplier"`` (all shots on every backend), ``"proportional"``, a selector such as ``"cyclic"`` (each
                circuit goes whole to one), a name that was added, or a function.
            merge_policy: what becomes of the results: ``"aggregate"``, ``"per_backend"``, ``"tvd"``, ``"hellinger"``, a
                name that was added, or a function. Default: the merge that was added under the split's name; else
                ``"aggregate"``, and ``"per_backend"`` where every backend runs all shots.
            split_data: handed to the split, if it has the paper's signature.
            merge_data: handed to the merge, such as ``{"reference": "local_aer/aer_simulator"}``.
            multiprocess: whether local simulators run in worker processes. Jobs with a seed stay in this one, so that
                their results are the same either way.
            wait: whether to return only when all jobs have ended; else at once.
            progress: whether to show a progress bar while waiting.
            config: options of every job, such as ``{"seed": 7}``, or ``{"mcm_method": "one-shot"}`` for how simulators
                of PennyLane run mid-circuit measurements; default: what suits the circuit. The first backend has the
                seed itself, and each other one a seed derived from it, so that no two draw the same shots.
            timeout: seconds that each circuit may take on its backend; ``None`` for no limit.
            retry: how often a circuit is tried on its backend: ``retries.backoff(...)``; default: 3 times.
            on_failure: what to do about jobs that failed for good. ``"refuse"``: their errors are reported, and results
                are not merged. ``"rerun"``: their shots are run by the backends that work, in equal shares; where every
                backend runs all shots, they are tried once more on their own. ``"partial"``: what is there is merged.
            store: where the run is recorded when it has ended, with what came back from each backend: a file such as
                ``"bench.db"``, ``"sqlite:///bench.db"`` or ``"postgresql+psycopg://..."``, or a store; see
                :func:`~pennylane_qexec.persistence.store.open_store`. :func:`backend_history` reads it.
            name: of the experiment, under which its runs are recorded.

        Returns:
            The collector of the results.

        Raises:
            ConfigurationError: circuits, shots, backends or options make no sense. Nothing has been sent.
            PolicyError: there is no such policy, or it returned something else than it should. Nothing has been sent.
            BudgetExceededError: the jobs would pass a budget. Nothing has been sent. With ``wait=False``, this is the
                error of all jobs.
            StoreError: the store cannot be opened, and nothing has been sent; or the run cannot be recorded, and
                :attr:`last_collector` has the results. With ``wait=False``, the collector raises this once, when it is
                first waited for, and has the results then.
            KeyboardInterrupt: Ctrl-C while waiting; what has not ended is cancelled, and :attr:`last_collector` has the
                rest.
        """
        merge = None if merge_policy is None else self._policies.merge(merge_policy)
        dispatch, given, _ = self._planned(circuits, shots, backends, split_policy, split_data, config)
        return self._run(
            dispatch,
            given,
            merge or self._policies.default_merge(split_policy, dispatch.adds_up),
            merge_data,
            many=frameworks.one_or_many(circuits)[1],
            settings=self._settings(multiprocess, timeout, retry, on_failure, dispatch.adds_up),
            wait=wait,
            progress=progress,
            record=(name, store),
        )

    def generate_dispatch(
        self,
        circuits: Any,
        shots: Any = None,
        backends: Any = None,
        split_policy: Any = "uniform",
        split_data: Any = None,
        *,
        config: Mapping[str, Any] | None = None,
    ) -> tuple[Dispatch, Any]:
        """Share circuits out over backends, and run nothing. The arguments are those of :meth:`run_experiment`.

        Returns:
            The dispatch, for :meth:`run_dispatch`, and the data that the split returned.

        Raises:
            ConfigurationError, PolicyError: see :meth:`run_experiment`.
        """
        dispatch, _, data = self._planned(circuits, shots, backends, split_policy, split_data, config)
        return dispatch, data

    def run_dispatch(
        self,
        dispatch: Dispatch | Mapping[str, Any],
        multiprocess: bool = False,
        wait: bool = True,
        progress: bool = False,
        *,
        merge_policy: Any = None,
        merge_data: Any = None,
        timeout: float | None = None,
        retry: Any = None,
        on_failure: OnFailure = "refuse",
        store: str | os.PathLike[str] | Store | None = None,
        name: str | None = None,
    ) -> ResultCollector:
        """Run a dispatch, of :meth:`generate_dispatch` or made by hand.

        Args are those of :meth:`run_experiment`. The default of ``merge_policy`` is ``"aggregate"``, or
        ``"per_backend"`` for a dispatch whose jobs do not add up to its circuits. The dispatch may also be jobs by
        backend, as :meth:`Dispatch.from_dict` takes them.

        Returns:
            The collector of the results.

        Raises:
            ConfigurationError, PolicyError, StoreError: see :meth:`run_experiment`.
        """
        if isinstance(dispatch, Mapping):
            dispatch = Dispatch.from_dict(dispatch)
        if dispatch is None:
            raise ConfigurationError(
                "dispatch=None: a collector that was loaded from a file has none if OpenQASM could not say what its "
                "circuits measure. Make the dispatch anew with generate_dispatch()."
            )
        if not isinstance(dispatch, Dispatch):
            raise ConfigurationError(
                f"{dispatch!r} is no Dispatch: make one with qexec.Dispatch(), or take the first of the two that "
                "generate_dispatch() returns."
            )
        merge = self._policies.default_merge(None, dispatch.adds_up)
        if merge_policy is not None:
            merge = self._policies.merge(merge_policy)
        circuits = len({number for job in dispatch for number in job.numbers})
        settings = self._settings(multiprocess, timeout, retry, on_failure, dispatch.adds_up)
        return self._run(
            dispatch,
            {},
            merge,
            merge_data,
            many=circuits > 1,
            settings=settings,
            wait=wait,
            progress=progress,
            record=(name, store),
        )

    def add_policy(self, name: str, split_policy: Any = None, merge_policy: Any = None) -> None:
        """Give a split, a merge or both a name. One that is not given stays as it is.

        Args:
            name: how to call them.
            split_policy: a function ``(circuit, shots, backends, virtual_provider, data) -> (Dispatch, data)``, called
                for each circuit, or ``(circuit, executors) -> [(executor, shots), ...]``; or a file with a function
                called ``split``.
            merge_policy: a function ``(results, data) -> (merged, data)``; or a file with a function called ``merge``.

        Raises:
            PolicyError: they are no such functions.
            ConfigurationError: neither is given, or there is no such file.
        """
        self._policies.add(name, split_policy, merge_policy)

    def get_split_policy(self, name: str) -> PaperSplit:
        """A split as a function ``(circuit, shots, backends, virtual_provider, data) -> (Dispatch, data)``.

        Raises:
            PolicyError: nobody knows the name.
        """
        return self._policies.split_function(name)

    def get_merge_policy(self, name: str) -> PaperMerge:
        """A merge as a function ``(results, data) -> (merged, data)``.

        Raises:
            PolicyError: nobody knows the name.
        """
        return self._policies.merge_function(name)

    @property
    def split_policies(self) -> list[str]:
        """The names of the splits."""
        return self._policies.split_names

    @property
    def merge_policies(self) -> list[str]:
        """The names of the merges."""
        return self._policies.merge_names

    def close(self) -> None:
        """Give up what has not ended. What has come back stays with its collectors."""
        for collector in list(self._collectors):
            collector.cancel()

    @even_incomplete
    def __repr__(self) -> str:
        return f"<QuantumExecutor over {self.virtual_provider!r}>"

    def _planned(
        self, circuits: Any, shots: Any, backends: Any, split: Any, data: Any, config: Mapping[str, Any] | None
    ) -> tuple[Dispatch, dict[int, frameworks.Program], Any]:
        """The dispatch of an experiment, the programs of its circuits by their identity, and the split's data."""
        if not isinstance(config, Mapping | None):
            raise ConfigurationError(f"config={config!r} must be a mapping of options, such as {{'seed': 7}}.")
        policy = self._policies.split(split)
        given = circuits_of(circuits, {})
        numbers = shots_of(shots, len(given))
        candidates = list(map(self._executors.candidate, self._backends(backends)))
        of_rows = {id(circuit): program for circuit, program in given if program is not None}
        read = dict(of_rows)
        dispatches = []
        for number, ((circuit, _), wanted) in enumerate(zip(given, numbers, strict=True)):
            program = read.get(id(circuit)) or frameworks.read(circuit)
            read[id(circuit)] = program
            own = program.shots if wanted is None else wanted
            request = CircuitRequest(circuit, program, number, own, candidates, config or {}, self.virtual_provider)
            dispatch, data = policy.shared(request, data)
            dispatches.append(dispatch)
        return joined(dispatches, of_rows), read, data

    def _run(
        self,
        dispatch: Dispatch,
        read: dict[int, frameworks.Program],
        merge: ExperimentMerge,
        data: Any,
        *,
        many: bool,
        settings: Settings,
        wait: bool,
        progress: bool,
        record: tuple[Any, Any],
    ) -> ResultCollector:
        tasks = tasks_of(dispatch, read, self.virtual_provider.get_backend, self._order)
        merge.check(list(dict.fromkeys(task.place for task in tasks)), data)
        recorder = recorder_of(*record, tasks)
        experiment = Experiment(tasks, settings, self._backends, many, None if recorder is None else recorder.record)
        refuses = settings.on_failure != "partial"
        collector = ResultCollector(experiment, dispatch, merge, self._policies.merge, data, refuses)
        self._collectors.add(collector)
        self.last_collector = collector
        if not wait:
            experiment.start(wait=False)
            return collector
        try:
            with bar(len(tasks), progress) as advance:
                collector.listen(advance)
                experiment.start(wait=True)
                collector.wait()
        except KeyboardInterrupt:
            collector.cancel()
            raise
        return collector

    def _backends(self, backends: Any) -> list[Backend]:
        return named_backends(
            "local_aer/aer_simulator" if backends is None else backends, self.virtual_provider.get_backend
        )

    def _settings(self, processes: bool, timeout: float | None, retry: Any, on_failure: Any, adds_up: bool) -> Settings:
        if on_failure not in get_args(OnFailure):
            raise ConfigurationError(unknown("way to deal with failures", on_failure, get_args(OnFailure)))
        if timeout is not None and not timeout > 0:
            raise ConfigurationError(f"timeout={timeout!r} must be a positive number of seconds, or None for no limit.")
        cluster = {"timeout": timeout, "retry": retries.of(retry), "budget": self.budget, "cache": self._cache}
        return Settings(self._executors, bool(processes), on_failure, adds_up, cluster)
