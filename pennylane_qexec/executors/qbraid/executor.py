"""Any device of qBraid's providers as an executor."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Unpack

from pennylane_qexec.circuits.templates import Template
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.identity import identity_of
from pennylane_qexec.executors.options import QueueOptions, lists_options
from pennylane_qexec.executors.qbraid.devices import QBraidDevice, QBraidJob
from pennylane_qexec.executors.remote.executor import RemoteExecutor
from pennylane_qexec.executors.remote.plans import BatchPlan

if TYPE_CHECKING:
    from pennylane_qexec.executors.qbraid.plans import CircuitsProgram


class QBraidExecutor(RemoteExecutor[QBraidDevice, "CircuitsProgram"]):
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

    @lists_options(QueueOptions)
    def __init__(
        self,
        provider: Any = "",
        device: Any = None,
        *,
        credentials: Mapping[str, Any] | None = None,
        options: Mapping[str, Any] | None = None,
        wires: Any = None,
        seed: int | None = None,
        **others: Unpack[QueueOptions],
    ) -> None:
        super().__init__(_device(provider, device, credentials), wires=wires, seed=seed, **others)
        if options is not None and not isinstance(options, Mapping):
            raise ConfigurationError(f"options={options!r} must be a mapping of options of the device's run().")
        if options and "shots" in options:
            raise ConfigurationError("options={'shots': ...}: every circuit is run with exactly its own shots.")
        self._options = dict(options or {})

    @property
    def identity(self) -> str | None:
        """The names of provider and device, and the options; ``None`` if one of the two was given as an object."""
        names = self.machine.names
        if names is None:
            return None
        return identity_of(self, "qbraid", ("qbraid",), names, self.wires, self._options, self._seed)

    @property
    def equivalence(self) -> Hashable:
        """The names of provider and device, and the options; its own, if one of the two was given as an object."""
        return identity_of(self, "qbraid", (), self.machine.names, self._options) or id(self)

    def program(self, template: Template) -> CircuitsProgram:
        """Qiskit's circuits, of which all wires are measured."""
        from pennylane_qexec.executors.qbraid.plans import CircuitsProgram

        return CircuitsProgram(template, self.machine.takes_qiskit)

    def send(self, plan: BatchPlan[CircuitsProgram], label: str) -> Iterator[QBraidJob]:
        """Send circuits with the same number of shots together. Not all providers keep labels, so that none is sent."""
        for groups in plan.requests.values():
            circuits = [circuit for group in groups for circuit in group.program.circuits(group.parameters)]
            for job in self.machine.send(circuits, groups[0].shots, self.max_circuits, self._options):
                yield QBraidJob(job)

    def find_job(self, job_id: str) -> QBraidJob:
        """A job of another process.

        Raises:
            ConfigurationError: there is no such job, or the provider does not find jobs by their ids, or was given as
                an object.
        """
        return QBraidJob(self.machine.job(job_id))


def _device(provider: Any, device: Any, given: Mapping[str, Any] | None) -> QBraidDevice:
    if isinstance(provider, str) and device is None:
        provider, _, device = provider.partition(":")
    if not device or not provider:
        raise ConfigurationError(
            f"provider={provider!r} without a device: name both, as in QBraidExecutor('ionq', 'qpu.aria-1'), or as the "
            "spec 'qbraid:ionq:qpu.aria-1'."
        )
    if given and not isinstance(provider, str):
        raise ConfigurationError("credentials= given beside a provider that is made already: give its name instead.")
    return QBraidDevice(provider, device, given)
