"""Circuits as the history keeps them: small.

A history of thousands of circuits as PennyLane has them would be hundreds of thousands of objects, through which
Python's garbage collector looks over and over. Tuples of names and numbers it leaves alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pennylane as qml
from pennylane.measurements import ExpectationMP, MeasurementProcess, ProbabilityMP, VarianceMP
from pennylane.operation import Operator
from pennylane.ops import Prod
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.structure import REAL, wire_labels

_GATES = (
    *("Hadamard", "PauliX", "PauliY", "PauliZ", "S", "T", "SX", "SWAP", "ISWAP", "CNOT", "CZ", "CY", "Toffoli"),
    *("RX", "RY", "RZ", "PhaseShift", "Rot", "U1", "U2", "U3", "CRX", "CRY", "CRZ", "CRot", "ControlledPhaseShift"),
    *("IsingXX", "IsingYY", "IsingZZ", "SingleExcitation", "DoubleExcitation"),
)
_NAMES = {getattr(qml, name): name for name in _GATES}
_NUMBERS = (float, int, np.float64)
_SMALL = 64
"""Up to how many numbers the rows of a broadcasted parameter are kept."""


class Sketch(NamedTuple):
    """A circuit, taken apart.

    Attributes:
        operations: the operations, each as (name, wires, parameters).
        measurements: the measurements, each as it is (without an observable) or as (kind, observables or wires).
        shots: the shots, as they are.
        trainable: indices of the trainable parameters.
    """

    operations: tuple[Any, ...]
    measurements: tuple[Any, ...]
    shots: Any
    trainable: tuple[int, ...]

    def circuit(self) -> QuantumScript:
        """The circuit, put together again."""
        return QuantumScript(
            [_operator(part) for part in self.operations],
            [_measurement(part) for part in self.measurements],
            shots=self.shots,
            trainable_params=list(self.trainable),
        )


class Sketcher:
    """Takes the circuits of a batch apart. Those of a gradient share most of their gates, which are looked at once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Operator, tuple[Any, ...]]] = {}

    def sketch(self, circuit: QuantumScript) -> Sketch | None:
        """Take a circuit apart; ``None`` if it is not made of plain gates and few numbers."""
        operations = []
        for operation in circuit.operations:
            known = self._known.get(id(operation))
            part = self._part(operation) if known is None else known[1]
            if part is None:
                return None
            operations.append(part)
        measurements = tuple([_measured(measurement) for measurement in circuit.measurements])
        if None in measurements:
            return None
        return Sketch(tuple(operations), measurements, circuit.shots, tuple(circuit.trainable_params))

    def _part(self, operation: Operator) -> tuple[Any, ...] | None:
        part = _part(operation)
        if part is not None and not part[2]:
            self._known[id(operation)] = operation, part
        return part


def _part(operator: Operator) -> tuple[Any, ...] | None:
    name = _NAMES.get(type(operator))
    if name is None:
        return None
    parameters = []
    for parameter in operator.data:
        if type(parameter) in _NUMBERS:
            parameters.append(parameter)
        elif type(parameter) is np.ndarray and parameter.size <= _SMALL and parameter.dtype.kind in REAL:
            parameters.append(parameter.copy())  # whoever has made the array may write other numbers into it
        else:
            return None
    return name, wire_labels(operator), tuple(parameters)


def _operator(part: tuple[Any, ...]) -> Operator:
    name, labels, parameters = part
    return getattr(qml, name)(*parameters, wires=labels)


def _measured(measurement: MeasurementProcess) -> Any:
    kind, observable = type(measurement), measurement.obs
    plain = observable is None and measurement.mv is None and measurement.eigvals() is None
    if kind is ProbabilityMP and plain and measurement.wires:
        return "probs", measurement.wires.labels
    if kind in (ExpectationMP, VarianceMP) and observable is not None:
        factors = observable.operands if type(observable) is Prod else (observable,)
        parts = tuple([_part(factor) for factor in factors])
        if None not in parts:
            return ("expval" if kind is ExpectationMP else "var"), type(observable) is Prod, parts
    return measurement if observable is None else None


def _measurement(part: Any) -> MeasurementProcess:
    if isinstance(part, MeasurementProcess):
        return part
    if part[0] == "probs":
        return ProbabilityMP(wires=Wires(part[1]))
    kind, is_product, factors = part
    operators = [_operator(factor) for factor in factors]
    observable = Prod(*operators) if is_product else operators[0]
    return ExpectationMP(observable) if kind == "expval" else VarianceMP(observable)
