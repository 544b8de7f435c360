"""Where an executor's PennyLane devices come from: one that the user built, or a name to build them from."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.devices import Device, ExecutionConfig, LegacyDevice, LegacyDeviceFacade
from pennylane.devices.preprocess import validate_device_wires
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.executors import legacy
from pennylane_qexec.executors.numbering import Numbering
from pennylane_qexec.executors.quirks import Quirks
from pennylane_qexec.structure import wires_in_order

_KEPT_DEVICES = 8


class GivenDevice:
    """A device that the user built: one object, used by one thread at a time."""

    def __init__(self, device: Any, options: dict[str, Any]) -> None:
        if isinstance(device, LegacyDevice) and not isinstance(device, LegacyDeviceFacade):
            device = LegacyDeviceFacade(device)
        if not isinstance(device, Device):
            raise ConfigurationError(
                f"{device!r} is no PennyLane device: give a device, or a name that qml.device takes."
            )
        if options:
            raise ConfigurationError(
                f"the device {device.name!r} is built already: build it with {sorted(options)} yourself."
            )
        self._device = device
        self._lock = threading.RLock()
        self.name = str(device.name)
        self.wires: Wires | None = device.wires
        self.takes_circuits_wires = False
        self.seeded = False
        self.quirks = Quirks.of(self.name, _seen_options(device))
        self.numbering = Numbering.seen_in(vars(device).get("_rng"))

    def device(self, circuit: QuantumScript | None) -> Device:
        return self._device

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._lock:
            yield

    def program(self, device: Device, config: ExecutionConfig) -> Any:
        return device.preprocess_transforms(config)

    def with_wires(self, circuit: QuantumScript) -> tuple[QuantumScript, ...]:
        if self.wires is not None or not self.quirks.needs_measured_wires or not circuit.wires:
            return (circuit,)
        return tuple(validate_device_wires(circuit, wires=wires_in_order(circuit))[0])

    def with_seed(self, circuit: QuantumScript, seed: int) -> Device:
        return self._device

    def become_replica(self, number: int) -> None:
        pass

    def __reduce__(self) -> Any:
        raise TypeError(
            f"the device {self.name!r} was given as an object, which cannot be sent to another process. Give its name."
        )


class BuiltDevices:
    """A device's name and options, from which every thread builds its own, and keeps it."""

    def __init__(self, name: str, wires: Any, options: dict[str, Any]) -> None:
        known = qml.plugin_devices
        if name not in known:
            raise ConfigurationError(unknown("device", name, known, "Is the plug-in that brings it installed?"))
        self.name = name
        self.quirks = Quirks.of(name, options)
        if self.quirks.seeded_later and {"seed", "simulator"} <= options.keys():
            raise ConfigurationError(f"seed= and simulator= were given for {name!r}: give the seed to the simulator.")
        self._options = options
        self.numbering = Numbering.of(options.get("seed", options.get("seed_simulator")))
        self._replica = 0
        self._wires = wires
        self._start()
        self.takes_circuits_wires = False
        self.wires = self._first_wires()

    def _start(self) -> None:
        self._local = threading.local()
        self._built = 0
        self._lock = threading.Lock()

    def _first_wires(self) -> Wires | None:
        """Build the first device, which shows at once whether the options are right."""
        if self._wires is None:
            try:
                return self._device((None, False)).wires
            except ConfigurationError:
                self.takes_circuits_wires = True
                self._device(((0,), False))
                return None
        return self._device((None, False)).wires

    @property
    def options(self) -> Mapping[str, Any]:
        """What ``qml.device`` is given besides the name and the wires."""
        return self._options

    @property
    def seeded(self) -> bool:
        """Whether a number was given as its seed."""
        return isinstance(self._options.get("seed"), int | np.integer)

    @property
    def packages(self) -> tuple[str, ...]:
        """The distribution that the device comes with."""
        found = qml.plugin_devices[self.name].dist
        return () if found is None else (found.name,)

    def device(self, circuit: QuantumScript | None) -> Device:
        return self._device(self._key(circuit))

    def _key(self, circuit: QuantumScript | None) -> tuple[Any, bool]:
        """What a device is built for: the circuit's wires, if the device needs to know, and whether it is exact."""
        exact = circuit is not None and self.quirks.exact_options is not None and circuit.shots.total_shots is None
        if not self.takes_circuits_wires:
            return None, exact
        wires = tuple(wires_in_order(circuit)) if circuit is not None and circuit.wires else (0,)
        return wires, exact

    def _device(self, key: tuple[Any, bool]) -> Device:
        try:
            return self._local.devices[key]
        except (AttributeError, KeyError):
            return self._new_device(key)

    def _new_device(self, key: tuple[Any, bool]) -> Device:
        devices: dict[tuple[Any, bool], Device] = self._local.__dict__.setdefault("devices", {})
        seeds = {"seed": self._next_seed(self._options["seed"])} if "seed" in self._options else {}
        device = self._build(key, seeds)
        while len(devices) >= _KEPT_DEVICES:
            oldest = devices.pop(next(iter(devices)))
            self._local.__dict__.get("programs", {}).pop(id(oldest), None)
        devices[key] = device
        return device

    def with_seed(self, circuit: QuantumScript, seed: int) -> Device:
        """A new device for a circuit, with another seed."""
        return self._build(self._key(circuit), {"seed": seed})

    def _build(self, key: tuple[Any, bool], seeds: dict[str, Any]) -> Device:
        wires, exact = key
        options = {**self._options, **(self.quirks.exact_options or {} if exact else {}), **seeds}
        seed = options.pop("seed", None) if self.quirks.seeded_later else None
        try:
            device = qml.device(self.name, wires=wires if self._wires is None else self._wires, **options)
            if seed is not None:
                legacy.seed(device, seed)
        except Exception as error:
            raise ConfigurationError(
                f"qml.device({self.name!r}, wires={wires if self._wires is None else self._wires!r}, ...) with options "
                f"{sorted(options)} failed: {type(error).__name__}: {error}"
            ) from error
        return device

    def _next_seed(self, seed: Any) -> Any:
        """The seed itself for the first device; for every further one a stream of its own."""
        with self._lock:
            number, self._built = self._built, self._built + 1
        if (self._replica, number) == (0, 0) or not isinstance(seed, int | np.integer):
            return seed
        return int(np.random.SeedSequence([int(seed), self._replica, number]).generate_state(1)[0])

    def exclusive(self) -> nullcontext[None]:
        return nullcontext()

    def program(self, device: Device, config: ExecutionConfig) -> Any:
        """The device's program. That of the last call is kept: in a loop the configurations are equal."""
        if not self.quirks.simulator or qml.capture.enabled():
            return device.preprocess_transforms(config)
        programs: dict[int, tuple[bool, ExecutionConfig, Any]] = self._local.__dict__.setdefault("programs", {})
        by_graph = qml.decomposition.enabled_graph()
        last = programs.get(id(device))
        if last is None or last[0] is not by_graph or not _equal(config, last[1]):
            last = programs[id(device)] = (by_graph, config, device.preprocess_transforms(config))
        return last[2]

    def with_wires(self, circuit: QuantumScript) -> tuple[QuantumScript, ...]:
        """The circuit; where the device does not find them itself, with the circuit's wires in its measurements."""
        needed = self.takes_circuits_wires or (self.wires is None and self.quirks.needs_measured_wires)
        if not needed or not circuit.wires:
            return (circuit,)
        return tuple(validate_device_wires(circuit, wires=wires_in_order(circuit))[0])

    def become_replica(self, number: int) -> None:
        self._replica = number + 1

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_local", "_lock", "_built")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()


def _seen_options(device: Device) -> dict[str, Any]:
    """The options of a device built by somebody else, as far as its quirks depend on them."""
    if device.name == "default.mixed" and getattr(device, "readout_err", None):
        return {"readout_prob": device.readout_err}
    if str(device.name).startswith("cirq.") or not type(device).__module__.startswith("pennylane"):
        return {"built by": "somebody else"}
    if device.name != "qiskit.aer":
        return {}
    backend = device.target_device.backend
    return {"method": f"{backend.name} {backend.options.get('method')}"}


def _equal(one: ExecutionConfig, other: ExecutionConfig) -> bool:
    try:
        return bool(one == other)
    except ValueError:
        return False
