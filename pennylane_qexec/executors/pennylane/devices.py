"""The PennyLane devices of an executor: built from a name or given by the user, and what is known of them.

Devices do not say all of it themselves, and those of PennyLane's older interface find out what they cannot do only
while they run, or not at all.
"""

from __future__ import annotations

import inspect
import itertools
import os
import secrets
import threading
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from copy import copy
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pennylane as qml
from pennylane.devices import Device, ExecutionConfig, LegacyDevice, LegacyDeviceFacade, QubitDevice
from pennylane.devices.preprocess import validate_device_wires
from pennylane.exceptions import DeviceError, WireError
from pennylane.measurements import (
    ClassicalShadowMP,
    ExpectationMP,
    MeasurementProcess,
    MutualInfoMP,
    ProbabilityMP,
    SampleMeasurement,
    ShadowExpvalMP,
    StateMeasurement,
    StateMP,
    VarianceMP,
    VnEntropyMP,
)
from pennylane.operation import StatePrepBase
from pennylane.ops import Prod, SProd, Sum
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.circuits.sampling import can_pool
from pennylane_qexec.circuits.structure import wires_in_order
from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.executors.pennylane import lightning
from pennylane_qexec.executors.pennylane.seeds import Numbering, goes_to_places, streams_of

_SIMULATORS = ("default.", "lightning.", "cirq.", "reference.", "null.", "qiskit.aer", "qiskit.basicsim")
_MIXED = ("default.mixed", "cirq.mixedsimulator")
_SEEDED_LATER = ("cirq.simulator", "cirq.mixedsimulator")
_NOT_EXACT = ("backend", "method", "noise_model")
_IDEAL = frozenset({"default.qubit", "default.mixed", "default.clifford", "reference.qubit"}) | frozenset(
    {"lightning.qubit", "lightning.gpu", "lightning.kokkos", "lightning.amdgpu"}
    | {"cirq.simulator", "cirq.mixedsimulator", "cirq.qsim", "qiskit.aer", "qiskit.basicsim"}
)
_WITHOUT_EFFECT = {"seed", "seed_simulator", "c_dtype", "batch_obs", "mpi", "max_workers", "qubits"}
"""Options that leave the distribution of results as it is."""


@dataclass(frozen=True)
class Quirks:
    """What is known of a device.

    Attributes:
        simulator: it computes in this process.
        mixed: its state has ``4**n`` numbers, not ``2**n``.
        no_shot_vectors: it runs a shot vector as one number of shots, so each number needs a circuit of its own.
        prepares_exactly_only: with shots it runs no state preparation, so that has to be decomposed first.
        needs_shots: given an analytic circuit, it would estimate from shots of its own choosing.
        needs_measured_wires: without wires of its own, it does not measure all wires of a circuit in their order.
        rotates_letters_only: it reads observables other than Paulis and Hadamards as if they were diagonal.
        takes_roots: its probabilities cannot be differentiated where they are zero.
        seeded_later: it takes no seed, and the simulator in it does.
        ideal: its results are those of theory, without noise and approximations.
        exact_options: options of a second device, for analytic circuits; ``None`` if one device does both.
    """

    simulator: bool = False
    mixed: bool = False
    no_shot_vectors: bool = False
    prepares_exactly_only: bool = False
    needs_shots: bool = False
    needs_measured_wires: bool = False
    rotates_letters_only: bool = False
    takes_roots: bool = False
    seeded_later: bool = False
    ideal: bool = False
    exact_options: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, name: str, options: Mapping[str, Any]) -> Quirks:
        """What is known of the device with this name, built with these options."""
        qiskit = name.startswith("qiskit.")
        exact = name == "qiskit.aer" and not any(option in options for option in _NOT_EXACT)
        return cls(
            simulator=name.startswith(_SIMULATORS),
            mixed=name in _MIXED,
            no_shot_vectors=qiskit,
            prepares_exactly_only=name.startswith("cirq."),
            needs_shots=qiskit and not exact and "statevector" not in str(options.get("method", "")),
            needs_measured_wires=name == "reference.qubit",
            rotates_letters_only=name == "reference.qubit",
            takes_roots=name == "default.mixed",
            seeded_later=name in _SEEDED_LATER,
            ideal=name in _IDEAL and _WITHOUT_EFFECT.issuperset(options),
            exact_options={"method": "statevector"} if exact else None,
        )


_LETTERS: Mapping[Any, str] = {qml.X: "X", qml.Y: "Y", qml.Z: "Z"}
_ESTIMATED = {ExpectationMP: "expval", VarianceMP: "var", ProbabilityMP: "probability"}
"""What a :class:`pennylane.devices.QubitDevice` computes of :meth:`analytic_probability`, unless it knows better."""


