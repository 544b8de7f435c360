"""Any PennyLane device as an executor."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.devices import Device, ExecutionConfig, LegacyDevice, LegacyDeviceFacade
from pennylane.devices.preprocess import validate_device_wires
from pennylane.math import Interface
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.executors import legacy
from pennylane_qexec.executors.base import Binder, Bound, Cost, Executor, Parallel
from pennylane_qexec.executors.quirks import Quirks
from pennylane_qexec.job import Call, Result, Work

DERIVATIVES = ("adjoint", "backprop", "device")
"""Differentiation methods that a device does itself."""

_KEPT_DEVICES = 8


class DeviceExecutor(Executor):
    """Runs circuits on a PennyLane device, which prepares each circuit itself.

    A device given by name is built once in every thread and worker process that uses it. A device given as an object
    is shared, and used by one thread at a time.

    Args:
        device: a name that ``qml.device`` takes, or a device.
        wires: the device's wires, a number or labels; ``None`` for whatever wires a circuit has.
        name, workers, parallel, max_circuits, max_shots, batch_window, cost: see :class:`Executor`; the name's
            default is the device's.
        device_options: passed on to ``qml.device``.

    Raises:
        ConfigurationError: there is no such device, it does not take these options, or they do not go together.
    """

    def __init__(
        self,
        device: str | Device,
        *,
        wires: Any = None,
        name: str | None = None,
        workers: int | None = None,
        parallel: Parallel = "auto",
        max_circuits: int | None = None,
        max_shots: int | None = None,
        batch_window: float = 0.0,
        cost: Cost | Mapping[str, float] | None = None,
        **device_options: Any,
    ) -> None:
        factory = (
            _Given(device, device_options) if not isinstance(device, str) else _Built(device, wires, device_options)
        )
        super().__init__(
            name or factory.name,
            workers=workers,
            parallel=parallel,
            max_circuits=max_circuits,
            max_shots=max_shots,
            batch_window=batch_window,
            cost=cost,
        )
        if isinstance(factory, _Given) and (parallel not in ("auto", "thread") or (workers or 1) > 1):
            raise ConfigurationError(
                f"the device {factory.name!r} was given as an object, which one thread at a time can use. Give its "
                f"name and options instead, as {{'type': {factory.name!r}, 'workers': ...}}, to run it in parallel."
            )
        self._factory = factory

    @property
    def backend(self) -> str:
        """The name of the device."""
        return self._factory.name

    @property
    def local(self) -> bool:
        """Whether the device is a simulator that computes in this process."""
        return self._factory.quirks.simulator

    @property
    def shareable(self) -> bool:
        """Whether worker processes can have devices of their own."""
        return isinstance(self._factory, _Built)

    @property
    def wires(self) -> Wires | None:
        """The device's wires, in order; ``None`` if it takes any."""
        return self._factory.wires

    def device(self, circuit: QuantumScript | None = None) -> Device:
        """The device that the current thread uses, for this circuit."""
        return self._factory.device(circuit)

    def effort(self, circuits: Sequence[QuantumScript]) -> float:
        """Numbers to compute: the size of the state for each operation, and every bit of every shot."""
        exponent = 2 if self._factory.quirks.mixed else 1
        effort = 0.0
        for circuit in circuits:
            wires = len(circuit.wires if self.wires is None else self.wires)
            size = 2.0 ** (exponent * wires)
            effort += size * len(circuit.operations) * (circuit.batch_size or 1)
            effort += wires * (circuit.shots.total_shots or 0)
        return effort

    def rejects(self, circuit: QuantumScript) -> str | None:
        """Why the device cannot run this circuit, as far as can be told without preparing it."""
        if circuit.shots.total_shots is None and self._factory.quirks.needs_shots:
            return "needs a number of shots, and the circuit has none"
        if self.wires is not None and not self.wires.contains_wires(circuit.wires):
            strange = [wire for wire in circuit.wires if wire not in self.wires]
            return f"has {len(self.wires)} wires, and not {', '.join(map(repr, strange))}"
        return None

    def supports(self, config: ExecutionConfig, circuit: QuantumScript | None) -> bool:
        """Whether the device differentiates this circuit by the configuration's method."""
        device = self.device(circuit)
        with self._factory.exclusive():
            return bool(device.supports_derivatives(_for_device(config), circuit))

    def binder(self, config: ExecutionConfig, circuit: QuantumScript) -> Binder:
        """What prepares circuits by the device's own program."""
        device = self.device(circuit)
        with self._factory.exclusive():
            resolved = device.setup_execution_config(_for_device(config), circuit)
        return _Binder(self._factory, resolved)

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        """Prepare circuits, run them, and return their results."""
        return self.perform(Work(tuple(circuits)))

    def perform(self, work: Work) -> Sequence[Result]:
        """Carry out a batch; circuits that are not bound are prepared first."""
        return self._perform_bound(work) if work.call.bound else self._prepare_and_perform(work)

    def _perform_bound(self, work: Work) -> list[Result]:
        def place(index: int) -> tuple[Device, int | None]:
            device = self.device(work.circuits[index])
            return device, index if legacy.takes_shadows(device, work.circuits[index]) else None

        results: list[Result] = []
        for (device, _), group in groupby(range(len(work.circuits)), key=place):
            chosen = list(group)
            with self._factory.exclusive():
                results += _call(device, work, chosen)
        return results

    def _prepare_and_perform(self, work: Work) -> list[Result]:
        bounds = [self.binder(work.call.config, circuit)(circuit) for circuit in work.circuits]
        if work.call.method != "execute":
            _check_one_to_one(work, bounds, self.name)
        results: list[Result] = []
        for index, bound in enumerate(bounds):
            call = Call(work.call.method, bound.config, bound=True)
            vectors = work.vectors[index : index + 1]
            raw = self._perform_bound(Work(bound.circuits, call, vectors)) if bound.circuits else []
            results.append(bound.postprocess(raw) if work.call.method == "execute" else raw[0])
        return results

    def become_replica(self, number: int) -> None:
        """Draw from a stream of random numbers of this replica's own."""
        self._factory.become_replica(number)


