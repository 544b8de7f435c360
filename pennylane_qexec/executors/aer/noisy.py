"""Exact results with noise: what the results with more and more shots tend to.

Expectation values, variances and probabilities include the errors of reading; states do not, since nothing is read.

Importing this imports Qiskit and Aer, so it is imported when the first circuit is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from pennylane.measurements import ExpectationMP, MeasurementProcess, ProbabilityMP, VarianceMP
from pennylane.operation import Operator
from pennylane.tape import QuantumScript
from pennylane.wires import Wires
from qiskit import QuantumCircuit

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.aer.compiled import compiled, save_probabilities
from pennylane_qexec.executors.aer.exact import State, checked, without_projectors
from pennylane_qexec.executors.aer.noise import FakeMachine
from pennylane_qexec.executors.aer.programs import Program
from pennylane_qexec.executors.qiskit.circuits import parametrised
from pennylane_qexec.fusion import Template
from pennylane_qexec.job import Result
from pennylane_qexec.pooling import Cell
from pennylane_qexec.readout import TABLE_WIRES, Readout

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
        tables = iter(
            [
                np.array([_as_read(np.asarray(saved[LABEL]), confusions) for saved in rows])
                for rows, confusions in zip(outputs, self._confusions, strict=False)
            ]
        )
        found: list[dict[int, Result]] = [{} for _ in outputs[0]]
        for readout, numbers in self._readouts:
            values = readout.results([next(tables) for _ in readout.cells], generators[0])
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
    for cell in readout.cells:
        _check_width(cell)
    if readout.sums:
        yield readout, numbers
    elif len(numbers) > 1:
        for number in numbers:
            yield from _readouts(operations, measurements, [number])


def _check_width(cell: Cell) -> None:
    if len(cell.wires or ()) > TABLE_WIRES:
        raise ConfigurationError(
            f"{len(cell.wires or ())} wires are measured together, and exact results with noise are computed of at "
            f"most {TABLE_WIRES}: give the circuit shots."
        )


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