def with_whole_state(device: Device, circuit: QuantumScript) -> QuantumScript:
    """The circuit as a legacy device takes it, which for a state with wires returns the density matrix of these."""
    if not isinstance(device, LegacyDeviceFacade):
        return circuit
    wires = device.wires or Wires([])
    if not any(type(mp) is StateMP and mp.wires == wires for mp in circuit.measurements):
        return circuit
    return circuit.copy(
        measurements=[StateMP() if type(mp) is StateMP and mp.wires == wires else mp for mp in circuit.measurements]
    )


def check(device: Device, circuit: QuantumScript) -> None:
    """Refuse a prepared circuit that a legacy device would fail on, or answer wrongly.

    Raises:
        DeviceError: an operation or observable that the device does not have, a sampled measurement without shots, or
            a measurement of the state with shots (which the device would compute exactly, or not as one measures it).
        WireError: mid-circuit measurements were deferred to wires that the device does not have.
    """
    if not isinstance(device, LegacyDeviceFacade):
        return
    if device.wires is not None and not device.wires.contains_wires(circuit.wires):
        raise WireError(
            f"{device.name} has the wires {device.wires.tolist()}, and deferring mid-circuit measurements takes "
            f"{circuit.wires.tolist()}"
        )
    target = device.target_device
    target.check_validity(circuit.operations, _checked_by(target, circuit.observables))
    for measurement in circuit.measurements:
        objection = _objection(device, target, measurement, bool(circuit.shots))
        if objection is not None:
            raise DeviceError(f"{device.name} {objection}")


def _checked_by(target: Any, observables: Sequence[Any]) -> Sequence[Any]:
    """The observables that a device has to know.

    A device that carries out whole batches itself is not asked by PennyLane, and so need not list products to measure
    them: Qiskit's do not.
    """
    if type(target).batch_execute in (LegacyDevice.batch_execute, QubitDevice.batch_execute):
        return observables
    return [one for observable in observables for one in _factors(observable)]


def _factors(observable: Any) -> Iterator[Any]:
    if isinstance(observable, Prod):
        for operand in observable.operands:
            yield from _factors(operand)
    else:
        yield observable


def _objection(device: Device, target: Any, measurement: MeasurementProcess, sampling: bool) -> str | None:
    """Why a device does not measure something, as the end of a sentence."""
    sampled, exact = isinstance(measurement, SampleMeasurement), isinstance(measurement, StateMeasurement)
    if sampling:
        if exact and not sampled:
            return f"measures {measurement} without shots only: it is not accepted with finite shots"
        return None if target.capabilities().get("supports_finite_shots", True) else "runs circuits without shots only"
    if (sampled and not exact) or isinstance(measurement, ClassicalShadowMP | ShadowExpvalMP):
        return f"measures {measurement} with shots only"
    method = _ESTIMATED.get(type(measurement))
    if method is not None:
        computes = not isinstance(target, QubitDevice) or any(
            _has_its_own(target, name) for name in (method, "probability", "analytic_probability")
        )
        return None if computes else f"estimates {measurement} from shots, and the circuit has none"
    if type(measurement) is StateMP and measurement.wires:
        return f"has the state of its wires in their own order, {target.wires.tolist()}, only"
    if exact and device.shots.total_shots is None and not target.capabilities().get("returns_state"):
        return f"has no state, of which {measurement} is made"
    if exact and Quirks.of(device.name, {}).mixed and type(measurement) is not StateMP:
        return f"has a density matrix, which PennyLane takes for state vectors when it measures {measurement}"
    labelled = isinstance(measurement, VnEntropyMP | MutualInfoMP) and target.wires != Wires(range(target.num_wires))
    return f"measures {measurement} only if its wires are numbered from 0" if labelled else None


def _has_its_own(target: Any, name: str) -> bool:
    return getattr(type(target), name) is not getattr(QubitDevice, name)


def together(device: Device, circuit: QuantumScript) -> list[list[int]]:
    """Which measurements of a circuit a legacy device can take in one run, as indices.

    Such a device rotates each observable's wires for itself, and then reads everything off what has become of them:
    probabilities, counts, samples and states also. PennyLane separates observables of different bases, but does not
    look at what is measured without one, nor at the state; and of an identity it knows the expectation value only.
    """
    measurements = circuit.measurements
    everything = list(range(len(measurements)))
    if len(measurements) < 2 or not isinstance(device, LegacyDeviceFacade) or all(map(_is_expectation, measurements)):
        return [everything]
    terms = [index for index in everything if _has_terms(measurements[index])]
    alone = [index for index in everything if index not in terms and _is_alone(measurements[index])]
    shared: list[tuple[list[int], dict[Any, Any]]] = []
    wires = Wires.all_wires([device.wires or [], circuit.wires])
    for index in sorted({*everything} - {*terms} - {*alone}):
        basis = _basis(measurements[index], wires)
        for indices, read in shared:
            if all(read.get(wire, letter) == letter for wire, letter in basis.items()):
                indices.append(index)
                read.update(basis)
                break
        else:
            shared.append(([index], basis))
    return [*(indices for indices, _ in shared), *([index] for index in alone), *([terms] if terms else [])]


