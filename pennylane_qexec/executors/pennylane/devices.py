"""The PennyLane devices of an executor: one that the user built, or a name to build them from.

PennyLane's lightning.qubit draws one set of shots for all that it measures of a state; here each basis has its own. Its
simulator begins anew with one seed for every group of measurements, so that what does not commute comes out
correlated: the variance of a sum is then not that of a sum of independent shots. (Seen in pennylane-lightning 0.45.)
"""

from __future__ import annotations

import inspect
import itertools
import os
import secrets
import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pennylane as qml
from pennylane.devices import Device, ExecutionConfig, LegacyDevice, LegacyDeviceFacade
from pennylane.devices.preprocess import validate_device_wires
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.circuits.structure import wires_in_order
from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.executors.pennylane.legacy import replaced, seed_simulator, takes_seeds, with_own_gates
from pennylane_qexec.executors.pennylane.seeds import Numbering, goes_to_places, streams_of
from pennylane_qexec.executors.pennylane.traits import DeviceTraits, seen_options

_NAME = "lightning.qubit"
_MOST_SEED = 2**31 - 1


def draw_independently(device: Any) -> None:
    """Have a device draw new shots for each group of measurements. The first one's are those that it would draw."""
    if device.name == _NAME:
        device.LightningMeasurements = _with_own_shots(device.LightningMeasurements)


@contextmanager
def drawing_independently(device: Any) -> Iterator[None]:
    """Have somebody else's device do so for a while."""
    if device.name != _NAME:
        yield
        return
    with replaced(device, "LightningMeasurements", _with_own_shots(device.LightningMeasurements)):
        yield


@contextmanager
def with_wires_of(device: Any, circuit: QuantumScript) -> Iterator[None]:
    """Have lightning, where it has no wires of its own, take those of a circuit for those of all circuits for a while.

    For each circuit it would find them out anew, which takes half as long as it takes to run a small one.

    Args:
        device: the device.
        circuit: one of the circuits. All have its wires, in its order.
    """
    if device.name != _NAME or device.wires is not None or circuit.map_to_standard_wires() is not circuit:
        yield
        return
    with replaced(device, "_wires", Wires(range(circuit.num_wires))):
        yield


class _OwnShots:
    """What is added to lightning's class of measurements, of which there is an object for each state."""

    _qubit_state: Any
    _measurement_lightning: Any
    _last: Any = None

    def measure_with_samples(self, measurements: Any, shots: Any, mid_measurements: Any = None) -> Any:
        """Measure; of a sum, the terms come here again, for each bin of a shot vector."""
        if self._last is not None:
            self._begin_anew()
        return super().measure_with_samples(measurements, shots, mid_measurements)  # type: ignore[misc]

    def _measure_with_samples_diagonalizing_gates(self, mps: Any, shots: Any) -> Any:
        # What reads the state as it is may have one set of shots, as on a QPU.
        if self._last is not None and any(mp.diagonalizing_gates() for mp in [*self._last, *mps]):
            self._begin_anew()
        self._last = mps
        return super()._measure_with_samples_diagonalizing_gates(mps, shots)  # type: ignore[misc]

    def _begin_anew(self) -> None:
        self._measurement_lightning.set_random_seed(self._qubit_state._rng.integers(0, _MOST_SEED))


@lru_cache(maxsize=8)
def _with_own_shots(measurements: Any) -> Any:
    """The class of measurements, whose groups have seeds of their own."""
    if issubclass(measurements, _OwnShots):
        return measurements

    class Measurements(_OwnShots, measurements):
        pass

    return Measurements


_KEPT_DEVICES = 8
_QISKITS = ("qiskit.aer", "qiskit.basicsim")
_OF_QISKIT = "seed_simulator"
_MOST_GIVEN = 100_000
"""Seeds seen in devices that are at least this large are hardly ever a user's: without one, devices draw a seed from
some millions. Copies in other processes draw others then, or all of them would draw the same shots."""


_locks: WeakKeyDictionary[Any, threading.RLock] = WeakKeyDictionary()
"""The locks under which devices are used, one for all executors that have been given a device."""

_locking = threading.Lock()


