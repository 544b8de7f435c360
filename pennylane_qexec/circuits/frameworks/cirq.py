"""Cirq's circuits as programs in PennyLane, and the table of their gates, exact up to a phase of the whole circuit.

Wire number ``k`` is the circuit's qubit number ``k`` in Cirq's order. Importing this imports Cirq, so it is imported
when the first circuit of Cirq is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import cirq
import numpy as np
import pennylane as qml
from pennylane.operation import Operator

from pennylane_qexec.circuits.frameworks.builder import Bits, CircuitBuilder, Program
from pennylane_qexec.errors import ConfigurationError

# Gates

MATRIX_QUBITS = 3
"""The most qubits of a gate that is read as its matrix; others are taken apart first."""

MOST_MATRIX_QUBITS = 10
"""The most qubits of a gate that is read as its matrix because it cannot be taken apart."""

_WHOLE: dict[type, Callable[[Sequence[int]], Operator]] = {
    cirq.XPowGate: qml.X,
    cirq.YPowGate: qml.Y,
    cirq.ZPowGate: qml.Z,
    cirq.HPowGate: qml.H,
    cirq.CXPowGate: qml.CNOT,
    cirq.CZPowGate: qml.CZ,
    cirq.SwapPowGate: qml.SWAP,
    cirq.CCXPowGate: qml.Toffoli,
    cirq.CCZPowGate: qml.CCZ,
}
"""What powers with an exponent of 1 are, or of any other odd number."""

_POWERS: dict[type, Callable[[float, Sequence[int]], Operator]] = {
    cirq.XPowGate: qml.RX,
    cirq.YPowGate: qml.RY,
    cirq.ZPowGate: qml.PhaseShift,
    cirq.CZPowGate: qml.ControlledPhaseShift,
    cirq.XXPowGate: qml.IsingXX,
    cirq.YYPowGate: qml.IsingYY,
    cirq.ZZPowGate: qml.IsingZZ,
}
"""What powers are turns by: the exponent in half turns."""


def known(operation: cirq.Operation) -> Operator | Callable[[Sequence[int]], Operator] | None:
    """What an operation of Cirq is, as something that takes wires; ``None`` if it has to be taken apart."""
    gate = operation.gate
    kind = next((each for each in type(gate).__mro__ if each in _WHOLE or each in _POWERS), None)
    if kind is not None and isinstance(gate, cirq.EigenGate):
        exponent = float(gate.exponent)
        if kind in _WHOLE and exponent % 2 == 1:
            return _WHOLE[kind]
        if kind in _POWERS:
            return lambda wires: _POWERS[kind](np.pi * exponent, wires)
    return matrix(operation) if len(operation.qubits) <= MATRIX_QUBITS else None


def matrix(operation: cirq.Operation) -> Callable[[Sequence[int]], Operator] | None:
    """What takes wires and makes an operation's matrix an operator; ``None`` if it has none, or one that is too big."""
    if len(operation.qubits) > MOST_MATRIX_QUBITS or not cirq.has_unitary(operation):
        return None
    return lambda wires: qml.QubitUnitary(cirq.unitary(operation), wires)


# Circuits

_NOTHING = (cirq.IdentityGate, cirq.WaitGate, cirq.GlobalPhaseGate)


def program_of_cirq(circuit: Any) -> Program:
    """Read one of Cirq's circuits: outcomes are the measurement keys' bits, in the order in which they occur.

    Raises:
        ConfigurationError: it has parameters without values, noise, a key that is measured twice, or measurements of
            which mistakes are simulated.
    """
    names = sorted(cirq.parameter_names(circuit))
    if names:
        raise ConfigurationError(
            f"a circuit of Cirq with parameters without values: {', '.join(names)}. Give them values with "
            "cirq.resolve_parameters(circuit, {...})."
        )
    if any(qubit.dimension != 2 for qubit in circuit.all_qubits()):
        raise ConfigurationError("a circuit of Cirq with qudits: only qubits, of two levels, are known here.")
    reader = _Reader(circuit)
    reader.write()
    return reader.program()