def _call(device: Device, work: Work, chosen: list[int]) -> list[Result]:
    circuits = tuple(work.circuits[index] for index in chosen)
    vectors = (tuple(work.vectors[index] for index in chosen),) if work.vectors else ()
    results = getattr(device, work.call.method)(circuits, *vectors, execution_config=work.call.config)
    if work.call.method.startswith("execute_and"):
        return list(zip(*results, strict=True))
    return list(results)


def _check_one_to_one(work: Work, bounds: Sequence[Bound], name: str) -> None:
    for circuit, bound in zip(work.circuits, bounds, strict=True):
        if len(bound.circuits) != 1 or bound.circuits[0].num_params != circuit.num_params:
            raise ConfigurationError(
                f"the derivative of a circuit that was prepared for another executor cannot be computed on {name!r}, "
                "which would take it apart. Use diff_method='parameter-shift', or executors of one kind."
            )


def _for_device(config: ExecutionConfig) -> ExecutionConfig:
    """What a sub-device has to know of a call: parameters are numbers already, but for backprop."""
    derivative = config.gradient_method in (*DERIVATIVES, "best")
    return replace(
        config,
        device_options={},
        interface=config.interface if config.gradient_method == "backprop" else Interface.NUMPY,
        gradient_method=config.gradient_method if derivative else None,
        gradient_keyword_arguments=config.gradient_keyword_arguments if derivative else {},
        use_device_gradient=config.use_device_gradient if derivative else None,
        grad_on_execution=config.grad_on_execution if derivative else None,
    )


def _equal(one: ExecutionConfig, other: ExecutionConfig) -> bool:
    try:
        return bool(one == other)
    except ValueError:
        return False


class _Binder:
    """Prepares circuits by the program that a device has for one configuration."""

    def __init__(self, factory: _Given | _Built, config: ExecutionConfig) -> None:
        self._factory = factory
        self._config = config
        self._programs: dict[int, Any] = {}

    def __call__(self, circuit: QuantumScript) -> Bound:
        if circuit.shots.has_partitioned_shots and self._takes_no_shot_vector(circuit):
            return self._each_number_of_shots(circuit)
        if circuit.shots and self._factory.quirks.prepares_exactly_only:
            circuit = legacy.with_preparation_decomposed(circuit)
        device = self._factory.device(circuit)
        with self._factory.exclusive():
            program = self._programs.get(id(device))
            if program is None:
                program = self._programs[id(device)] = self._factory.program(device, self._config)
            circuits, postprocess = program(self._factory.with_wires(circuit))
        for one in circuits:
            legacy.check(device, one)
        return Bound(tuple(circuits), self._config, lambda results: postprocess(results)[0])

    def _takes_no_shot_vector(self, circuit: QuantumScript) -> bool:
        return self._factory.quirks.no_shot_vectors or legacy.takes_shadows(self._factory.device(circuit), circuit)

    def _each_number_of_shots(self, circuit: QuantumScript) -> Bound:
        parts = [self(circuit.copy(shots=shots)) for shots in circuit.shots]

        def postprocess(results: Sequence[Result]) -> Result:
            remaining = iter(results)
            return tuple(part.postprocess([next(remaining) for _ in part.circuits]) for part in parts)

        return Bound(tuple(one for part in parts for one in part.circuits), self._config, postprocess)


