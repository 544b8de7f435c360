"""Exact results with Aer, without noise and with it: circuits that save what is exact, and what makes results of it.

Results with noise are what those with more and more shots tend to. Expectation values, variances and probabilities
include the errors of reading; states do not, since nothing is read. Importing this imports Qiskit and Aer, so it is
imported when the first circuit is run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.devices import qubit, qubit_mixed
from pennylane.measurements import ExpectationMP, MeasurementProcess, ProbabilityMP, StateMeasurement, VarianceMP
from pennylane.operation import Operator
from pennylane.tape import QuantumScript
from pennylane.wires import Wires
from qiskit import QuantumCircuit
from qiskit.circuit import Instruction
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer.library import (
    SaveDensityMatrix,
    SaveExpectationValue,
    SaveExpectationValueVariance,
    SaveProbabilities,
    SaveStatevector,
)

from pennylane_qexec.circuits.qiskit.noise import FakeMachine
from pennylane_qexec.circuits.qiskit.preparation import parametrised
from pennylane_qexec.circuits.readout import TABLE_WIRES, Readout
from pennylane_qexec.circuits.templates import Template
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.aer.sampled import Program, compiled, save_probabilities
from pennylane_qexec.job import Result

Saved = Mapping[str, Any]

STATE = "state"
"""The label under which a state is saved."""


class Exact(Program):
    """Measurements of a state without noise: by Aer's own instructions where it has some, else by PennyLane.

    Args:
        template: the structure.
        wires: all wires, in the order of the qubits.
        method: Aer's method of simulation.
        mixed: whether Aer is to save the state as a density matrix.
    """

    def __init__(self, template: Template, wires: Wires, method: str, mixed: bool) -> None:
        operations, projectors = without_projectors(template)
        main = parametrised(operations, template.slots, wires)
        circuit = main.circuit.copy()
        state = State(wires, projectors, mixed)
        self._evaluate: list[Callable[[Saved], Result]] = []
        needs_state = False
        for number, measurement in enumerate(template.circuit.measurements):
            saving = None if projectors else _saving(checked(measurement), wires, str(number))
            if saving is None:
                needs_state = True
                self._evaluate.append(partial(state.measured, measurement))
            else:
                circuit.append(*saving)
                self._evaluate.append(partial(_value, measurement, str(number)))
        if needs_state:
            circuit.append(state.instruction, range(len(wires)))
        self.circuits = (compiled(circuit, main, method),)

    def results(self, outputs: Sequence[Sequence[Any]], generators: Sequence[np.random.Generator]) -> list[Result]:
        """What was saved, in PennyLane's form."""
        rows = [tuple([evaluate(saved) for evaluate in self._evaluate]) for saved in outputs[0]]
        return [row[0] for row in rows] if len(self._evaluate) == 1 else list(rows)


class State:
    """A state that Aer has saved, measured by PennyLane.

    Args:
        wires: its wires, in the order of the qubits.
        projectors: what the state is projected on first.
        mixed: whether it is a density matrix.
    """

    def __init__(self, wires: Wires, projectors: Sequence[Operator], mixed: bool) -> None:
        self._place = {wire: index for index, wire in enumerate(wires)}
        self._projected = [(self._place[step.wires[0]], int(np.ravel(step.data[0])[0])) for step in projectors]
        self._mixed = mixed
        kind = SaveDensityMatrix if mixed else SaveStatevector
        self.instruction: Instruction = kind(len(wires), label=STATE)

    def measured(self, measurement: MeasurementProcess, saved: Saved) -> Result:
        """The measurement's value."""
        state = self._projection(self._array(saved))
        on_qubits = qml.map_wires(measurement, self._place)
        return qubit_mixed.measure(on_qubits, state) if self._mixed else qubit.measure(on_qubits, state)

    def _array(self, saved: Saved) -> np.ndarray:
        """The state with an axis for each wire; Qiskit's first qubit is the last axis."""
        number = len(self._place)
        array = np.asarray(saved[STATE]).reshape([2] * (number * (2 if self._mixed else 1)))
        axes = list(range(number))[::-1]
        return array.transpose([*axes, *[number + axis for axis in axes]] if self._mixed else axes)

    def _projection(self, state: np.ndarray) -> np.ndarray:
        if not self._projected:
            return state
        projected, axes = np.zeros_like(state), len(self._place)
        kept: list[Any] = [slice(None)] * state.ndim
        for axis, bit in self._projected:
            kept[axis] = bit
            if self._mixed:
                kept[axes + axis] = bit
        projected[tuple(kept)] = state[tuple(kept)]
        size = 2**axes
        norm = np.trace(projected.reshape(size, size)) if self._mixed else np.linalg.norm(projected)
        return np.asarray(projected / norm)