class _Reader:
    def __init__(self, circuit: Any) -> None:
        self._operations = [part for operation in circuit.all_operations() for part in _parts(operation)]
        self._qubits = sorted(circuit.all_qubits())
        # Behind the circuit's qubits come those that taking gates apart has added.
        used = [qubit for operation in self._operations for qubit in operation.qubits]
        self._place = {qubit: index for index, qubit in enumerate(dict.fromkeys([*self._qubits, *used]))}
        self._last = {qubit: index for index, operation in enumerate(self._operations) for qubit in operation.qubits}
        self._keys: dict[Any, tuple[Any, ...]] = {}
        self._draft = CircuitBuilder()

    def program(self) -> Program:
        groups = [self._bits(key) for key in self._keys]
        if not groups:
            groups = [list(range(len(self._qubits)))]
            for wire in groups[0]:
                self._draft.measure(wire, wire)
        script, places = self._draft.finished([bit for group in groups for bit in group])
        return Program(script, "cirq", Bits(tuple(tuple(map(places.get, group)) for group in groups), "big"))

    def write(self) -> None:
        for index, operation in enumerate(self._operations):
            if isinstance(operation, cirq.ClassicallyControlledOperation):
                conditions = sorted(operation.classical_controls, key=str)
                self._write_if(conditions, operation.without_classical_controls())
            elif isinstance(operation.gate, cirq.MeasurementGate):
                self._measure(index, operation)
            elif isinstance(operation.gate, cirq.ResetChannel):
                self._draft.reset(self._place[operation.qubits[0]])
            else:
                self._apply(operation)

    def _apply(self, operation: Any) -> None:
        wires = tuple([self._place[qubit] for qubit in operation.qubits])
        make = known(operation) or matrix(operation)
        if make is None:
            raise ConfigurationError(
                f"{operation!r} of Cirq is no gate, measurement or reset. Take it out: noise is the backend's."
            )
        self._draft.apply(make(wires), wires)

    def _bits(self, key: Any) -> list[Any]:
        return [(key, index) for index in range(len(self._keys[key]))]

    def _measure(self, index: int, operation: Any) -> None:
        gate, key = operation.gate, cirq.measurement_key_obj(operation)
        if key in self._keys:
            raise ConfigurationError(f"key {str(key)!r} of Cirq is measured twice. Give each measurement a key.")
        if gate.confusion_map:
            raise ConfigurationError(
                f"measurement {str(key)!r} of Cirq has a confusion_map. Take it out: mistakes in reading are the "
                "backend's."
            )
        self._keys[key] = operation.qubits
        for bit, (qubit, inverted) in enumerate(zip(operation.qubits, gate.full_invert_mask(), strict=True)):
            wire = self._place[qubit]
            if inverted:
                self._draft.apply(qml.X(wire), (wire,))
            self._draft.measure(wire, (key, bit))
            if inverted and self._last[qubit] > index:
                self._draft.apply(qml.X(wire), (wire,))

    def _write_if(self, conditions: Sequence[Any], operation: Any) -> None:
        """Write down an operation under the rest of its conditions."""
        if not conditions:
            for part in _parts(operation):
                self._apply(part)
            return
        keys = [key for key in dict.fromkeys(conditions[0].keys) if key in self._keys]
        if len(keys) < len(set(conditions[0].keys)):
            raise ConfigurationError(f"{operation!r} of Cirq depends on {conditions[0]}, which is not measured before.")
        bits = [bit for key in keys for bit in self._bits(key)]
        with self._draft.only_if(bits, self._test(conditions[0], keys)) as possible:
            if possible:
                self._write_if(conditions[1:], operation)

    def _test(self, condition: Any, keys: Sequence[Any]) -> Callable[[tuple[int, ...]], bool]:
        qubits = {key: self._keys[key] for key in keys}

        def is_met(values: tuple[int, ...]) -> bool:
            remaining = iter(values)
            records = {key: [tuple(next(remaining) for _ in qubits[key])] for key in keys}
            measured = {key: [qubits[key]] for key in keys}
            return bool(
                condition.resolve(cirq.ClassicalDataDictionaryStore(_records=records, _measured_qubits=measured))
            )

        return is_met


def _parts(operation: Any) -> Iterator[Any]:
    """An operation, or what it consists of down to what is known here."""
    operation = operation.untagged
    if isinstance(operation.gate, _NOTHING):
        return
    if isinstance(operation, cirq.CircuitOperation) and operation.repeat_until is not None:
        raise ConfigurationError(
            "a subcircuit of Cirq that is repeated until something is measured: how often is not known before. Say how "
            "often with repetitions=."
        )
    simple = isinstance(operation.gate, cirq.MeasurementGate | cirq.ResetChannel)
    if simple or isinstance(operation, cirq.ClassicallyControlledOperation) or known(operation) is not None:
        yield operation
        return
    parts = cirq.decompose_once(operation, default=None)
    if parts is None:
        yield operation
    else:
        for part in parts:
            yield from _parts(part)
