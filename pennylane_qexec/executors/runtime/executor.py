"""Qiskit Runtime as an executor: IBM's quantum computers, and what simulates them on this machine.

Also Covalent's ``QiskitExecutor``: its names and options, for Aer on this machine and for Qiskit Runtime.
"""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, Unpack, final

import numpy as np
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.measurement_bases import Runs, can_estimate, counted, estimated_together
from pennylane_qexec.circuits.templates import Template
from pennylane_qexec.errors import ConfigurationError, refuse_unknown, unknown
from pennylane_qexec.executors.aer import AerExecutor
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.identity import derived, identity_of
from pennylane_qexec.executors.options import QueueOptions, lists_options, wires_from
from pennylane_qexec.executors.remote.executor import RemoteExecutor
from pennylane_qexec.executors.remote.jobs import RemoteJob, label_tags
from pennylane_qexec.executors.remote.plans import BatchPlan, PlannedGroup
from pennylane_qexec.executors.runtime.machines import Account, Machine, is_local, machine
from pennylane_qexec.executors.runtime.options import Primitive, primitive_options
from pennylane_qexec.executors.runtime.sessions import Mode, ModeName, PrimitiveJob, seconds
from pennylane_qexec.executors.shots import checked_shots
from pennylane_qexec.job import Work
from pennylane_qexec.redaction.display import even_incomplete

if TYPE_CHECKING:
    from pennylane_qexec.executors.runtime.plans import Compiler, PrimitiveProgram


_BY_NUMBERS = 0x6E756D62
"""What the seeds of jobs whose circuits have numbers have in place of the replica."""

_LOCAL_POLLS = (0.002, 0.05)
_REMOTE_POLLS = (0.5, 10.0)
_PACKAGES = ("qiskit", "qiskit-aer", "qiskit-ibm-runtime")