class _Given:
    """A device that the user built: one object, used by one thread at a time."""

    def __init__(self, device: Any, options: dict[str, Any]) -> None:
        if isinstance(device, LegacyDevice):
            device = LegacyDeviceFacade(device)
        if not isinstance(device, Device):
            raise ConfigurationError(
                f"{device!r} is no PennyLane device: give a device, or a name that qml.device takes."
            )
        if options:
            raise ConfigurationError(
                f"the device {device.name!r} is built already: build it with {options!r} yourself."
            )
        self._device = device
        self._lock = threading.RLock()
        self.name = str(device.name)
        self.wires: Wires | None = device.wires
        self.quirks = Quirks.of(self.name, {})

    def device(self, circuit: QuantumScript | None) -> Device:
        return self._device

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        with self._lock:
            yield

    def program(self, device: Device, config: ExecutionConfig) -> Any:
        return device.preprocess_transforms(config)

    def with_wires(self, circuit: QuantumScript) -> tuple[QuantumScript, ...]:
        return (circuit,)

    def become_replica(self, number: int) -> None:
        pass

    def __reduce__(self) -> Any:
        raise TypeError(
            f"the device {self.name!r} was given as an object, which cannot be sent to another process. Give its name."
        )


class _Built:
    """A device's name and options, from which every thread builds its own, and keeps it."""

    def __init__(self, name: str, wires: Any, options: dict[str, Any]) -> None:
        known = qml.plugin_devices
        if name not in known:
            raise ConfigurationError(unknown("device", name, known, "Is the plug-in that brings it installed?"))
        self.name = name
        self.quirks = Quirks.of(name, options)
        self._options = options
        self._replica = 0
        self._wires = wires
        self._start()
        self._needs_wires = False
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
                self._needs_wires = True
                self._device(((0,), False))
                return None
        return self._device((None, False)).wires

    def device(self, circuit: QuantumScript | None) -> Device:
        exact = circuit is not None and self.quirks.exact_options is not None and circuit.shots.total_shots is None
        if not self._needs_wires:
            return self._device((None, exact))
        wires = tuple(circuit.wires) if circuit is not None and circuit.wires else (0,)
        return self._device((wires, exact))

    def _device(self, key: tuple[Any, bool]) -> Device:
        try:
            return self._local.devices[key]
        except (AttributeError, KeyError):
            return self._new_device(key)

    def _new_device(self, key: tuple[Any, bool]) -> Device:
        devices: dict[tuple[Any, bool], Device] = self._local.__dict__.setdefault("devices", {})
        wires, exact = key
        options = {**self._options, **(self.quirks.exact_options or {} if exact else {})}
        if "seed" in options:
            options["seed"] = self._next_seed(options["seed"])
        try:
            device = qml.device(self.name, wires=wires if self._wires is None else self._wires, **options)
        except Exception as error:
            raise ConfigurationError(
                f"qml.device({self.name!r}, wires={wires if self._wires is None else self._wires!r}, ...) with options "
                f"{sorted(options)} failed: {type(error).__name__}: {error}"
            ) from error
        while len(devices) >= _KEPT_DEVICES:
            del devices[next(iter(devices))]
        devices[key] = device
        return device

    def _next_seed(self, seed: Any) -> Any:
        """The seed itself for the first device; for every further one a stream of its own."""
        with self._lock:
            number, self._built = self._built, self._built + 1
        if (self._replica, number) == (0, 0) or not isinstance(seed, int):
            return seed
        return int(np.random.SeedSequence([seed, self._replica, number]).generate_state(1)[0])

    def exclusive(self) -> nullcontext[None]:
        return nullcontext()

    def program(self, device: Device, config: ExecutionConfig) -> Any:
        """The device's program. That of the last call is kept: in a loop the configurations are equal."""
        if not self.quirks.simulator or qml.capture.enabled():
            return device.preprocess_transforms(config)
        programs = self._local.__dict__.setdefault("programs", weakref.WeakKeyDictionary())
        last_config, program = programs.get(device, (None, None))
        if last_config is None or not _equal(config, last_config):
            program = device.preprocess_transforms(config)
            programs[device] = (config, program)
        return program

    def with_wires(self, circuit: QuantumScript) -> tuple[QuantumScript, ...]:
        """The circuit; where the device is built for the circuit's wires, with those wires in its measurements."""
        if not self._needs_wires or not circuit.wires:
            return (circuit,)
        return tuple(validate_device_wires(circuit, wires=circuit.wires)[0])

    def become_replica(self, number: int) -> None:
        self._replica = number + 1

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_local", "_lock", "_built")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()