class _DeviceSource:
    """Where devices come from."""

    takes_circuits_wires = False
    traits: DeviceTraits
    wires: Wires | None

    def with_wires(self, circuit: QuantumScript) -> tuple[QuantumScript, ...]:
        """The circuit; where the device does not find them itself, with the circuit's wires in its measurements."""
        needed = self.takes_circuits_wires or (self.wires is None and self.traits.needs_measured_wires)
        if not needed or not circuit.wires:
            return (circuit,)
        return tuple(validate_device_wires(circuit, wires=wires_in_order(circuit))[0])


class GivenDevice(_DeviceSource):
    """A device that the user built: one object, used by one thread at a time, in however many executors it is."""

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
        self._device = with_own_gates(device)
        with _locking:
            used = device.target_device if isinstance(device, LegacyDeviceFacade) else device
            self._lock = _locks.setdefault(used, threading.RLock())
        self.name = str(device.name)
        self.wires = device.wires
        self.seeded = False
        self.traits = DeviceTraits.of(self.name, seen_options(device))
        self.numbering = Numbering.seen_in(vars(device).get("_rng"))
        self._counter: itertools.count[int] | None = None

    @property
    def streams(self) -> frozenset[Hashable]:
        """What its generator was made of, if that can be seen."""
        if self._counter is not None:
            return self._streams
        generator = vars(self._device).get("_rng")
        origin = generator.bit_generator.seed_seq if isinstance(generator, np.random.Generator) else None
        return streams_of(origin.entropy) if isinstance(origin, np.random.SeedSequence) else frozenset()

    def reseed(self, seed: int) -> None:
        """Draw by this seed here; for others, the device draws as before."""
        if goes_to_places(vars(self._device).get("_rng")) or takes_seeds(self._device):
            self.numbering, self._streams = Numbering.of(seed), streams_of(seed)
            self._counter = itertools.count()

    def numbered(self, numbers: Sequence[int], circuits: int) -> tuple[Sequence[int], Numbering | None]:
        """The numbers of circuits, and what they draw from; none if the device goes on in its own stream."""
        if numbers or self._counter is None:
            return numbers, self.numbering
        return [next(self._counter) for _ in range(circuits)], self.numbering

    def device(self, circuit: QuantumScript | None) -> Device:
        return self._device

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._lock, drawing_independently(self._device):
            yield

    def program(self, device: Device, config: ExecutionConfig) -> Any:
        return device.preprocess_transforms(config)

    def with_seed(self, circuit: QuantumScript, seed: int) -> Device:
        return self._device

    def become_replica(self, number: int) -> None:
        pass

    def __reduce__(self) -> Any:
        raise TypeError(
            f"the device {self.name!r} was given as an object, which cannot be sent to another process. Give its name."
        )