class RuntimeExecutor(RemoteExecutor[Machine, "PrimitiveProgram"]):
    """Runs circuits by the primitives of Qiskit Runtime: at IBM, or in local mode on this machine.

    A batch is one job. Circuits that differ only in their parameters, such as those of a gradient, are sent as one
    circuit with a matrix of parameters, which is fitted to the machine once, and kept. Every circuit is run with
    exactly its own shots.

    Nothing is sent, and no account is looked up, before the first job.

    :meth:`usage` has all of a circuit's shots for each circuit that the primitives run: for the Sampler, one for each
    group of measurements that are made together. Of the Estimator, it is assumed that it measures the words that
    commute qubit by qubit together, as it does in local mode; circuits that an option such as ``resilience_level`` or
    twirling adds are not known here, and not counted.

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

    @lists_options(QueueOptions)
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
        **others: Unpack[QueueOptions],
    ) -> None:
        _check_numbers(optimization_level, seed_transpiler=seed_transpiler, seed=seed)
        qubits = wires_from(wires)
        account = Account(service, token, channel, instance, url)
        if not single_job:
            others["max_circuits"] = 1
        found = machine(backend, account, None if qubits is None else len(qubits))
        super().__init__(found, wires=qubits, seed=seed, **others)
        self._mode = Mode(mode, max_time)
        self._options = primitive_options(options, primitive)
        if seed is not None and self._options.seed is not None:
            raise ConfigurationError(f"seed={seed!r} and options={{'simulator': {{'seed_simulator': ...}}}}: give one.")
        if found.local:
            self._warn_of_options()
        self.poll_interval, self.poll_interval_max = _LOCAL_POLLS if found.local else _REMOTE_POLLS
        self._levels = (optimization_level, seed_transpiler)

    @property
    def identity(self) -> str | None:
        """The machine's name, options, levels and seed; ``None`` for ``"least_busy"`` and for a given backend."""
        if not self.machine.named:
            return None
        given = (*self._settings, self._seed)
        return identity_of(self, "runtime", _PACKAGES, self.machine.name, self.machine.local, self.wires, given)

    @property
    def equivalence(self) -> Hashable:
        """What :attr:`identity` has, but for seed and wires; its own, for ``"least_busy"`` or a given backend."""
        if not self.machine.named:
            return id(self)
        return identity_of(self, "runtime", (), self.machine.name, self.machine.local, self._settings) or id(self)

    @property
    def _settings(self) -> tuple[Any, ...]:
        options = self._options
        return options.sampler, options.estimator, options.estimates, options.samples, self._levels

    def repeats(self, circuit: QuantumScript) -> bool:
        """Whether it is simulated on this machine, with a seed: a quantum computer is another one every day."""
        return self.machine.local and self.has_seed

    @property
    def has_seed(self) -> bool:
        """Whether there is a seed, or one in the options."""
        return self._seed is not None or self._options.seed is not None

    @property
    def streams(self) -> frozenset[Hashable]:
        """The seed in local mode: elsewhere it orders samples only."""
        seed = self._options.seed if self._seed is None else self._seed
        return frozenset() if seed is None or not self.machine.local else frozenset({seed})

    def reseed(self, seed: int) -> None:
        """Draw, and order samples, by this seed; it takes the place of one in the options."""
        if self._options.seed is None:
            self._seed = seed
        else:
            self._options = self._options.with_seed(seed)

    @property
    def session_id(self) -> str | None:
        """IBM's id of the session or batch that is open."""
        return self._mode.session_id

    def _runs(self, circuit: QuantumScript) -> Runs:
        """What is run for a prepared circuit."""
        if circuit.shots and self._options.estimates and can_estimate(circuit):
            groups = estimated_together(circuit)
            return groups, groups * (circuit.shots.total_shots or 0)
        return counted(circuit)

    def rejects(self, circuit: QuantumScript) -> str | None:
        """Why the backend cannot run this circuit, as far as can be told without asking anybody."""
        objection = super().rejects(circuit)
        if objection is None and not self._options.samples and not can_estimate(circuit):
            return "estimates expectation values of sums of Pauli words, and nothing else (primitive='estimator')"
        return objection

    def pubs(self, circuits: Sequence[QuantumScript]) -> dict[str, list[Any]]:
        """What would be sent for a batch of circuits: for each primitive, the PUBs of its job."""
        from pennylane_qexec.executors.runtime import plans

        return {str(one): plans.pubs(groups) for one, groups in self.plan(Work(tuple(circuits))).requests.items()}

    def program(self, template: Template) -> PrimitiveProgram:
        """What the Sampler or the Estimator runs for circuits of one structure."""
        from pennylane_qexec.executors.runtime import plans

        return plans.program(template, self._compiler, self._options)

    def request_key(self, group: PlannedGroup[PrimitiveProgram]) -> str:
        """The primitive: each of the two runs one job."""
        return group.program.primitive

    def plan(self, work: Work, seed: Sequence[int] | None = None) -> BatchPlan[PrimitiveProgram]:
        """What a batch is run as; the Estimator's job is the first."""
        plan = super().plan(work, seed)
        return replace(plan, requests={one: plan.requests[one] for one in sorted(plan.requests, key=str)})

    @property
    def labels(self) -> bool:
        """IBM keeps the labels of jobs, as tags; in local mode, jobs end with their process."""
        return not self.machine.local

    def send(self, plan: BatchPlan[PrimitiveProgram], label: str) -> Iterator[PrimitiveJob]:
        """Send a job for each primitive that is needed."""
        from pennylane_qexec.executors.runtime import plans

        seeded = self._seed is not None and self.machine.local
        seed = 1 + int(plan.seed.generate_state(1)[0]) // 2 if seeded else None
        backend = self._drawing if seeded else self.machine.backend()
        for number, (primitive, groups) in enumerate(plan.requests.items(), 1):
            own = seed if seed is None or number == 1 else derived(seed, number)
            options = self._options.of(str(primitive), own, label_tags(label, number, len(plan.requests)))
            yield PrimitiveJob(plans.send(str(primitive), plans.pubs(groups), backend, self._mode, options))

    def find_job(self, job_id: str) -> PrimitiveJob:
        """A job of another process, at IBM."""
        return PrimitiveJob(self.machine.job(job_id))

    def jobs_with_label(self, label: str) -> Sequence[PrimitiveJob]:
        """The jobs with a tag at IBM."""
        return [PrimitiveJob(job) for job in self.machine.jobs(label)]

    def batch_seed(self, numbers: Sequence[int]) -> Sequence[int] | None:
        """The seed of the next job: its own, in a durable run that of the numbers, or the options', of every job."""
        if self._seed is None:
            return None if self._options.seed is None else [self._options.seed]
        return [self._seed, _BY_NUMBERS, *numbers] if numbers else super().batch_seed(numbers)

    def wrong_number(self, found: int, expected: int) -> Exception:
        """The error when there are not as many answers as PUBs."""
        return ConfigurationError(
            f"the job has {found} results, and its circuits need {expected}: recover a job with the circuits that it "
            "was sent with, by an executor with the same options."
        )

    def check_adoption(self, job: RemoteJob[PrimitiveProgram], plan: BatchPlan[PrimitiveProgram]) -> None:
        """See that there are as many jobs as primitives are needed."""
        if len(job.parts) != len(plan.requests):
            raise ConfigurationError(
                f"job {job.job_id!r} is {len(job.parts)} jobs at the backend, and these circuits make "
                f"{len(plan.requests)}: give the circuits that it was sent with, and the executor the same options."
            )

    def close(self) -> None:
        """End the session or batch, if one is open; jobs that were sent still run. The next job opens another one."""
        self._mode.close()

    @cached_property
    def _drawing(self) -> Any:
        """The simulated backend, for jobs with seeds; one object, since a session is opened for it."""
        from pennylane_qexec.executors.runtime.plans import drawing_by_shots

        return self.__dict__.setdefault("_drawing", drawing_by_shots(self.machine.backend()))

    @cached_property
    def _compiler(self) -> Compiler:
        from pennylane_qexec.executors.runtime.plans import Compiler

        # Threads that come here together all get the compiler that the first of them has made.
        return self.__dict__.setdefault("_compiler", Compiler(self.machine.backend, *self._levels))  # type: ignore[no-any-return]

    def _warn_of_options(self) -> None:
        """Say once, and not at every job, what local mode cannot do."""
        if ignored := self._options.without_effect_locally():
            warnings.warn(
                f"{', '.join(ignored)}: no effect on {self.backend!r}, which is simulated on this machine; results are "
                "what was measured.",
                UserWarning,
                stacklevel=3,
            )
        self._options = self._options.for_local_mode()

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in super().__getstate__().items() if key not in ("_compiler", "_drawing")}