def without_projectors(template: Template) -> tuple[list[Operator], list[Operator]]:
    """The operations of a template, and the projectors that postselection has left behind them."""
    operations = template.circuit.operations
    projectors = [step for step in operations if isinstance(step, qml.Projector)]
    return operations[: len(operations) - len(projectors)], projectors


def checked(measurement: MeasurementProcess) -> MeasurementProcess:
    """The measurement.

    Raises:
        ConfigurationError: it has no value without shots.
    """
    if not isinstance(measurement, StateMeasurement):
        raise ConfigurationError(f"{measurement} counts shots, and the circuit has none: give it shots.")
    return measurement


def _saving(measurement: MeasurementProcess, wires: Wires, label: str) -> tuple[Instruction, list[int]] | None:
    """Aer's instruction for a measurement, and its qubits; ``None`` if there is none."""
    kind, observable = type(measurement), measurement.obs
    if kind is ProbabilityMP and observable is None:
        qubits = wires.indices(measurement.wires or wires)
        return SaveProbabilities(len(qubits), label=label), qubits[::-1]
    if kind not in (ExpectationMP, VarianceMP) or observable is None or not observable.pauli_rep:
        return None
    on = observable.pauli_rep.wires
    if not len(on):
        return None
    operator = _pauli_operator(observable.pauli_rep, on)
    save = SaveExpectationValue if kind is ExpectationMP else SaveExpectationValueVariance
    return save(operator, label=label), wires.indices(on)


def _pauli_operator(sentence: Any, wires: Wires) -> SparsePauliOp:
    """Qiskit's form of a sum of Pauli words; its first qubit is the last letter."""
    words = ["".join(word.get(wire, "I") for wire in reversed(wires)) for word in sentence]
    return SparsePauliOp(words, [float(np.real(qml.math.toarray(factor))) for factor in sentence.values()])


def _value(measurement: MeasurementProcess, label: str, saved: Saved) -> Result:
    value = np.asarray(saved[label])
    return value[1] if isinstance(measurement, VarianceMP) else value[()]


LABEL = "outcomes"
"""The label under which the probabilities of what is measured are saved."""

_READ = (ExpectationMP, VarianceMP, ProbabilityMP)