def _is_expectation(measurement: MeasurementProcess) -> bool:
    return isinstance(measurement, ExpectationMP) and measurement.obs is not None


def _has_terms(measurement: MeasurementProcess) -> bool:
    """Whether PennyLane takes a measurement apart by itself, in a circuit that has nothing else than such ones."""
    return _is_expectation(measurement) and isinstance(measurement.obs, Sum | SProd)


def _is_alone(measurement: MeasurementProcess) -> bool:
    """Whether nothing may be measured beside it: a state, a shadow, an identity or a sum."""
    if not isinstance(measurement, SampleMeasurement):
        return True
    observable: Any = measurement.obs
    if isinstance(observable, Sum | SProd):
        return True
    return observable is not None and all(isinstance(one, qml.Identity) for one in _factors(observable))


def _basis(measurement: MeasurementProcess, wires: Wires) -> dict[Any, Any]:
    """What a measurement needs its wires to be read in: a letter, or an object of its own for whatever is no Pauli."""
    if measurement.obs is None:
        return dict.fromkeys(measurement.wires or wires, "Z")
    letters: dict[Any, Any] = {}
    for factor in _factors(measurement.obs):
        if isinstance(factor, qml.Identity):
            continue
        letter = _LETTERS.get(type(factor))
        if letter is None or factor.wires[0] in letters:
            return dict.fromkeys(measurement.obs.wires, object())
        letters[factor.wires[0]] = letter
    return letters


def with_own_gates(device: Device) -> Device:
    """The device; one of Cirq's with gates of its own.

    It sets the parameters of a gate in an object that all Cirq devices of the process share, and then applies it: two
    threads with a device each would apply each other's parameters, without an error.
    """
    target: Any = device.target_device if isinstance(device, LegacyDeviceFacade) else device
    if any(base.__module__.startswith("pennylane_cirq.") for base in type(target).__mro__):
        target._operation_map = {name: copy(gate) for name, gate in target._operation_map.items()}
        target._observable_map = {name: copy(gate) for name, gate in target._observable_map.items()}
    return device


def seed_simulator(device: LegacyDeviceFacade, seed: Any) -> None:
    """Have a device draw from a seeded simulator of the same kind as the one that it was built with."""
    kept = device.target_device
    kept._simulator = type(kept._simulator)(seed=seed)


def takes_seeds(device: Device) -> bool:
    """Whether it is a device that can be told in every call by which seed to draw; see :func:`drawing_by`."""
    known = vars(device.target_device) if isinstance(device, LegacyDeviceFacade) else {}
    return "seed_simulator" in known.get("run_args", ()) or "_simulator" in known


@contextmanager
def drawing_by(device: Device, number: int) -> Iterator[bool]:
    """Have a device that was built with a seed draw by another one, for a while.

    Args:
        device: the device.
        number: the seed, below ``2**63``.

    Yields:
        Whether it is a device of which it is known how.
    """
    target: Any = device.target_device if isinstance(device, LegacyDeviceFacade) else None
    known = {} if target is None else vars(target)
    if "seed_simulator" in known.get("run_args", ()):  # Qiskit's
        kept, target.run_args = target.run_args, {**target.run_args, "seed_simulator": number}
        try:
            yield True
        finally:
            target.run_args = kept
    elif "_simulator" in known:  # Cirq's
        kept = target._simulator
        seed_simulator(device, np.random.RandomState(np.random.MT19937(number)))
        try:
            yield True
        finally:
            target._simulator = kept
    else:
        yield False


def with_preparation_decomposed(circuit: QuantumScript) -> QuantumScript:
    """The circuit with gates in place of state preparations."""
    if not any(isinstance(operation, StatePrepBase) for operation in circuit.operations):
        return circuit
    with QueuingManager.stop_recording():
        operations = [
            gate
            for operation in circuit.operations
            for gate in (operation.decomposition() if isinstance(operation, StatePrepBase) else [operation])
        ]
    return circuit.copy(operations=operations)


def samples_bits(device: Device, circuit: QuantumScript) -> bool:
    """Whether all that a circuit measures on a legacy device can be made of one row of bits for each shot."""
    if not isinstance(device, LegacyDeviceFacade) or takes_shadows(device, circuit):
        return False
    return device.target_device.capabilities().get("model") == "qubit" and can_pool(circuit)