def _check_numbers(optimization_level: Any, **seeds: Any) -> None:
    if optimization_level not in (0, 1, 2, 3):
        raise ConfigurationError(f"optimization_level={optimization_level!r} must be 0, 1, 2 or 3.")
    for option, seed in seeds.items():
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0):
            raise ConfigurationError(f"{option}={seed!r} must be a whole number of at least 0.")


_OWN = ("device", "backend", "shots", "single_job", "max_time", "options", "name", "local_transpile")
_OF_IBM = {
    "ibmqx_token": "token",
    "ibmqx_url": "url",
    "channel": "channel",
    "instance": "instance",
    "cloud_instance": "instance",
    "mode": "mode",
    "service": "service",
}
_FORMER = ("hub", "group", "project")
_KNOWN = {*_OWN, "wires", *QueueOptions.__annotations__, *_OF_IBM, *_FORMER}

_OF_TRANSPILER = ("optimization_level", "seed_transpiler")
_OPTIONS = (*_OF_TRANSPILER, "resilience_level", "seed_simulator")
_OF_RUNTIME = (
    *("dynamical_decoupling", "environment", "execution", "experimental", "max_execution_time", "resilience"),
    *("simulator", "twirling"),
)


class QiskitExecutor(Executor):
    """Runs circuits on Qiskit's simulators and on IBM's machines, with the options that Covalent's users know.

    What is made is an :class:`AerExecutor` for ``"local_sampler"``, and a :class:`RuntimeExecutor` for ``"sampler"``.

    Args:
        device: ``"local_sampler"``: Aer, without noise. ``"sampler"``: the machine called ``backend``.
        backend: for ``"sampler"``, a machine of IBM, such as ``"ibm_torino"``, or a fake backend, such as
            ``"fake_manila"``: its noise and coupling are simulated on this machine.
        shots: a number of shots, which goes before that of the QNode; 0 for that of the QNode; ``None`` for analytic
            results, which only ``"local_sampler"`` has.
        single_job: whether circuits that wait together run as one job; otherwise one by one.
        max_time: what a job may take on IBM's machines, in seconds or as ``"5m"``. On this machine there is no limit; a
            cluster has ``timeout=``.
        options: ``optimization_level`` (0 to 3, default 1), ``seed_transpiler``, ``seed_simulator`` and
            ``resilience_level``; for ``"sampler"`` also all options of Qiskit Runtime, see :class:`RuntimeExecutor`.
            Where circuits are simulated, ``resilience_level`` above 0 gives a warning: errors are not mitigated here.
        name: how it is called in policies, tables and errors; default: the name of the backend or the device.
        local_transpile: known, and without effect: circuits are always transpiled here.
        others: ``wires``, ``workers``, ``max_circuits``, ``max_shots``, ``batch_window`` and ``cost``, as those of
            :class:`Executor`; for ``"local_sampler"`` also ``parallel``; for ``"sampler"`` ``ibmqx_token``,
            ``ibmqx_url``, ``channel``, ``instance`` (or ``cloud_instance``), ``mode`` and ``service``, as those of
            :class:`RuntimeExecutor`.

    Raises:
        ConfigurationError: there is no such option, device or backend.
    """

    def __new__(
        cls,
        device: str = "local_sampler",
        backend: str | None = None,
        shots: int | None = 1024,
        single_job: bool = True,
        max_time: float | str | None = None,
        options: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        local_transpile: bool = False,
        **others: Any,
    ) -> Self:
        if cls is not QiskitExecutor:
            return super().__new__(cls)  # a copy from another process, whose attributes are on their way
        if device not in _KINDS:
            raise ConfigurationError(unknown("device of QiskitExecutor", device, _KINDS))
        kind: Any = _KINDS[device]
        made: Self = super().__new__(kind)
        if not single_job:
            others["max_circuits"] = 1
        kind.begin(made, backend, max_time, dict(options or {}), {"name": name or backend or device, **others})
        made.shots = checked_shots(shots)
        return made

    def __init__(self, *arguments: Any, **options: Any) -> None:
        """Nothing is left to do."""

    @even_incomplete
    def __repr__(self) -> str:
        return f"<QiskitExecutor {self.name!r}>"