class BuiltDevices(_DeviceSource):
    """A device's name and options, from which every thread builds its own, and keeps it.

    Attributes:
        options: what ``qml.device`` is given besides the name and the wires.
        seed_is_seen: whether its seed was not given here, but seen in a device, which may have drawn it itself.
    """

    def __init__(self, name: str, wires: Any, options: dict[str, Any]) -> None:
        known = qml.plugin_devices
        if name not in known:
            raise ConfigurationError(unknown("device", name, known, "Is the plug-in that brings it installed?"))
        self.name = name
        self.traits = DeviceTraits.of(name, options)
        if self.traits.seeded_later and {"seed", "simulator"} <= options.keys():
            raise ConfigurationError(f"seed= and simulator= were given for {name!r}: give the seed to the simulator.")
        self.options = options
        self.numbering = Numbering.of(self._seed)
        self._replica = 0
        self.seed_is_seen = False
        self._wires = wires
        self._start()
        self.wires = self._first_wires()

    def _start(self) -> None:
        self._local = threading.local()
        self._counter = itertools.count()
        self._built = 0
        self._lock = threading.Lock()

    def _first_wires(self) -> Wires | None:
        """Build the first device, which shows at once whether the options are right."""
        try:
            return self._new_device((None, False)).wires
        except ConfigurationError:
            if self._wires is not None:
                raise
            self.takes_circuits_wires = True
            self._new_device(((0,), False))
            return None

    @property
    def seeded(self) -> bool:
        """Whether a number was given as its seed."""
        return isinstance(self.options.get("seed"), int | np.integer)

    @property
    def _seed(self) -> Any:
        return self.options.get("seed", self.options.get(_OF_QISKIT))

    @property
    def streams(self) -> frozenset[Hashable]:
        """What stands for its seed."""
        return streams_of(self._seed)

    def reseed(self, seed: int) -> None:
        """Build all devices anew, with another seed, if they take one."""
        option = self._takes
        if option is not None:
            self.options = {**self.options, option: seed}
            self.numbering = Numbering.of(seed)
            self.seed_is_seen = False
            self._start()

    @property
    def _takes(self) -> str | None:
        """The option that is the device's seed."""
        if self.name in _QISKITS:
            return _OF_QISKIT
        if self.traits.seeded_later:
            return None if "simulator" in self.options else "seed"
        return "seed" if "seed" in inspect.signature(qml.plugin_devices[self.name].load()).parameters else None

    def numbered(self, numbers: Sequence[int], circuits: int) -> tuple[Sequence[int], Numbering | None]:
        """The numbers of circuits, and what they draw from; none if the device goes on in its own stream.

        Qiskit's devices would draw by their seed in every run anew, so that circuits are numbered as they come.
        """
        if numbers or self.numbering is None or _OF_QISKIT not in self.options:
            return numbers, self.numbering
        return [next(self._counter) for _ in range(circuits)], self.numbering.beside(self._replica)

    @property
    def packages(self) -> tuple[str, ...]:
        """The distribution that the device comes with."""
        found = qml.plugin_devices[self.name].dist
        return () if found is None else (found.name,)

    def device(self, circuit: QuantumScript | None) -> Device:
        plain = not self.takes_circuits_wires and self.traits.exact_options is None
        key = (None, False) if plain else self._key(circuit)
        try:
            return self._local.devices[key]
        except (AttributeError, KeyError):
            return self._new_device(key)

    def _key(self, circuit: QuantumScript | None) -> tuple[Any, bool]:
        """What a device is built for: the circuit's wires, if the device needs to know, and whether it is exact."""
        exact = circuit is not None and self.traits.exact_options is not None and circuit.shots.total_shots is None
        if not self.takes_circuits_wires:
            return None, exact
        wires = tuple(wires_in_order(circuit)) if circuit is not None and circuit.wires else (0,)
        return wires, exact

    def _new_device(self, key: tuple[Any, bool]) -> Device:
        devices: dict[tuple[Any, bool], Device] = self._local.__dict__.setdefault("devices", {})
        device = self._build(key, self._next_seeds())
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
        options = {**self.options, **(self.traits.exact_options or {} if exact else {}), **seeds}
        seed = options.pop("seed", None) if self.traits.seeded_later else None
        try:
            device = with_own_gates(
                qml.device(self.name, wires=wires if self._wires is None else self._wires, **options)
            )
            draw_independently(device)
            if seed is not None:
                seed_simulator(device, seed)
        except Exception as error:
            raise ConfigurationError(
                f"qml.device({self.name!r}, wires={wires if self._wires is None else self._wires!r}, ...) with options "
                f"{sorted(options)} failed: {type(error).__name__}: {error}"
            ) from error
        return device

    def _next_seeds(self) -> dict[str, Any]:
        """The option that is the seed of the next device, if it has one."""
        if "seed" in self.options and self.streams:
            return {"seed": self._next_seed(self.options["seed"])}
        # Without one, devices take a seed from NumPy's global generator, whose state a forked process has a copy of.
        return {"seed": secrets.randbits(31)} if self._replica and self._takes == "seed" else {}

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
        if not self.traits.simulator or qml.capture.enabled():
            return device.preprocess_transforms(config)
        programs: dict[int, tuple[bool, ExecutionConfig, Any]] = self._local.__dict__.setdefault("programs", {})
        by_graph = qml.decomposition.enabled_graph()
        last = programs.get(id(device))
        if last is None or last[0] is not by_graph or not _equal(config, last[1]):
            last = programs[id(device)] = (by_graph, config, device.preprocess_transforms(config))
        return last[2]

    def become_replica(self, number: int) -> None:
        self._replica = number + 1

    def __getstate__(self) -> dict[str, Any]:
        dropped = ("_local", "_lock", "_built", "_counter")
        return {"home": os.getpid(), **{key: value for key, value in self.__dict__.items() if key not in dropped}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        home = state.pop("home")
        self.__dict__.update(state)
        self._start()
        if self.seed_is_seen and home != os.getpid() and self.options["seed"] >= _MOST_GIVEN:
            self.reseed(secrets.randbits(31))


def _equal(one: ExecutionConfig, other: ExecutionConfig) -> bool:
    try:
        return bool(one == other)
    except ValueError:
        return False
