"""The rows of the history: what became of a job, with its circuit made small.

A history of thousands of circuits as PennyLane has them would be hundreds of thousands of objects, through which
Python's garbage collector looks over and over. Tuples of names and numbers it leaves alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pennylane as qml
from pennylane.measurements import ExpectationMP, MeasurementProcess, ProbabilityMP, VarianceMP
from pennylane.operation import Operator
from pennylane.ops import Prod
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.circuits.fingerprint import fingerprint
from pennylane_qexec.circuits.structure import REAL, wire_labels
from pennylane_qexec.engine.tables import OF_HISTORY, shown
from pennylane_qexec.job import JobState

_GATES = (
    *("Hadamard", "PauliX", "PauliY", "PauliZ", "S", "T", "SX", "SWAP", "ISWAP", "CNOT", "CZ", "CY", "Toffoli"),
    *("RX", "RY", "RZ", "PhaseShift", "Rot", "U1", "U2", "U3", "CRX", "CRY", "CRZ", "CRot", "ControlledPhaseShift"),
    *("IsingXX", "IsingYY", "IsingZZ", "SingleExcitation", "DoubleExcitation"),
)
_NAMES = {getattr(qml, name): name for name in _GATES}
_NUMBERS = (float, int, np.float64)
_SMALL = 64
"""Up to how many numbers the rows of a broadcasted parameter are kept."""


Parts = dict[int, tuple[Operator, tuple[Any, ...]]]
"""Gates without numbers that have been taken apart, by their ids: the circuits of a gradient share most of them."""


class CompactCircuit(NamedTuple):
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


@dataclass(frozen=True, slots=True)
class Row:
    """One job that ended.

    Attributes:
        circuit: the circuit, as it is or taken apart, or its fingerprint.
        executor: name of the executor that had it last; ``""`` if none had taken it.
        backend: name of that executor's backend.
        shots: the shots that were run for its result, in all bases that are measured; of a job that did not end well,
            those of all attempts. 0 if analytic.
        batch: number of the batch it ran in; 0 if it ran in none.
        attempt: attempts made.
        state: how it ended.
        submitted: when it was asked for; UTC, in seconds since 1970.
        started: when its batch began.
        finished: when its batch ended.
        seconds: the job's part of the running time of its batch, so that these add up.
        cost: US dollars, for the same attempts.
        error: what went wrong last, if it did not end well.
        circuits: the circuits that the backend ran for it, in the same attempts; 0 if a cache knew the result.
    """

    circuit: QuantumScript | CompactCircuit | str
    executor: str
    backend: str
    shots: int
    batch: int
    attempt: int
    state: JobState
    submitted: float
    started: float
    finished: float
    seconds: float = 0.0
    cost: float = 0.0
    error: str = ""
    circuits: int = 1

    @property
    def fingerprint(self) -> str:
        """The circuit's fingerprint; ``""`` if it has none (see :mod:`pennylane_qexec.circuits.fingerprint`)."""
        return self.circuit if isinstance(self.circuit, str) else fingerprint_of(self.circuit)

    def to_dict(self) -> dict[str, Any]:
        """The row as the table shows it: times in UTC, seconds queued and running."""
        return shown(self, OF_HISTORY)


def compact(circuit: QuantumScript, known: Parts | None = None) -> QuantumScript | CompactCircuit | str:
    """A circuit as rows keep it: taken apart; as it is, if it cannot be; its fingerprint if there are arrays in it.

    Arrays may be large, part of a gradient's graph, or written to after the circuit was run.

    Args:
        circuit: the circuit.
        known: what is known of other circuits of its batch; added to.
    """
    apart = _taken_apart(circuit, {} if known is None else known)
    return apart or (circuit if _has_numbers_only(circuit) else fingerprint_of(circuit))


def fingerprint_of(circuit: QuantumScript | CompactCircuit) -> str:
    """The fingerprint of a circuit; ``""`` if it has none."""
    try:
        return fingerprint(circuit.circuit() if isinstance(circuit, CompactCircuit) else circuit)
    except Exception:  # whatever an interface's numbers do when they are looked at: a row must not lose a job
        return ""


def _taken_apart(circuit: QuantumScript, known: Parts) -> CompactCircuit | None:
    """A circuit taken apart; ``None`` if it is not made of plain gates and few numbers."""
    operations = []
    for operation in circuit.operations:
        seen = known.get(id(operation))
        part = _part(operation) if seen is None else seen[1]
        if part is None:
            return None
        if not part[2]:
            known[id(operation)] = operation, part
        operations.append(part)
    measurements = tuple([_measured(measurement) for measurement in circuit.measurements])
    if None in measurements:
        return None
    return CompactCircuit(tuple(operations), measurements, circuit.shots, tuple(circuit.trainable_params))


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


def _has_numbers_only(circuit: QuantumScript) -> bool:
    observables = [measurement.obs for measurement in circuit.measurements if measurement.obs is not None]
    for operator in (*circuit.operations, *observables):
        for parameter in operator.data:
            if not isinstance(parameter, float | int | np.generic):
                return False
    return True