@final
class LocalSampler(QiskitExecutor, AerExecutor):
    """Aer, without noise."""

    def begin(self, backend: Any, max_time: Any, options: dict[str, Any], others: dict[str, Any]) -> None:
        """Become an executor with these options."""
        refuse_unknown("option of QiskitExecutor", others, {*_KNOWN, "parallel"})
        if backend:
            raise ConfigurationError(
                f"device='local_sampler' has no backend, and {backend!r} was given: take device='sampler' with it, or "
                "leave it out."
            )
        if given := [option for option in (*_OF_IBM, *_FORMER) if others.pop(option, None)]:
            raise ConfigurationError(
                f"{' and '.join(given)} given: device='local_sampler' runs on this machine, without an account. Take "
                "device='sampler' with a backend, such as 'ibm_torino', or leave it out."
            )
        refuse_unknown("entry of QiskitExecutor's options", options, _OPTIONS)
        if options.get("resilience_level"):
            warnings.warn(
                f"resilience_level={options['resilience_level']!r} asks for error mitigation, which simulations here "
                "do not have: results are what was measured.",
                UserWarning,
                stacklevel=3,
            )
        AerExecutor.__init__(self, seed=options.get("seed_simulator"), **others)


@final
class Sampler(QiskitExecutor, RuntimeExecutor):
    """A machine of IBM, or a fake backend."""

    def begin(self, backend: Any, max_time: Any, options: dict[str, Any], others: dict[str, Any]) -> None:
        """Become an executor with these options."""
        refuse_unknown("option of QiskitExecutor", others, _KNOWN)
        if not backend:
            raise ConfigurationError("device='sampler' needs a backend: name one, as in backend='fake_manila'.")
        if former := [option for option in _FORMER if others.pop(option, None)]:
            raise ConfigurationError(
                f"{' and '.join(former)} given: they named an instance of IBM's former platform. Give instance= now."
            )
        refuse_unknown("entry of QiskitExecutor's options", options, (*_OPTIONS, *_OF_RUNTIME))
        of_ibm = {_OF_IBM[option]: value for option in _OF_IBM if (value := others.pop(option, None))}
        transpiler = {option: options.pop(option) for option in _OF_TRANSPILER if options.get(option) is not None}
        RuntimeExecutor.__init__(
            self,
            backend,
            options=_for_runtime(options, None if is_local(backend) else max_time),
            **{"optimization_level": 1, **transpiler},
            **of_ibm,
            **others,
        )


_KINDS: dict[str, type[QiskitExecutor]] = {"local_sampler": LocalSampler, "sampler": Sampler}


def _for_runtime(options: dict[str, Any], max_time: float | str | None) -> dict[str, Any]:
    """The options as Qiskit Runtime has them, without those that are not given."""
    nested = {option: value for option, value in options.items() if value is not None and option not in _OF_TRANSPILER}
    if "seed_simulator" in nested:
        nested["simulator"] = {**nested.get("simulator", {}), "seed_simulator": nested.pop("seed_simulator")}
    if max_time is not None:
        nested["max_execution_time"] = seconds(max_time)
    if not nested.get("resilience_level"):
        nested.pop("resilience_level", None)
    return nested
