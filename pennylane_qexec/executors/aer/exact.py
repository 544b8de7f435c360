"""What templates without shots are for Aer: circuits that save what is exact, and what makes results of it.

Importing this imports Qiskit and Aer, so it is imported when the first circuit is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.devices import qubit, qubit_mixed
from pennylane.measurements import ExpectationMP, MeasurementProcess, ProbabilityMP, StateMeasurement, VarianceMP
from pennylane.operation import Operator
from pennylane.wires import Wires
from qiskit.circuit import Instruction
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer.library import (
    SaveDensityMatrix,
    SaveExpectationValue,
    SaveExpectationValueVariance,
    SaveProbabilities,
    SaveStatevector,
)

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.aer.compiled import compiled
from pennylane_qexec.executors.aer.programs import Program
from pennylane_qexec.executors.qiskit.circuits import parametrised
from pennylane_qexec.fusion import Template
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