class ExactWithNoise(Program):
    """Measurements without shots on a machine with noise.

    Args:
        template: the structure.
        wires: all wires, in the order of the qubits.
        machine: the machine.

    Raises:
        ConfigurationError: too much is measured for a density matrix, or shots would have to be discarded.
    """

    def __init__(self, template: Template, wires: Wires, machine: FakeMachine) -> None:
        operations, projectors = without_projectors(template)
        if projectors:
            raise ConfigurationError("with noise, postselection needs shots, some of which it discards: give some.")
        self._measurements = [checked(measurement) for measurement in template.circuit.measurements]
        read = [number for number, mp in enumerate(self._measurements) if isinstance(mp, _READ)]
        self._readouts = list(_readouts(operations, self._measurements, read))
        self._state = State(wires, (), mixed=True)
        self._confusions: list[list[np.ndarray]] = []
        circuits = []
        for cell in [cell for readout, _ in self._readouts for cell in readout.cells]:
            main = parametrised(cell.circuit.operations, template.slots, wires)
            fitted = machine.fitted(main.measured(cell.wires or Wires(())))
            qubits = _measured_qubits(fitted)
            self._confusions.append([machine.readout(qubit) for qubit in qubits])
            circuits.append(compiled(_saving_instead(fitted, qubits), main, None))
        if sum(len(numbers) for _, numbers in self._readouts) < len(self._measurements):
            main = parametrised(operations, template.slots, wires)
            fitted = machine.fitted(main.circuit)
            fitted.append(self._state.instruction, fitted.layout.final_index_layout())
            circuits.append(compiled(fitted, main, None))
        self.circuits = tuple(circuits)

    def results(self, outputs: Sequence[Sequence[Any]], generators: Sequence[np.random.Generator]) -> list[Result]:
        """What was saved, in PennyLane's form."""
        read = zip(outputs, self._confusions, strict=False)
        tables = (np.array([_as_read(np.asarray(saved[LABEL]), errors) for saved in rows]) for rows, errors in read)
        found: list[dict[int, Result]] = [{} for _ in outputs[0]]
        for readout, numbers in self._readouts:
            values = readout.results([next(tables) for _ in readout.cells], generators)
            for row, value in zip(found, values, strict=True):
                row.update(zip(numbers, value if len(numbers) > 1 else (value,), strict=True))
        return [self._completed(row, saved) for row, saved in zip(found, outputs[-1], strict=True)]

    def _completed(self, found: dict[int, Result], saved: Any) -> Result:
        """The values of a row, with those that are measured of its state."""
        values = [
            found[number] if number in found else self._state.measured(measurement, saved)
            for number, measurement in enumerate(self._measurements)
        ]
        return values[0] if len(values) == 1 else tuple(values)


def _readouts(
    operations: Sequence[Operator], measurements: Sequence[MeasurementProcess], numbers: Sequence[int]
) -> Iterator[tuple[Readout, Sequence[int]]]:
    """How measurements are made of tables, and which they are; those without anything to read are left out."""
    if not numbers:
        return
    readout = Readout(QuantumScript(operations, [measurements[number] for number in numbers], shots=1))
    wide = [len(cell.wires) for cell in readout.cells if cell.wires and len(cell.wires) > TABLE_WIRES]
    if wide:
        raise ConfigurationError(
            f"{wide[0]} wires are measured together, and exact results with noise are computed of at most "
            f"{TABLE_WIRES}: give the circuit shots."
        )
    if readout.sums:
        yield readout, numbers
    elif len(numbers) > 1:
        for number in numbers:
            yield from _readouts(operations, measurements, [number])


def _measured_qubits(circuit: QuantumCircuit) -> list[int]:
    """The qubits that are measured; first the one that is measured into the highest bit."""
    places = {
        circuit.find_bit(step.clbits[0]).index: circuit.find_bit(step.qubits[0]).index
        for step in circuit.data
        if step.operation.name == "measure"
    }
    return [places[bit] for bit in sorted(places, reverse=True)]


def _saving_instead(circuit: QuantumCircuit, qubits: Sequence[int]) -> QuantumCircuit:
    """The circuit, which saves the probabilities of qubits in place of measuring them."""
    saving = QuantumCircuit(circuit.num_qubits)
    for step in circuit.data:
        if step.operation.name != "measure":
            saving.append(step.operation, [circuit.find_bit(qubit).index for qubit in step.qubits])
    save_probabilities(saving, qubits, LABEL)
    return saving


def _as_read(probabilities: np.ndarray, confusions: Sequence[np.ndarray]) -> np.ndarray:
    """Probabilities of what is read, of those of what is, ``(2**M,)``: a matrix ``(2, 2)`` for each qubit."""
    table = probabilities.reshape([2] * len(confusions))
    for axis, confusion in enumerate(confusions):
        table = np.moveaxis(np.tensordot(table, confusion, axes=(axis, 0)), -1, axis)
    return np.asarray(table.reshape(-1))
