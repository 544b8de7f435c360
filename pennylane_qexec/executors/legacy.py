"""Devices of PennyLane's older interface find out what they cannot do only while they run, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from pennylane.devices import Device, LegacyDeviceFacade
from pennylane.exceptions import DeviceError, WireError
from pennylane.measurements import ClassicalShadowMP, SampleMeasurement, ShadowExpvalMP, StateMeasurement
from pennylane.operation import StatePrepBase
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript


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
    device.target_device.check_validity(circuit.operations, circuit.observables)
    for measurement in circuit.measurements:
        sampled, exact = isinstance(measurement, SampleMeasurement), isinstance(measurement, StateMeasurement)
        if exact and not sampled and circuit.shots:
            raise DeviceError(f"{device.name} measures {measurement} without shots only")
        if sampled and not exact and not circuit.shots:
            raise DeviceError(f"{device.name} measures {measurement} with shots only")


def seed(device: LegacyDeviceFacade, seed: Any) -> None:
    """Have a device draw from a seeded simulator of the same kind as the one that it was built with."""
    kept = device.target_device
    kept._simulator = type(kept._simulator)(seed=seed)


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
        seed(device, np.random.RandomState(np.random.MT19937(number)))
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


def takes_shadows(device: Device, circuit: QuantumScript) -> bool:
    """Whether a legacy device takes classical shadows of this circuit.

    It runs circuits of its own for them: what it remembers of the other circuits of a batch is lost, and it takes a
    shot vector for one number of shots. Such circuits need a batch of their own for each number of shots.
    """
    shadows = any(isinstance(measurement, ClassicalShadowMP | ShadowExpvalMP) for measurement in circuit.measurements)
    return shadows and isinstance(device, LegacyDeviceFacade)
