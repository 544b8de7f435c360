"""``local_aer``, ``local_pennylane`` and ``local_cirq``: simulators on this machine, some with the noise of IBM's.

IBM's machines that can be simulated are read off the files that describe them: importing the descriptions takes a
second, building the machines takes a minute, and listing their names takes neither.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Mapping
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import final

import pennylane as qml

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors import AerExecutor, DeviceExecutor
from pennylane_qexec.executors.pennylane.traits import DeviceTraits
from pennylane_qexec.job import Status
from pennylane_qexec.providers.backend import Backend, Provider, own_options

_CLASS = re.compile(r"^class (\w+)\(.*?(?=^class |\Z)", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"""^    backend_name = ["'](\w+)["']""", re.MULTILINE)
_FILE = re.compile(r"""^    conf_filename = ["']([\w.]+)["']""", re.MULTILINE)


@cache
def fake_backends() -> tuple[str, ...]:
    """The names of the fake backends that are installed, sorted; those that ``AerExecutor`` takes."""
    return tuple(sorted(_files() or _machines()))


@cache
def qubits(name: str) -> int:
    """How many qubits a fake backend has."""
    file = _files().get(name)
    if file is None:
        return int(_machines()[name]().num_qubits)
    return int(json.loads(file.read_bytes())["n_qubits"])


@cache
def _files() -> dict[str, Path]:
    """The file with the configuration of each fake backend; nothing, if they are not where they used to be."""
    spec = find_spec("qiskit_ibm_runtime")
    if spec is None or spec.origin is None:
        return {}
    folder = Path(spec.origin).parent / "fake_provider" / "backends"
    try:
        exported = set(re.findall(r"\w+", (folder / "__init__.py").read_text(encoding="utf-8")))
        sources = sorted(folder.glob("*/fake_*.py"))
        return {name: file for source in sources for name, file in _described(source, exported)}
    except OSError:
        return {}


def _described(source: Path, exported: set[str]) -> list[tuple[str, Path]]:
    """The names and files of the exported classes of a module."""
    found = []
    for match in _CLASS.finditer(source.read_text(encoding="utf-8")):
        name, file = _NAME.search(match[0]), _FILE.search(match[0])
        if match[1] in exported and name and file:
            found.append((name[1], source.parent / file[1]))
    return found


def _machines() -> dict[str, type]:
    """The fake backends themselves, which takes Qiskit."""
    machines: dict[str, type] = importlib.import_module("pennylane_qexec.executors.aer.noise").fake_machines()
    return machines


# Aer

IDEAL = "aer_simulator"
"""The name of the simulator without noise."""


@final
class LocalAer(Provider):
    """Qiskit's Aer simulator, as ``"aer_simulator"``, and every fake backend that is installed."""

    name = "local_aer"

    def backends(self) -> Mapping[str, Backend]:
        ideal = Backend(self.name, IDEAL, partial(AerExecutor, None), options=_aer_options)
        return {IDEAL: ideal, **{name: self._noisy(name) for name in fake_backends()}}

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
