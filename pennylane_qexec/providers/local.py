"""``local_aer``, ``local_pennylane`` and ``local_cirq``: simulators on this machine, some with the noise of IBM's."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache, partial
from typing import final

import pennylane as qml

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors import AerExecutor, DeviceExecutor
from pennylane_qexec.executors.pennylane.traits import DeviceTraits
from pennylane_qexec.job import Status
from pennylane_qexec.providers.backend import Backend, Provider, own_options
from pennylane_qexec.providers.fakes import fake_files, qubits

# Aer

IDEAL = "aer_simulator"
"""The name of the simulator without noise."""


@final
class LocalAer(Provider):
    """Qiskit's Aer simulator, as ``"aer_simulator"``, and every fake backend that is installed."""

    name = "local_aer"

    def backends(self) -> Mapping[str, Backend]:
        ideal = Backend(self.name, IDEAL, partial(AerExecutor, None), options=_aer_options)
        return {IDEAL: ideal, **{name: self._noisy(name) for name in fake_files()}}

    def _noisy(self, name: str) -> Backend:
        make, count = partial(AerExecutor, name), partial(qubits, name)
        return Backend(self.name, name, make, kind="noisy simulator", num_qubits=count, options=_aer_options)


@cache
def _aer_options() -> frozenset[str]:
    from pennylane_qexec.executors.aer.backend import known_options

    return own_options(AerExecutor, "backend") | frozenset(known_options())


# PennyLane and Cirq

_NOT_COUNTING = ("default.gaussian", "default.qutrit", "default.qutrit.mixed", "default.tensor", "null.qubit")
"""What simulates no qubits, has no shots, or computes nothing."""

_ELSEWHERE = ("cirq.", "qiskit.")
"""Local providers of their own have these."""

_CIRQ = {"simulator": "cirq.simulator", "density_matrix_simulator": "cirq.mixedsimulator"}


@final
class LocalPennyLane(Provider):
    """The simulators among the PennyLane devices that are installed, as far as they count outcomes of qubits.

    They are listed without being imported. One that lacks a package is offline, and says what it lacks when an
    executor is made.
    """

    name = "local_pennylane"

    def backends(self) -> Mapping[str, Backend]:
        names = [name for name in sorted(qml.plugin_devices) if _counts(name)]
        return {name: _backend(self.name, name, name, partial(_status, name)) for name in names}


@final
class LocalCirq(Provider):
    """Cirq's simulators of pure states and of density matrices."""

    name = "local_cirq"

    def backends(self) -> Mapping[str, Backend]:
        return {name: _backend(self.name, name, device) for name, device in _CIRQ.items()}


def _counts(device: str) -> bool:
    simulator = DeviceTraits.of(device, {}).simulator
    return simulator and device not in _NOT_COUNTING and not device.startswith(_ELSEWHERE)


def _backend(provider: str, name: str, device: str, ask: partial[Status] | None = None) -> Backend:
    return Backend(provider, name, partial(DeviceExecutor, device), ask=ask, options=partial(_options, device))


def _status(device: str) -> Status:
    """Whether a device can be built here; the first time, this imports it."""
    try:
        DeviceExecutor(device, wires=1)
    except ConfigurationError:
        return Status(online=False)
    return Status()


@cache
def _options(device: str) -> frozenset[str] | None:
    """The options of the executor, and of the device; ``None`` if the device takes whatever it is given."""
    try:
        parameters = inspect.signature(qml.plugin_devices[device].load()).parameters.values()
    except ImportError:
        return None  # making the executor will say what is missing
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    seeded = {"seed"} if DeviceTraits.of(device, {}).seeded_later else set()
    named = {parameter.name for parameter in parameters} | seeded
    return own_options(DeviceExecutor, "device", "device_options") | named
