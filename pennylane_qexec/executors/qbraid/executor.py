"""Any device of qBraid's providers as an executor."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.circuits.measurement_bases import counted, together
from pennylane_qexec.errors import ConfigurationError, JobCancelledError, JobFailedError, checked_seed
from pennylane_qexec.executors.base import Binder
from pennylane_qexec.executors.identity import identity_of
from pennylane_qexec.executors.pennylane.preparation import Prepared
from pennylane_qexec.executors.qbraid.devices import Machine
from pennylane_qexec.executors.qbraid.jobs import Flight
from pennylane_qexec.executors.queued import QueuedExecutor
from pennylane_qexec.executors.remote import Flights, ids_of
from pennylane_qexec.executors.validation import objection_to_counting, objection_to_wires
from pennylane_qexec.job import Call, Cost, JobState, Result, Status, Usage

if TYPE_CHECKING:
    from pennylane_qexec.executors.qbraid.plans import Plan, Planner

_AS_ASKED = Call()


class QBraidExecutor(QueuedExecutor):
    """Runs circuits on a device of one of qBraid's providers.

    A batch is sent together, circuits with the same number of shots in one call of the device's ``run``; qBraid
    converts them to what the device takes. Every circuit is run with exactly its own shots, and counts that add up to
    another number are an error. All wires of a circuit are measured, and what is asked for is read off.

    Nothing is imported, looked up or sent before the first job.

    Args:
        provider: the provider's name, such as ``"ionq"``, or an object of qBraid's ``QuantumProvider``. Without
            ``device``, both names, as in ``"ionq:qpu.aria-1"``. It has no default.
        device: the device's name, or an object of qBraid's ``QuantumDevice``, whose options for ``transpile``,
            ``transform`` and ``prepare`` are kept; it is not changed.
        credentials: arguments of the provider, such as ``{"api_key": ...}``. Default: the keyring, the environment, or
            a ``.env`` file. They are shown nowhere, and not pickled: another process looks them up again.
        options: further options of the device's ``run``, such as ``{"error_mitigation": {"debias": True}}`` or
            ``{"tags": ...}``. Shots are no option, but the circuits' own.
        wires: the wires of the executor, a number or labels; ``None`` for whatever wires a circuit has.
        seed: makes the order of samples repeatable. What the device draws has seeds among its own options, if any.
        name: how it is called in policies, tables and errors; default: the device's name.
        workers: the most jobs in flight; default: 1000.
        max_circuits: the most circuits in one batch, and the most that are sent to the device together: 1 for a device
            that takes one at a time.
        max_shots, batch_window, cost: see :class:`Executor`.

    Raises:
        ConfigurationError: no device is named, or an option makes no sense.
    """

    poll_interval = 0.5
    poll_interval_max = 10.0

    def __init__(
        self,
        provider: Any = "",
        device: Any = None,
        *,
        credentials: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        wires: Any = None,
        seed: int | None = None,
        name: str | None = None,
        workers: int | None = None,
        max_circuits: int | None = None,
        max_shots: int | None = None,
        batch_window: float = 0.0,
        cost: Cost | Mapping[str, float] | None = None,
    ) -> None:
        self.wires = None if wires is None else Wires(range(wires) if isinstance(wires, int) else wires)
        self._machine = _machine(provider, device, credentials)
        super().__init__(
            name or self._machine.name,
            workers=workers,
            max_circuits=max_circuits,
            max_shots=max_shots,
            batch_window=batch_window,
            cost=cost,
        )
        self._options = _checked_options(options)
        self._prepared = Prepared(one_to_one=True)
        self._seed = checked_seed(seed)
        self._replica = 0
        self._start()

    @property
    def backend(self) -> str:
        """The device's name."""
        return self._machine.name

    @property
    def identity(self) -> str | None:
        """The names of provider and device, and the options; ``None`` if one of the two was given as an object."""
        names = self._machine.names
        if names is None:
            return None
        return identity_of(self, "qbraid", ("qbraid",), names, self.wires, self._options, self._seed)

    @property
    def equivalence(self) -> Hashable:
        """The names of provider and device, and the options; its own, if one of the two was given as an object."""
        return identity_of(self, "qbraid", (), self._machine.names, self._options) or id(self)

    def repeats(self, circuit: QuantumScript) -> bool:
        """No: what the device draws has no seed here."""
        return False

    def usage(self, circuit: QuantumScript) -> Usage:
        """What is counted for a circuit: one of the device for each group of measurements that are made together."""
        return self.usage_of(circuit, _AS_ASKED)

    def usage_of(self, circuit: QuantumScript, call: Call) -> Usage:
        """The same for a circuit of a call."""
        return self.billed(together(self._prepared(self, circuit, call, counted)))

    def most_shots(self, circuit: QuantumScript) -> int:
        """The shots of the largest of the circuits that are made of one."""
        return max([shots for _, shots in self._prepared(self, circuit, _AS_ASKED, counted)], default=0)

    @property
    def has_seed(self) -> bool:
        """Whether the order of samples has one."""
        return self._seed is not None

    def reseed(self, seed: int) -> None:
        """Order samples by this seed."""
        self._seed = seed

    def status(self) -> Status:
        """What the device said of itself at most half a minute ago; nothing is asked before the first job."""
        return self._machine.status()

    def rejects(self, circuit: QuantumScript) -> str | None:
        """Why the device cannot run this circuit, as far as can be told without asking anybody."""
        objection = objection_to_counting(self, circuit) or objection_to_wires(self.wires, circuit)
        return objection or self._machine.objection(circuit)

    def binder(self, config: ExecutionConfig, circuit: QuantumScript) -> Binder:
        """What makes circuits such that Qiskit can express them."""
        from pennylane_qexec.circuits.qiskit.preparation import QiskitBinder

        return QiskitBinder(config, self.wires, exact_shots=True)

    def submit(self, circuits: Sequence[QuantumScript]) -> str:
        """Send circuits, and return the provider's id; several, joined by ``+``, if they become several jobs there.

        Raises:
            ConfigurationError: there is no such provider or device, credentials are missing, or the device runs no
                circuits.
        """
        plan = self._plan(circuits)
        return self._flights.add(Flight(self._machine.send(plan, self.max_circuits, self._options), plan))

    def poll(self, job_id: str) -> JobState:
        """The state of a job, whoever sent it."""
        return self._flights.get(job_id).state()

    def fetch(self, job_id: str) -> Sequence[Result]:
        """The results of a job that is done; :meth:`adopt` it first if another process sent it.

        Raises:
            JobFailedError: the job failed, or its counts are not of the shots that were asked for.
            JobCancelledError: the job was cancelled.
            ConfigurationError: it is not known which circuits the job has, or the provider withholds its results.
        """
        try:
            results = self._flights.get(job_id).results(self.backend)
        except (JobFailedError, JobCancelledError):
            self._flights.end(job_id)
            raise
        self._flights.end(job_id)
        return results

    def cancel(self, job_id: str) -> None:
        """Ask the provider to stop a job, whoever sent it. Nothing happens if it has ended."""
        self._flights.get(job_id).cancel()
        self._flights.end(job_id)

    def adopt(self, job_id: str, circuits: Sequence[QuantumScript]) -> None:
        """Take over a job that another process sent, so that it can be polled and fetched here.

        Args:
            job_id: what :meth:`submit` returned there.
            circuits: the circuits that the job was sent with, in their order.

        Raises:
            ConfigurationError: there is no such job, or the provider does not find jobs by their id, or was given as
                an object.
        """
        self._flights.get(job_id).plan = self._plan(circuits)

    def become_replica(self, number: int) -> None:
        """Draw from a stream of random numbers of this replica's own."""
        self._replica = number + 1

    def _plan(self, circuits: Sequence[QuantumScript]) -> Plan:
        circuits = [self.with_shots(circuit) for circuit in circuits]
        seed = None if self._seed is None else [self._seed, self._replica, next(self._numbers)]
        return self._planner.plan(circuits, self.binder(ExecutionConfig(), circuits[0]), seed)

    @cached_property
    def _planner(self) -> Planner:
        from pennylane_qexec.executors.qbraid.plans import Planner

        # Threads that come here together all get the planner that the first of them has made.
        planner: Planner = self.__dict__.setdefault("_planner", Planner(self._machine.takes_qiskit))
        return planner

    def _found(self, job_id: str) -> Flight:
        """What another process has sent."""
        return Flight(list(map(self._machine.job, ids_of(job_id))), None)

    def _start(self) -> None:
        self._flights: Flights[Flight] = Flights(self._found)
        self._numbers = itertools.count()

    def __getstate__(self) -> dict[str, Any]:
        dropped = ("_planner", "_flights", "_numbers")
        return {key: value for key, value in super().__getstate__().items() if key not in dropped}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._start()


def _machine(provider: Any, device: Any, given: Mapping[str, Any] | None) -> Machine:
    if isinstance(provider, str) and device is None:
        provider, _, device = provider.partition(":")
    if not device or not provider:
        raise ConfigurationError(
            f"provider={provider!r} without a device: name both, as in QBraidExecutor('ionq', 'qpu.aria-1'), or as the "
            "spec 'qbraid:ionq:qpu.aria-1'."
        )
    if given and not isinstance(provider, str):
        raise ConfigurationError("credentials= given beside a provider that is made already: give its name instead.")
    return Machine(provider, device, given)


def _checked_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    if options is not None and not isinstance(options, Mapping):
        raise ConfigurationError(f"options={options!r} must be a mapping of options of the device's run().")
    if options and "shots" in options:
        raise ConfigurationError("options={'shots': ...}: every circuit is run with exactly its own shots.")
    return dict(options or {})
