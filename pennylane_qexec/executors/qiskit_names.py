"""Covalent's ``QiskitExecutor``, for what runs on this machine: Aer, ideal or with the noise of a fake backend."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from pennylane.tape import QuantumScript

from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.executors.device import DeviceExecutor
from pennylane_qexec.executors.shots import checked_shots

_DEVICES = ("local_sampler", "sampler")
_OWN = ("device", "backend", "shots", "single_job", "max_time", "options", "name", "local_transpile")
_OF_ALL = ("wires", "workers", "parallel", "max_circuits", "max_shots", "batch_window", "cost")
_OF_IBM = ("ibmqx_token", "ibmqx_url", "hub", "group", "project", "channel", "instance", "cloud_instance")
_OPTIONS = ("optimization_level", "resilience_level", "seed_simulator", "seed_transpiler")
_INSTEAD = (
    "IBM's hardware is not in this version of pennylane_qexec: take device='sampler' with a fake backend, such as "
    "'fake_manila', to simulate a machine and its noise here, device='local_sampler' without noise, or give "
    "qml.device('qiskit.remote', wires=..., backend=...) as an executor."
)


class QiskitExecutor(DeviceExecutor):
    """Runs circuits on Qiskit's simulators, with the options that Covalent's users know.

    IBM's hardware is not in this version: what needs it is refused.

    Args:
        device: ``"local_sampler"``: Aer, without noise. ``"sampler"``: the machine called ``backend``.
        backend: for ``"sampler"``, the name of a fake backend such as ``"fake_manila"``: its noise and coupling are
            simulated on this machine.
        shots: a number of shots, which goes before that of the QNode; 0 for that of the QNode; ``None`` for analytic
            results, which only ``"local_sampler"`` has.
        single_job: whether circuits that wait together run as one batch; otherwise one by one.
        max_time: what a job may take on IBM's machines. Here there is no limit; a cluster has ``timeout=``.
        options: ``seed_simulator``; for fake backends ``optimization_level`` (0 to 3, default 1) and
            ``seed_transpiler``. ``resilience_level`` is known, but above 0 there is a warning: errors are not
            mitigated here.
        name: how it is called in policies, tables and errors; default: the name of the backend or the device.
        local_transpile: known, and without effect: circuits are always transpiled here.
        others: ``wires``, ``workers``, ``parallel``, ``max_circuits``, ``max_shots``, ``batch_window``, ``cost``: as
            those of :class:`DeviceExecutor`.

    Raises:
        ConfigurationError: there is no such option, device or backend, or it needs IBM's hardware.
    """

    def __init__(
        self,
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
    ) -> None:
        _check(device, backend, others)
        if not single_job:
            others["max_circuits"] = 1
        known = {option: value for option, value in others.items() if option in _OF_ALL}
        aer_options = _aer_options(backend, _checked_options(options or {}))
        super().__init__("qiskit.aer", name=name or backend or device, **known, **aer_options)
        self.shots = checked_shots(shots)
        self._machine = backend
        self._qubits = aer_options["backend"].machine_qubits if backend else None

    @property
    def backend(self) -> str:
        """The name of the fake backend; ``"aer_simulator"`` without noise."""
        return self._machine or "aer_simulator"

    def rejects(self, circuit: QuantumScript) -> str | None:
        """Why the backend cannot run this circuit, as far as can be told without preparing it."""
        wires = len(circuit.wires if self.wires is None else self.wires)
        if self._qubits is not None and wires > self._qubits:
            return f"has {self._qubits} qubits"
        return super().rejects(circuit)


def _check(device: str, backend: str | None, others: Mapping[str, Any]) -> None:
    """Refuse what does not exist, and what needs IBM. No value is shown: one may be a token."""
    for option in others:
        if option not in (*_OF_ALL, *_OF_IBM):
            raise ConfigurationError(unknown("option of QiskitExecutor", option, (*_OWN, *_OF_ALL, *_OF_IBM)))
    if device not in _DEVICES:
        raise ConfigurationError(unknown("device of QiskitExecutor", device, _DEVICES))
    given = [option for option in _OF_IBM if others.get(option)]
    if given:
        raise ConfigurationError(f"{' and '.join(given)} given: {_INSTEAD}")
    if device == "sampler" and not backend:
        raise ConfigurationError("device='sampler' needs a backend: name one, as in backend='fake_manila'.")
    if device == "local_sampler" and backend:
        raise ConfigurationError(
            f"device='local_sampler' has no backend, and {backend!r} was given: take device='sampler' with it, or "
            "leave it out."
        )
    if backend and not str(backend).startswith("fake_"):
        raise ConfigurationError(f"backend={backend!r} is a machine or a service of IBM. {_INSTEAD}")


def _checked_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are known, without those that are not given."""
    for option in options:
        if option not in _OPTIONS:
            raise ConfigurationError(unknown("entry of QiskitExecutor's options", option, _OPTIONS))
    if options.get("resilience_level"):
        warnings.warn(
            f"resilience_level={options['resilience_level']!r} asks for error mitigation, which simulations here do "
            "not have: results are what was measured.",
            UserWarning,
            stacklevel=3,
        )
    return {option: value for option, value in options.items() if option != "resilience_level" and value is not None}


def _aer_options(backend: str | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options for PennyLane's device ``qiskit.aer``."""
    for_aer = {option: value for option, value in options.items() if option == "seed_simulator"}
    if backend is None:
        return for_aer
    from pennylane_qexec.executors.fake_backends import NoisyBackend

    for_transpiler = {option: value for option, value in options.items() if option != "seed_simulator"}
    return {**for_aer, "backend": NoisyBackend(backend, **for_transpiler)}
