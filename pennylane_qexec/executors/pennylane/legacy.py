"""Devices of PennyLane's older interface, which find out what they cannot do only while they run, or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from itertools import compress
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.devices import Device, LegacyDevice, LegacyDeviceFacade, QubitDevice
from pennylane.exceptions import DeviceError, WireError
from pennylane.measurements import (
    ExpectationMP,
    MeasurementProcess,
    MutualInfoMP,
    ProbabilityMP,
    SampleMeasurement,
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

from pennylane_qexec.circuits.sampling import SHADOWS, can_pool
from pennylane_qexec.executors.pennylane.traits import DeviceTraits

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
    # The state has all wires; rotations by nothing tell, since devices' programs take out what does nothing.
    used = {wire for one in circuit.operations if not isinstance(one, qml.Barrier | qml.Identity) for wire in one.wires}
    unused = [qml.RZ(0.0, wire) for wire in wires if wire in circuit.wires and wire not in used]
    return circuit.copy(
        operations=[*circuit.operations, *unused],
        measurements=[StateMP() if type(mp) is StateMP and mp.wires == wires else mp for mp in circuit.measurements],
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
    if (sampled and not exact) or isinstance(measurement, SHADOWS):
        return f"measures {measurement} with shots only"
    method = _ESTIMATED.get(type(measurement))
    if method is not None:
        computes = not isinstance(target, QubitDevice) or any(
            getattr(type(target), name) is not getattr(QubitDevice, name)
            for name in (method, "probability", "analytic_probability")
        )
        return None if computes else f"estimates {measurement} from shots, and the circuit has none"
    if type(measurement) is StateMP and measurement.wires:
        return f"has the state of its wires in their own order, {target.wires.tolist()}, only"
    if exact and device.shots.total_shots is None and not target.capabilities().get("returns_state"):
        return f"has no state, of which {measurement} is made"
    if exact and DeviceTraits.of(device.name, {}).mixed and type(measurement) is not StateMP:
        return f"has a density matrix, which PennyLane takes for state vectors when it measures {measurement}"
    labelled = isinstance(measurement, VnEntropyMP | MutualInfoMP) and target.wires != Wires(range(target.num_wires))
    return f"measures {measurement} only if its wires are numbered from 0" if labelled else None


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
    # PennyLane takes sums apart by itself, in a circuit that has nothing else than such ones.
    sums = [_is_expectation(one) and isinstance(one.obs, Sum | SProd) for one in measurements]
    terms = list(compress(everything, sums))
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


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Give an object another attribute for a while."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


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
        with replaced(target, "run_args", {**target.run_args, "seed_simulator": number}):
            yield True
    elif "_simulator" in known:  # Cirq's
        with replaced(target, "_simulator", target._simulator):
            seed_simulator(device, np.random.RandomState(np.random.MT19937(number)))
            yield True
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
    if not isinstance(device, LegacyDeviceFacade) or takes_shadows(circuit):
        return False
    return device.target_device.capabilities().get("model") == "qubit" and can_pool(circuit)


def takes_shadows(circuit: QuantumScript) -> bool:
    """Whether classical shadows are taken of this circuit.

    A legacy device runs circuits of its own for them: what it remembers of the other circuits of a batch is lost, and
    it takes a shot vector for one number of shots. Such circuits need a batch of their own for each number of shots.
    """
    return any(isinstance(measurement, SHADOWS) for measurement in circuit.measurements)
