"""A local simulator with the options that Covalent's users know, and executors that give what a user's device gives."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from pennylane.devices import Device

from pennylane_qexec.concurrency.resources import cores
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.options import Parallel
from pennylane_qexec.executors.pennylane.executor import DeviceExecutor
from pennylane_qexec.executors.pennylane.traits import DeviceTraits
from pennylane_qexec.executors.shots import checked_shots

# Simulators by name

_IN_THE_CALLING_THREAD = ("auto", "sync", False, None)


class Simulator(DeviceExecutor):
    """Runs circuits on a local simulator.

    Args:
        device: the name of a simulator that ``qml.device`` takes.
        parallel: ``"thread"``: in threads. ``"process"``: in warm worker processes, which is faster for circuits that
            take more than a few milliseconds. ``"auto"``, ``"sync"`` or ``False``: in the calling thread, as long as
            that is possible and worth while. Or a :class:`concurrent.futures.Executor`.
        workers: how many threads or processes. There is never more than one process for each core.
        shots: 0 for the shots of the QNode, ``None`` for analytic results, or a number of shots. The latter two go
            before those of the QNode.
        name: how it is called in policies, tables and errors; default: the device's name.
        options: ``wires`` and the other options of :class:`DeviceExecutor`; what it does not know goes to
            ``qml.device``. Without ``wires`` it takes whatever wires a circuit has.

    Raises:
        ConfigurationError: there is no such simulator, or it does not take these options.
    """

    def __init__(
        self,
        device: str = "default.qubit",
        parallel: Parallel | str | bool | None = "thread",
        workers: int = 10,
        shots: int | None = 0,
        name: str | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(device, str):
            raise ConfigurationError(
                f"device={device!r} is no name: give a simulator's name, or use DeviceExecutor(device) for a device "
                "that is built already."
            )
        here = isinstance(parallel, str | bool | None) and parallel in _IN_THE_CALLING_THREAD
        where: Any = "auto" if here else parallel
        if parallel == "process" and isinstance(workers, int):
            workers = min(workers, cores())
        super().__init__(device, name=name, parallel=where, workers=1 if here else workers, **options)
        self.shots = checked_shots(shots)


# Executors that are like a device

_REBUILT = (
    "default.clifford",
    "default.mixed",
    "default.qubit",
    "lightning.gpu",
    "lightning.kokkos",
    "lightning.qubit",
    "null.qubit",
    "reference.qubit",
)
_ATTRIBUTES = {"readout_prob": "readout_err"}
_NOT_OPTIONS = ("self", "wires", "shots", "seed")
_SIMPLE = (bool, int, float, complex, str, type)
_CHANGES = {"tracker", "_rng", "_wires", "_shots", "_debugger", "_statevector", "_state_cache", "_intermediate_states"}
_CHANGES |= {"LightningMeasurements"}  # see executors.lightning
_CHANGES |= {"_max_workers"}  # the workers of an executor take the place of a device's own pool


def like(device: Device) -> Executor:
    """The executor that runs circuits as a device does.

    A simulator whose options can be seen is built anew, by its name, in every thread and worker process that needs
    one. If the device has drawn no random numbers yet, and this is asked for the first time, the simulator of the
    calling thread draws the same as the device would. All others have streams of their own, which follow from the
    device's seed. A simulator whose options cannot be seen is used as it is, by one thread at a time.

    Args:
        device: a device of PennyLane.

    Returns:
        The executor. For a device that is no simulator on this machine: a :class:`Simulator` in its place.

    Warns:
        UserWarning: the device is no local simulator, and is not used.
    """
    name = str(device.name)
    if not DeviceTraits.of(name, {}).simulator:
        warnings.warn(
            f"the QNode's device {name!r} is not known as a simulator on this machine, and is not used: default.qubit "
            "runs the circuits. To use the device, give it as an executor: executors=[device].",
            UserWarning,
            stacklevel=2,
        )
        return Simulator()
    return (_rebuilt(device) if name in _REBUILT else None) or DeviceExecutor(device)


def _rebuilt(device: Device) -> Executor | None:
    """An executor with devices of its own; ``None`` if they might differ from this device."""
    try:
        options = {**_options(device), **_seed(device)}
        # By number first, if they can be: lightning keeps a map of labels.
        numbered = device.wires is not None and device.wires.tolist() == list(range(len(device.wires)))
        for wires in [len(device.wires), device.wires] if numbered else [device.wires]:
            executor = DeviceExecutor(str(device.name), wires=wires, **options)
            executor.note_seed_of_another()
            if _same(device, executor.device()):
                return executor
    except (ConfigurationError, TypeError, ValueError):
        pass
    return None


def _options(device: Device) -> dict[str, Any]:
    """What the device was built with, as far as it still knows. :func:`_same` finds out what it does not know."""
    known: Mapping[str, Any] = {**vars(device).get("device_kwargs", {}), **vars(device)}
    options = {}
    for option, parameter in inspect.signature(type(device).__init__).parameters.items():
        attributes = () if option in _NOT_OPTIONS else (f"_{option}", option, _ATTRIBUTES.get(option))
        attribute = next((each for each in attributes if each in known), None)
        if attribute is not None and not _equal(known[attribute], parameter.default):
            options[option] = known[attribute]
    return options


def _same(device: Device, twin: Device) -> bool:
    """Whether two devices are of one class, and all that can be compared of them is equal."""
    if type(device) is not type(twin) or device.wires != twin.wires:
        return False
    return _equal(*({key: each for key, each in vars(one).items() if key not in _CHANGES} for one in (device, twin)))


def _equal(one: Any, other: Any) -> bool:
    """Whether two values are equal. Objects that hold something unseen are, if they are of one class."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_equal(value, other[key]) for key, value in one.items())
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other) if isinstance(one, _SIMPLE) else True


def _seed(device: Device) -> dict[str, Any]:
    """The seed for a twin, if the device has one. Every twin takes a child of the device's seed, which counts them.

    Raises:
        TypeError: the seed cannot be seen.
    """
    generator = vars(device).get("_rng")
    if generator is None:
        return {}
    origin = generator.bit_generator.seed_seq
    by_number = isinstance(origin, np.random.SeedSequence) and isinstance(origin.entropy, int | np.integer)
    if not by_number or not isinstance(generator.bit_generator, np.random.PCG64):
        raise TypeError("the seed cannot be seen")
    unused = generator.bit_generator.state == np.random.default_rng(origin.entropy).bit_generator.state
    first = origin.n_children_spawned == 0 and unused
    (child,) = origin.spawn(1)
    return {"seed": int(origin.entropy if first else child.generate_state(1, np.uint64)[0])}
