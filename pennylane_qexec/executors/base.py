"""Executors: what runs a batch of circuits on one backend."""

from __future__ import annotations

import concurrent.futures
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cached_property
from typing import Any

from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.circuits.measurement_bases import Runs, simulated
from pennylane_qexec.circuits.results import check_work
from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.executors.load import LoadMeter
from pennylane_qexec.executors.options import PARALLEL, Parallel
from pennylane_qexec.executors.shots import OwnShots, all_reshot, reshot, reshot_sweep
from pennylane_qexec.job import Bound, Call, Cost, Load, Result, Status, Sweep, Usage, Work, cost_of, for_device, only
from pennylane_qexec.redaction import has_secret, scrub
from pennylane_qexec.redaction.display import even_incomplete

Binder = Callable[[QuantumScript], Bound]

IDEAL = "ideal"
"""The :attr:`Executor.equivalence` of simulators without noise."""


class Executor(ABC):
    """Runs batches of circuits on one backend. Subclass it for a backend that answers while one waits.

    An executor keeps nothing of a call: two threads may use one executor.

    Shots are independent: those of two calls, of two circuits, of what does not commute in one circuit, and of two
    executors or copies in worker processes, which must not have the state of one random generator in common.

    With a seed, it may draw shots from one stream after another. But circuits of a durable run, and of a cluster with a
    seed, have numbers, and then the shots of each must follow from the seed and the circuit's number alone: not from
    what ran before or beside it, in whatever thread, worker process or copy, so that a program which is taken up again
    goes on as if it had not been interrupted. An executor that draws its shots itself has :meth:`perform` for that,
    which is given the numbers, and :attr:`streams` and :meth:`reseed`.

    Args:
        name: how it is called in policies, tables and errors; default: its class's name. In a cluster, the second of
            the same name gets ``#2`` appended.
        workers: how many batches it runs at the same time; default: 1, or in processes one for each core.
        parallel: where its batches run. ``"thread"``: in threads of this process. ``"process"``: in warm worker
            processes; the executor is sent there once, and must be picklable. A
            :class:`concurrent.futures.Executor`: there. ``"auto"``: local simulators run small batches in the
            calling thread and heavy ones in worker processes; everything else runs in threads.
        max_circuits: the most circuits in one batch.
        max_shots: the most shots in one batch, added up over its circuits as the backend runs them (:meth:`usage`). A
            single circuit with more is refused.
        batch_window: seconds that a batch which is not full waits for more circuits.
        cost: what the backend charges: a :class:`Cost`, or a mapping with its arguments.

    Attributes:
        shots: 0 to run circuits with their own shots, as most executors do. A subclass may set a number of shots, or
            ``None`` for analytic results, which then go before those of the circuit.
        wires: the wires that the backend was given, in order; ``None`` if it takes whatever wires a circuit has.

    Raises:
        ConfigurationError: an option makes no sense.
    """

    name: str = "Executor"
    shots: OwnShots = 0
    wires: Wires | None = None
    workers: int | None = None
    parallel: Parallel = "auto"
    max_circuits: int | None = None
    max_shots: int | None = None
    batch_window: float = 0.0
    cost: Cost = Cost()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.name = cls.__name__

    @cached_property
    def meter(self) -> LoadMeter:
        """What waits for this executor, and how fast it has been; kept up by the engine."""
        return LoadMeter()

    def __init__(
        self,
        name: str | None = None,
        *,
        workers: int | None = None,
        parallel: Parallel = "auto",
        max_circuits: int | None = None,
        max_shots: int | None = None,
        batch_window: float = 0.0,
        cost: Cost | Mapping[str, float] | None = None,
    ) -> None:
        _check_counts(workers=workers, max_circuits=max_circuits, max_shots=max_shots)
        if batch_window < 0:
            raise ConfigurationError(f"batch_window={batch_window!r} is negative: it is a number of seconds.")
        if not isinstance(parallel, concurrent.futures.Executor) and parallel not in PARALLEL:
            hint = "A concurrent.futures.Executor will do too."
            raise ConfigurationError(unknown("way to run in parallel", parallel, PARALLEL, hint))
        if name and has_secret(name):
            raise ConfigurationError(
                f"the name of the executor, {scrub(name)!r}, has a secret in it, and names are stored and shown: give "
                "another."
            )
        self.name = name or type(self).__name__
        self.workers = workers
        self.parallel = parallel
        self.max_circuits = max_circuits
        self.max_shots = max_shots
        self.batch_window = batch_window
        self.cost = cost_of(cost)

    @abstractmethod
    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        """Run circuits, and wait for the results.

        Args:
            circuits: at least one circuit, each with its own shots and measurements.

        Returns:
            For each circuit, in order, what ``qml.execute`` would return for it.
        """

    def run_sweep(self, sweep: Sweep) -> Sequence[Result]:
        """Run circuits that differ in numbers only, and wait for the results.

        A backend that prepares or compiles circuits gives it, to do so once for all rows; here, they are run as any
        other circuits.

        Args:
            sweep: at least one row.

        Returns:
            For each row, in order, what ``qml.execute`` would return for its circuit.
        """
        return self.run(sweep.circuits())

    def status(self) -> Status:
        """What the backend says of itself; asked before circuits are sent, so it should answer at once."""
        return Status()

    def rejects(self, circuit: QuantumScript) -> str | None:
        """Why this circuit cannot run here, as the end of a sentence that begins with the executor's name.

        Returns:
            The reason, such as ``"has 5 qubits"``; ``None`` if nothing speaks against it.
        """
        return None

    @property
    def backend(self) -> str:
        """The backend's name, for tables."""
        return self.name

    @property
    def members(self) -> Sequence[Executor]:
        """The executors that it hands circuits on to, if it is a cluster; else none."""
        return ()

    @property
    def local(self) -> bool:
        """Whether running means computing in this process, rather than waiting for somebody else."""
        return False

    @property
    def mixed(self) -> bool:
        """Whether its states are density matrices, of ``4**n`` numbers."""
        return False

    @property
    def dynamic(self) -> bool:
        """Whether it runs circuits of Qiskit's that PennyLane cannot say; see ``circuits.mid_circuit``."""
        return False

    @property
    def shareable(self) -> bool:
        """Whether worker processes can have copies of it that are as good as the executor itself."""
        return False

    @property
    def by_structure(self) -> bool:
        """Whether what it says of circuits, and how it prepares them, depends on nothing but their structure.

        Then it is asked once for circuits that differ in numbers only, for as long as its cluster is open.
        """
        return False

    @property
    def takes_sweeps(self) -> bool:
        """Whether it is given circuits that differ in numbers only as one sweep.

        It is then asked about one circuit in place of all: what :meth:`rejects` and :meth:`usage` say must not depend
        on numbers of gates. Here: whether it goes by structure, or gives :meth:`run_sweep` or :meth:`perform_sweeps`.
        """
        kind = type(self)
        own = (kind.run_sweep, kind.perform_sweeps) != (Executor.run_sweep, Executor.perform_sweeps)
        return self.by_structure or own

    @property
    def identity(self) -> str | None:
        """What its results depend on besides the circuit: a :class:`Cache` knows them by this text.

        An executor of your own has ``None``, as here, and is not cached. To have it cached, return a text with
        everything that makes a difference, the same in every process: backend, options, noise, seed, versions.
        """
        return None

    @property
    def equivalence(self) -> Hashable:
        """What executors have in common whose results are the same in distribution.

        The built-in policies of a cluster share the rows of one sweep, such as the circuits of a gradient, out to
        executors for which this is equal, and keep them together on one executor otherwise.

        Simulators without noise have :data:`IDEAL`. An executor of your own is, as here, equivalent to those of its
        class with the same :attr:`identity`, or, where that is ``None``, the same :attr:`backend`. If it has the seed
        in its identity, return a value without the seed.
        """
        return type(self), self.identity or self.backend

    def repeats(self, circuit: QuantumScript) -> bool:
        """Whether one result of a circuit is as good as another: it is exact, or follows from a seed.

        Args:
            circuit: a circuit with the shots that it has here. Only without shots, unless a subclass says more.
        """
        return not circuit.shots

    @property
    def has_seed(self) -> bool:
        """Whether it was given a seed; then a cluster's ``seed`` changes nothing here."""
        return bool(self.streams)

    @property
    def streams(self) -> frozenset[Hashable]:
        """What its shots are drawn from, as far as it follows from a seed; of no seed: nothing.

        Two executors of a cluster that have one in common would draw equal shots, so the second is given another seed.
        Here: none, since an executor of your own has no seed, as far as anybody knows. One that has returns it.
        """
        return frozenset()

    def reseed(self, seed: int) -> None:  # noqa: B027
        """Draw by this seed from now on. Called by a cluster, before the first circuit.

        Nothing happens here, and wherever chance takes no seed, as at a QPU.

        Args:
            seed: at least 0, below ``2**31``.
        """

    def effort(self, circuits: Sequence[QuantumScript]) -> float:
        """How much computing a batch is, in amplitude updates; 0 where nothing is computed here."""
        return 0.0

    def place(self, circuit: QuantumScript, call: Call) -> str:
        """The name of the backend that ran a circuit of a call, for tables."""
        return self.backend

    def charges(self, circuit: QuantumScript, call: Call) -> Cost:
        """What the backend charges for a circuit of a call that it ran."""
        return self.cost

    def usage(self, circuit: QuantumScript) -> Usage:
        """What the backend bills for a circuit; asked before and after it runs, and nothing is run for it.

        Estimates, budgets, histories, costs and trackers count by it. Here: a circuit for each basis in which the
        circuit is measured, each with all of its shots, at the executor's ``cost``. Give it for a backend that runs
        something else, and return :meth:`billed`.

        Args:
            circuit: a circuit with its own shots.
        """
        return self.billed(simulated(self.with_shots(circuit)))

    def usage_of(self, circuit: QuantumScript, call: Call) -> Usage:
        """The same for a circuit of a call, which may be bound; only executors that prepare circuits need more."""
        return self.usage(circuit)

    def most_shots(self, circuit: QuantumScript) -> int:
        """The shots of a circuit that have to run together, for ``max_shots``."""
        return self.usage(circuit).shots

    def billed(self, runs: Runs, price: Cost | None = None) -> Usage:
        """What it costs to run one circuit, and how long it takes, by the speed of the executor until now.

        Args:
            runs: how many circuits the backend runs for it, and their shots, all together.
            price: what it charges; default: the executor's ``cost``.
        """
        circuits, shots = runs
        price = self.cost if price is None else price
        _, circuits_per_second, shots_per_second = self.meter.seen
        if not circuits_per_second:
            return Usage(circuits, shots, None if price.per_second else price.of(circuits, shots, 0.0))
        seconds = max(1 / circuits_per_second, shots / shots_per_second if shots_per_second else 0.0)
        return Usage(circuits, shots, price.of(circuits, shots, seconds), seconds)

    def ran_nothing(self, error: BaseException) -> bool:
        """Whether an error means that no circuit of its batch ran, so that none is to be paid for.

        A :class:`Budget` then gets back what was reserved for the attempt. Otherwise, as here, the attempt counts.

        Args:
            error: what running a batch raised.
        """
        return False

    def with_shots(self, circuit: QuantumScript) -> QuantumScript:
        """The circuit with the shots that it has here: its own, unless the executor has ``shots`` of its own.

        Raises:
            ConfigurationError: the executor has, and the circuit has a shot vector.
        """
        return reshot(circuit, self)

    def load(self) -> Load:
        """What waits for this executor now, and how fast it has been."""
        return self.meter.seen

    def binder(self, config: ExecutionConfig, circuit: QuantumScript) -> Binder:
        """What makes circuits ready for this backend. A backend that takes circuits as they are changes nothing.

        Args:
            config: the execution configuration that the user's call asks for.
            circuit: a circuit of the call; the binder is used for circuits that, as this one, have shots or not, and
                mid-circuit measurements or not.
        """
        settings = for_device(config)
        return lambda circuit: Bound((circuit,), settings, only)

    def supports(self, config: ExecutionConfig, circuit: QuantumScript | None) -> bool:
        """Whether the backend itself differentiates circuits by the configuration's method."""
        return False

    def best_derivative(self, config: ExecutionConfig, circuit: QuantumScript | None) -> str | None:
        """The method by which the backend itself would differentiate circuits, if it is left to choose.

        Args:
            config: the execution configuration of the call.
            circuit: a circuit without shots; ``None`` if it is not known yet.

        Returns:
            One of PennyLane's ``"adjoint"``, ``"backprop"`` and ``"device"``; ``None`` if it would not.
        """
        return None

    def perform_counted(self, work: Work) -> tuple[Sequence[Result], Sequence[Usage]]:
        """Carry out a batch, and say what each circuit or sweep has used, where only that shows it; else nothing."""
        return (self.perform_sweeps(work) if work.sweeps else self.perform(work)), ()

    def perform(self, work: Work) -> Sequence[Result]:
        """Carry out a batch. Subclasses give :meth:`run`; only those that offer derivatives, or have a seed, need more.

        Args:
            work: the circuits, what is asked of them, and in a durable run their numbers.
        """
        if work.call.method != "execute":
            raise ConfigurationError(f"executor {self.name!r} offers no device derivatives ({work.call.method}).")
        return self.run(tuple([self.with_shots(circuit) for circuit in work.circuits]))

    def perform_sweeps(self, work: Work) -> Sequence[Sequence[Result]]:
        """Carry out a batch of sweeps, as :meth:`perform` does one of circuits. Few subclasses need more.

        Args:
            work: the sweeps, what is asked of them, and in a durable run the number of the first row of each.

        Returns:
            For each sweep, the results of its rows.
        """
        kind = type(self)
        as_asked = work.call.method == "execute" and (not work.call.bound or kind.binder is Executor.binder)
        if kind.run_sweep is not Executor.run_sweep and as_asked:
            return [self.run_sweep(reshot_sweep(sweep, self)) for sweep in work.sweeps]
        return work.by_sweep(self.perform(work.expanded()))

    def check_results(self, work: Work, results: Sequence[Result]) -> None:
        """Refuse what cannot be the results of a batch; called with whatever the executor returned.

        Args:
            work: the batch.
            results: one result for each circuit.

        Raises:
            ResultError: with what came, and what was expected.
        """
        check_work(work, all_reshot(work.circuits, self), results)

    def check_kept(self, work: Work, results: Sequence[Result]) -> None:
        """Refuse what cannot be the results of a batch, of those that were kept where others may have changed them.

        Args:
            work: the batch.
            results: one result for each circuit, from a store or a cache.

        Raises:
            ResultError: with what was kept, and what was expected.
        """
        self.check_results(work, results)

    def become_replica(self, number: int) -> None:  # noqa: B027
        """Called once on the copy in worker process ``number``; copies with a seed draw from streams of their own."""

    def close(self) -> None:  # noqa: B027
        """Let go of whatever the executor holds. Called when its cluster closes."""

    @even_incomplete
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("meter", "parallel")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, parallel="auto")


def _check_counts(**counts: int | None) -> None:
    for option, count in counts.items():
        if count is not None and (not isinstance(count, int) or count < 1):
            raise ConfigurationError(f"{option}={count!r} must be a whole number of at least 1, or None for no limit.")


def status_of_members(members: Sequence[Executor]) -> Status:
    """That of an executor that hands circuits on: online while a member is, with the wait of who would start first."""
    online = [status for member in members if (status := member.status()).online]
    none = Status(online=False)
    return min(online, default=none, key=lambda status: (status.expected_wait, status.queue_length))


class DelegatingExecutor(Executor):
    """An executor that shares a batch out itself, so that it is best given everything at once.

    What comes back was checked where it was run, and may be whatever a merge has made of it.
    """

    def check_results(self, work: Work, results: Sequence[Any]) -> None:
        """Nothing is checked again."""
