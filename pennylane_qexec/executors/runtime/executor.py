"""Qiskit Runtime as an executor: IBM's quantum computers, and what simulates them on this machine."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.circuits.measurement_bases import Runs, counted, together
from pennylane_qexec.errors import ConfigurationError, JobCancelledError, JobFailedError
from pennylane_qexec.executors.base import Binder
from pennylane_qexec.executors.identity import identity_of
from pennylane_qexec.executors.pennylane.preparation import Prepared
from pennylane_qexec.executors.queued import QueuedExecutor
from pennylane_qexec.executors.remote import Flights, ids_of
from pennylane_qexec.executors.runtime.account import Account
from pennylane_qexec.executors.runtime.jobs import Flight, found
from pennylane_qexec.executors.runtime.machines import machine
from pennylane_qexec.executors.runtime.options import Primitive, checked
from pennylane_qexec.executors.runtime.plans import can_estimate, estimated_together
from pennylane_qexec.executors.runtime.sessions import Mode, ModeName
from pennylane_qexec.executors.validation import objection_to_counting, objection_to_wires
from pennylane_qexec.job import Call, Cost, JobState, Result, Status, Usage, Work

if TYPE_CHECKING:
    from pennylane_qexec.executors.runtime.plans import Plan, Planner

_BY_NUMBERS = 0x6E756D62
"""What the seeds of jobs whose circuits have numbers have in place of the replica."""

_AS_ASKED = Call()
_LOCAL_POLLS = (0.002, 0.05)
_REMOTE_POLLS = (0.5, 10.0)
_PACKAGES = ("qiskit", "qiskit-aer", "qiskit-ibm-runtime")


class RuntimeExecutor(QueuedExecutor):
    """Runs circuits by the primitives of Qiskit Runtime: at IBM, or in local mode on this machine.

    A batch is one job. Circuits that differ only in their parameters, such as those of a gradient, are sent as one
    circuit with a matrix of parameters, which is fitted to the machine once, and kept. Every circuit is run with
    exactly its own shots.

    Nothing is sent, and no account is looked up, before the first job.

    Args:
        backend: the name of a machine, such as ``"ibm_torino"``; ``"least_busy"`` for the machine with the shortest
            queue when the first job is sent; a fake backend such as ``"fake_manila"``, or ``"aer"`` for a simulator
            without noise: both run on this machine, without an account; or a Qiskit ``BackendV2``.
        wires: the wires of the executor, a number or labels; ``None`` for whatever wires a circuit has.
        primitive: ``"sampler"``: everything is counted by ``SamplerV2``. ``"estimator"``: circuits of which only
            expectation values of sums of Pauli words are asked are estimated by ``EstimatorV2``, and others refused.
            ``"auto"``: the Sampler; but if an option asks for what only the Estimator does, such as
            ``resilience_level=1``, the Estimator for the circuits that it can run.
        service: a ``QiskitRuntimeService``, or anything with its ``backend``, ``least_busy``, ``job`` and ``jobs``, in
            place of the following four.
        token: the API key; default: that of the keyring, else ``QISKIT_IBM_TOKEN`` in the environment or a ``.env``
            file, else the saved account's. It is shown nowhere, and not pickled: another process looks it up again.
        channel: IBM's platform.
        instance: IBM's instance; default: ``QISKIT_IBM_INSTANCE``, else that of the saved account.
        url: address of the platform.
        mode: ``"session"`` or ``"batch"`` to send all jobs in one, which is opened with the first job and ended by
            :meth:`close`, which a cluster calls, and at the end of the program. ``None``: each job by itself.
        max_time: how long a session or batch is open at most, in seconds or as ``"1h 30m"``.
        options: options of Qiskit Runtime's primitives, nested as theirs are, such as ``{"dynamical_decoupling":
            {"enable": True}, "max_execution_time": 300}``. Shots are no option, but the circuits' own.
        optimization_level: of Qiskit's transpiler, 0 to 3.
        seed_transpiler: of the transpiler's choices, such as that of the qubits.
        single_job: ``False``: each circuit is a job.
        seed: makes local mode, and the order of samples, repeatable: each job draws from a stream of its own. In a
            durable run, the numbers of all of its circuits decide on it; with ``single_job=False``, those of one.
            ``options={"simulator": {"seed_simulator": ...}}`` is the seed of every job instead. Mind that Qiskit's
            transpiler chooses at random between layouts that are equally good, whatever its seed.
        name: how it is called in policies, tables and errors; default: the backend's name.
        workers: the most jobs in flight; default: 1000.
        max_circuits, max_shots, batch_window, cost: see :class:`Executor`.

    Raises:
        ConfigurationError: an option makes no sense, or there is no such fake backend.
    """

    def __init__(
        self,
        backend: Any = "least_busy",
        *,
        wires: Any = None,
        primitive: Primitive = "auto",
        service: Any = None,
        token: str | None = None,
        channel: str | None = None,
        instance: str | None = None,
        url: str | None = None,
        mode: ModeName | None = None,
        max_time: float | str | None = None,
        options: Mapping[str, Any] | None = None,
        optimization_level: int = 2,
        seed_transpiler: int = 0,
        single_job: bool = True,
        seed: int | None = None,
        name: str | None = None,
        workers: int | None = None,
        max_circuits: int | None = None,
        max_shots: int | None = None,
        batch_window: float = 0.0,
        cost: Cost | Mapping[str, float] | None = None,
    ) -> None:
        _check_numbers(optimization_level, seed_transpiler=seed_transpiler, seed=seed)
        self.wires = None if wires is None else Wires(range(wires) if isinstance(wires, int) else wires)
        account = Account(service, token, channel, instance, url)
        self._machine = machine(backend, account, None if self.wires is None else len(self.wires))
        super().__init__(
            name or self._machine.name,
            workers=workers,
            max_circuits=max_circuits if single_job else 1,
            max_shots=max_shots,
            batch_window=batch_window,
            cost=cost,
        )
        self._mode = Mode(mode, max_time)
        self._options = checked(options, primitive)
        if seed is not None and self._options.seed is not None:
            raise ConfigurationError(f"seed={seed!r} and options={{'simulator': {{'seed_simulator': ...}}}}: give one.")
        if self._machine.local:
            self._warn_of_options()
        self.poll_interval, self.poll_interval_max = _LOCAL_POLLS if self._machine.local else _REMOTE_POLLS
        self._levels = (optimization_level, seed_transpiler)
        self._seed = seed
        self._replica = 0
        self._prepared = Prepared(one_to_one=True)
        self._start()

    @property
    def backend(self) -> str:
        """The backend's name; ``"least_busy"`` until a machine has been chosen."""
        return self._machine.name

    @property
    def identity(self) -> str | None:
        """The machine's name, options, levels and seed; ``None`` for ``"least_busy"`` and for a given backend."""
        if not self._machine.named:
            return None
        machine, options = self._machine, self._options
        given = (options.sampler, options.estimator, options.estimates, options.samples, self._levels, self._seed)
        return identity_of(self, "runtime", _PACKAGES, machine.name, machine.local, self.wires, given)

    @property
    def equivalence(self) -> Hashable:
        """What :attr:`identity` has, but for seed and wires; its own, for ``"least_busy"`` or a given backend."""
        if not self._machine.named:
            return id(self)
        machine, options = self._machine, self._options
        given = (options.sampler, options.estimator, options.estimates, options.samples, self._levels)
        return identity_of(self, "runtime", (), machine.name, machine.local, given) or id(self)

    def repeats(self, circuit: QuantumScript) -> bool:
        """Whether it is simulated on this machine, with a seed: a quantum computer is another one every day."""
        return self._machine.local and (self._seed is not None or self._options.seed is not None)

    @property
    def has_seed(self) -> bool:
        """Whether there is a seed, or one in the options."""
        return self._seed is not None or self._options.seed is not None

    @property
    def streams(self) -> frozenset[Hashable]:
        """The seed in local mode: elsewhere it orders samples only."""
        seed = self._options.seed if self._seed is None else self._seed
        return frozenset() if seed is None or not self._machine.local else frozenset({seed})

    def reseed(self, seed: int) -> None:
        """Draw, and order samples, by this seed; it takes the place of one in the options."""
        if self._options.seed is None:
            self._seed = seed
        else:
            self._options = self._options.with_seed(seed)
            self.__dict__.pop("_planner", None)

    @property
    def session_id(self) -> str | None:
        """IBM's id of the session or batch that is open."""
        return self._mode.session_id

    def usage(self, circuit: QuantumScript) -> Usage:
        """What the primitives run for a circuit, all its shots for each of these circuits.

        The Sampler has a circuit for each group of measurements that are made together. Of the Estimator, it is assumed
        that it measures the words that commute qubit by qubit together, as it does in local mode; circuits that an
        option such as ``resilience_level`` or twirling adds are not known here, and not counted.

        Args:
            circuit: a circuit with its own shots.
        """
        return self.usage_of(circuit, _AS_ASKED)

    def usage_of(self, circuit: QuantumScript, call: Call) -> Usage:
        """The same for a circuit of a call."""
        return self.billed(together(self._prepared(self, circuit, call, self._runs)))

    def most_shots(self, circuit: QuantumScript) -> int:
        """The shots of the largest of the circuits that are made of one."""
        return max([shots for _, shots in self._prepared(self, circuit, _AS_ASKED, self._runs)], default=0)

    def _runs(self, circuit: QuantumScript) -> Runs:
        """What is run for a prepared circuit."""
        if circuit.shots and self._options.estimates and can_estimate(circuit):
            groups = estimated_together(circuit)
            return groups, groups * (circuit.shots.total_shots or 0)
        return counted(circuit)

    def status(self) -> Status:
        """What the machine said of itself at most half a minute ago; nothing is asked before the first job."""
        return self._machine.status()

    def rejects(self, circuit: QuantumScript) -> str | None:
        """Why the backend cannot run this circuit, as far as can be told without asking anybody."""
        objection = objection_to_counting(self, circuit)
        if objection is not None:
            return objection
        if not self._options.samples and not can_estimate(circuit):
            return "estimates expectation values of sums of Pauli words, and nothing else (primitive='estimator')"
        return objection_to_wires(self.wires, circuit) or self._machine.objection(circuit)

    def binder(self, config: ExecutionConfig, circuit: QuantumScript) -> Binder:
        """What makes circuits such that Qiskit can express them."""
        from pennylane_qexec.circuits.qiskit.preparation import QiskitBinder

        return QiskitBinder(config, self.wires, exact_shots=True)

    def pubs(self, circuits: Sequence[QuantumScript]) -> dict[str, list[Any]]:
        """What would be sent for a batch of circuits: for each primitive, the PUBs of its job."""
        plan = self._plan(circuits)
        return {primitive: plan.pubs(primitive) for primitive in plan.primitives}

    def submit(self, circuits: Sequence[QuantumScript]) -> str:
        """Send circuits as one job; as two, whose ids are joined by ``+``, if both primitives are needed.

        Raises:
            ConfigurationError: there is no account, no such machine, or a circuit does not fit it.
        """
        return self.submit_labelled(circuits, "")

    @property
    def labels(self) -> bool:
        """IBM keeps the labels of jobs, as tags; in local mode, jobs end with their process."""
        return not self._machine.local

    def submit_labelled(self, circuits: Sequence[QuantumScript], label: str) -> str:
        """Send circuits as :meth:`submit` does; the label is a tag of the job at IBM."""
        return self.submit_numbered(circuits, label, ())

    def submit_numbered(self, circuits: Sequence[QuantumScript], label: str, numbers: Sequence[int]) -> str:
        """Send circuits as :meth:`submit_labelled` does; numbers decide, with the seed, on what the job draws."""
        from pennylane_qexec.executors.runtime.plans import send

        plan = self._plan(circuits, self._seed_of(numbers) if numbers else self._next_seed())
        seeded = self._seed is not None and self._machine.local
        seed = 1 + int(plan.seed.generate_state(1)[0]) // 2 if seeded else None
        label = label if self.labels else ""
        backend = self._drawing if seeded else self._machine.backend()
        return self._flights.add(send(plan, backend, self._mode, self._options, seed, label))

    def find(self, label: str) -> str | None:
        """The id of the first job with a label, whoever sent it, that has not failed and was not cancelled.

        If both primitives are needed, and the sender ended between one and the other, there is no such job, and what
        there is of it is cancelled: the batch has to be sent again.
        """
        return found(self._machine.jobs(label))

    def perform(self, work: Work) -> Sequence[Result]:
        """Send a batch, wait for it, and fetch the results."""
        if not work.numbers or work.call.method != "execute":
            return super().perform(work)
        return self._awaited(self.submit_numbered(work.circuits, "", work.numbers))

    def poll(self, job_id: str) -> JobState:
        """The state of a job, whoever sent it."""
        return self._flights.get(job_id).state()

    def fetch(self, job_id: str) -> Sequence[Result]:
        """The results of a job that is done; :meth:`adopt` it first if another process sent it.

        Raises:
            JobFailedError: the job failed.
            JobCancelledError: the job was cancelled.
            ConfigurationError: it is not known which circuits the job has.
        """
        flight = self._flights.get(job_id)
        if flight.plan is None:
            raise ConfigurationError(
                f"job {job_id!r} was sent by another process, and its circuits are not known here: use "
                "recover(job_id, circuits), or adopt(job_id, circuits) before poll and fetch."
            )
        try:
            answers = flight.answers(self.backend)
        except (JobFailedError, JobCancelledError):
            self._flights.end(job_id)
            raise
        self._flights.end(job_id)
        results: Sequence[Result] = flight.plan.results(answers)
        return results

    def cancel(self, job_id: str) -> None:
        """Ask the backend to stop a job, whoever sent it. Nothing happens if it has ended."""
        self._flights.get(job_id).cancel()
        self._flights.end(job_id)

    def adopt(self, job_id: str, circuits: Sequence[QuantumScript]) -> None:
        """Take over a job that another process sent, so that it can be polled and fetched here.

        Args:
            job_id: what :meth:`submit` returned there.
            circuits: the circuits that the job was sent with, in their order.

        Raises:
            ConfigurationError: the job is not one of these circuits, as far as can be told now.
        """
        plan = self._plan(circuits, self._next_seed())
        self._flights.add(self._flights.get(job_id).adopted(plan))

    def become_replica(self, number: int) -> None:
        """Draw from a stream of random numbers of this replica's own."""
        self._replica = number + 1

    def close(self) -> None:
        """End the session or batch, if one is open; jobs that were sent still run. The next job opens another one."""
        self._mode.close()

    def _plan(self, circuits: Sequence[QuantumScript], seed: Sequence[int] | None = None) -> Plan:
        circuits = [self.with_shots(circuit) for circuit in circuits]
        return self._planner.plan(circuits, self.binder(ExecutionConfig(), circuits[0]), seed)

    def _seed_of(self, numbers: Sequence[int]) -> Sequence[int] | None:
        """The seed of what is random in a job of circuits with these numbers."""
        return self._next_seed() if self._seed is None else [self._seed, _BY_NUMBERS, *numbers]

    def _next_seed(self) -> Sequence[int] | None:
        """The seed of what is random in the next job."""
        if self._seed is not None:
            return [self._seed, self._replica, next(self._numbers)]
        return None if self._options.seed is None else [self._options.seed]

    @cached_property
    def _drawing(self) -> Any:
        """The simulated backend, for jobs with seeds; one object, since a session is opened for it."""
        from pennylane_qexec.executors.runtime.plans import drawing_by_shots

        return self.__dict__.setdefault("_drawing", drawing_by_shots(self._machine.backend()))

    @cached_property
    def _planner(self) -> Planner:
        from pennylane_qexec.executors.runtime.plans import Planner

        # Threads that come here together all get the planner that the first of them has made.
        planner: Planner = self.__dict__.setdefault("_planner", Planner(self._machine, self._options, *self._levels))
        return planner

    def _warn_of_options(self) -> None:
        """Say once, and not at every job, what local mode cannot do."""
        ignored = self._options.without_effect_locally()
        if ignored:
            warnings.warn(
                f"{', '.join(ignored)}: no effect on {self.backend!r}, which is simulated on this machine; results are "
                "what was measured.",
                UserWarning,
                stacklevel=3,
            )
        self._options = self._options.for_local_mode()

    def _found(self, job_id: str) -> Flight:
        """What another process has sent."""
        return Flight(tuple(map(self._machine.job, ids_of(job_id))), None)

    def _start(self) -> None:
        self._flights: Flights[Flight] = Flights(self._found)
        self._numbers = itertools.count()

    def __getstate__(self) -> dict[str, Any]:
        dropped = ("_planner", "_drawing", "_flights", "_numbers")
        return {key: value for key, value in super().__getstate__().items() if key not in dropped}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._start()


def _check_numbers(optimization_level: Any, **seeds: Any) -> None:
    if optimization_level not in (0, 1, 2, 3):
        raise ConfigurationError(f"optimization_level={optimization_level!r} must be 0, 1, 2 or 3.")
    for option, seed in seeds.items():
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0):
            raise ConfigurationError(f"{option}={seed!r} must be a whole number of at least 0.")