def takes_shadows(device: Device, circuit: QuantumScript) -> bool:
    """Whether a legacy device takes classical shadows of this circuit.

    It runs circuits of its own for them: what it remembers of the other circuits of a batch is lost, and it takes a
    shot vector for one number of shots. Such circuits need a batch of their own for each number of shots.
    """
    shadows = any(isinstance(measurement, ClassicalShadowMP | ShadowExpvalMP) for measurement in circuit.measurements)
    return shadows and isinstance(device, LegacyDeviceFacade)


_KEPT_DEVICES = 8
_QISKITS = ("qiskit.aer", "qiskit.basicsim")
_OF_QISKIT = "seed_simulator"
_MOST_GIVEN = 100_000
"""Seeds seen in devices that are at least this large are hardly ever a user's: without one, devices draw a seed from
some millions. Copies in other processes draw others then, or all of them would draw the same shots."""


_locks: WeakKeyDictionary[Any, threading.RLock] = WeakKeyDictionary()
_locking = threading.Lock()


def _lock_of(device: Device) -> threading.RLock:
    """The lock under which a device is used, one for all executors that have been given it."""
    used = device.target_device if isinstance(device, LegacyDeviceFacade) else device
    with _locking:
        return _locks.setdefault(used, threading.RLock())


class GivenDevice:
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
        self._lock = _lock_of(device)
        self.name = str(device.name)
        self.wires: Wires | None = device.wires
        self.takes_circuits_wires = False
        self.seeded = False
        self.quirks = Quirks.of(self.name, _seen_options(device))
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
        with self._lock, lightning.drawing_independently(self._device):
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
    """A device's name and options, from which every thread builds its own, and keeps it.

    Attributes:
        seed_is_seen: whether its seed was not given here, but seen in a device, which may have drawn it itself.
    """

    def __init__(self, name: str, wires: Any, options: dict[str, Any]) -> None:
        known = qml.plugin_devices
        if name not in known:
            raise ConfigurationError(unknown("device", name, known, "Is the plug-in that brings it installed?"))
        self.name = name
        self.quirks = Quirks.of(name, options)
        if self.quirks.seeded_later and {"seed", "simulator"} <= options.keys():
            raise ConfigurationError(f"seed= and simulator= were given for {name!r}: give the seed to the simulator.")
        self._options = options
        self.numbering = Numbering.of(self._seed)
        self._replica = 0
        self.seed_is_seen = False
        self._wires = wires
        self._start()
        self.takes_circuits_wires = False
        self.wires = self._first_wires()

    def _start(self) -> None:
        self._local = threading.local()
        self._counter = itertools.count()
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
    def _seed(self) -> Any:
        return self._options.get("seed", self._options.get(_OF_QISKIT))

    @property
    def streams(self) -> frozenset[Hashable]:
        """What stands for its seed."""
        return streams_of(self._seed)

    def reseed(self, seed: int) -> None:
        """Build all devices anew, with another seed, if they take one."""
        option = self._takes
        if option is not None:
            self._options = {**self._options, option: seed}
            self.numbering = Numbering.of(seed)
            self.seed_is_seen = False
            self._start()

    @property
    def _takes(self) -> str | None:
        """The option that is the device's seed."""
        if self.name in _QISKITS:
            return _OF_QISKIT
        if self.quirks.seeded_later:
            return None if "simulator" in self._options else "seed"
        return "seed" if "seed" in inspect.signature(qml.plugin_devices[self.name].load()).parameters else None

    def numbered(self, numbers: Sequence[int], circuits: int) -> tuple[Sequence[int], Numbering | None]:
        """The numbers of circuits, and what they draw from; none if the device goes on in its own stream.

        Qiskit's devices would draw by their seed in every run anew, so that circuits are numbered as they come.
        """
        if numbers or self.numbering is None or _OF_QISKIT not in self._options:
            return numbers, self.numbering
        return [next(self._counter) for _ in range(circuits)], self.numbering.beside(self._replica)

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
        options = {**self._options, **(self.quirks.exact_options or {} if exact else {}), **seeds}
        seed = options.pop("seed", None) if self.quirks.seeded_later else None
        try:
            device = with_own_gates(
                qml.device(self.name, wires=wires if self._wires is None else self._wires, **options)
            )
            lightning.draw_independently(device)
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
        if "seed" in self._options and self.streams:
            return {"seed": self._next_seed(self._options["seed"])}
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
        dropped = ("_local", "_lock", "_built", "_counter")
        return {"home": os.getpid(), **{key: value for key, value in self.__dict__.items() if key not in dropped}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        home = state.pop("home")
        self.__dict__.update(state)
        self._start()
        if self.seed_is_seen and home != os.getpid() and self._options["seed"] >= _MOST_GIVEN:
            self.reseed(secrets.randbits(31))


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
