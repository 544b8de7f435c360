"""From PennyLane's templates to parametrised circuits of Qiskit, with what Qiskit lacks rewritten or decomposed.

Wire number ``k`` becomes qubit number ``k``. PennyLane's first wire is the highest bit of an outcome's number, Qiskit's
qubit 0 the lowest, so that measured wires go into classical bits the other way around: the number of a bit string that
Qiskit counts is then the number of PennyLane's outcome.

Circuits whose shots are not alike (classical shadows, shots that postselection discards) are rewritten into circuits
that only sample bits of wires, which every backend can run. Importing this imports Qiskit, so it is imported when the
first circuit is prepared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pennylane as qml
from pennylane.devices import ExecutionConfig
from pennylane.devices.preprocess import decompose, validate_device_wires
from pennylane.measurements import ClassicalShadowMP, CountsMP, MeasurementProcess, SampleMP
from pennylane.operation import Operator
from pennylane.ops import MidMeasure
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript
from pennylane.wires import Wires
from qiskit import ClassicalRegister, QuantumCircuit
from qiskit.circuit import Barrier, ParameterVector
from qiskit.circuit.library import GlobalPhaseGate

from pennylane_qexec.circuits.mid_circuit import dynamic_part, postselects
from pennylane_qexec.circuits.qiskit.gates import KINDS, convertible, instructions, taken_apart
from pennylane_qexec.circuits.sampling import SHADOWS, SamplingCircuit, pool
from pennylane_qexec.circuits.structure import is_broadcasted, measures_everything, rows_of, wires_in_order
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.job import Bound, Postprocessing, Result, for_device, only

_TURNS = ((0.0, -np.pi / 2), (-np.pi / 2, -np.pi / 2), (0.0, 0.0))
"""For X, Y and Z, the angles about z and then y that turn its eigenvectors into those of Z."""


def by_recipes(circuit: QuantumScript, exact: bool = False) -> tuple[Sequence[QuantumScript], Postprocessing]:
    """Measure classical shadows by circuits with the turns of a recipe as parameters, one for each different recipe.

    Args:
        circuit: a circuit with shots, some of whose measurements are classical shadows.
        exact: whether each circuit has just the shots of its recipe. Otherwise all have as many as the commonest
            recipe, so that they have one structure; the shots beyond those that a recipe has are left out.
    """
    rewritten = pool(circuit)
    parts = [
        _by_drawn_recipes(cell, exact) if cell.wires is None else ([cell.circuit], only) for cell in rewritten.cells
    ]
    return _joined(parts, lambda results: rewritten.evaluate([[result] for result in results]))


def _joined(
    parts: Sequence[tuple[Sequence[QuantumScript], Postprocessing]], join: Postprocessing
) -> tuple[Sequence[QuantumScript], Postprocessing]:
    """The circuits of all parts, and what joins the results of the parts."""

    def postprocess(results: Sequence[Result]) -> Result:
        remaining = iter(results)
        return join([post([next(remaining) for _ in circuits]) for circuits, post in parts])

    return [one for circuits, _ in parts for one in circuits], postprocess


def at_the_end(circuit: QuantumScript) -> QuantumScript:
    """A circuit whose mid-circuit measurements are deferred, in the words of circuits that never had any.

    What was postselected is copied to wires of its own, and projectors on them are the last operations. Measurements of
    mid-circuit outcomes become measurements of the wires they were deferred to.
    """
    operations: list[Operator] = []
    projectors: list[Operator] = []
    for operation in circuit.operations:
        if isinstance(operation, qml.Projector):
            wire = f"postselected {len(projectors)}"
            operations.append(qml.CNOT([operation.wires[0], wire]))
            projectors.append(qml.Projector(operation.data[0], wires=[wire]))
        else:
            operations.append(operation)
    measurements = [_of_wires(measurement) for measurement in circuit.measurements]
    return QuantumScript([*operations, *projectors], measurements, shots=circuit.shots)


def _of_wires(measurement: MeasurementProcess) -> MeasurementProcess:
    if measurement.mv is None:
        return measurement
    options: dict[str, Any] = {"wires": measurement.wires}
    if not isinstance(measurement.mv, Sequence):
        options["eigvals"] = measurement.eigvals()
    if isinstance(measurement, CountsMP):
        options["all_outcomes"] = measurement.all_outcomes
    return type(measurement)(**options)


def postselected(circuit: QuantumScript) -> tuple[Sequence[QuantumScript], Postprocessing]:
    """Measure what is postselected on with everything else, and discard the shots in which it is something else.

    Args:
        circuit: a circuit with shots, whose mid-circuit measurements are deferred: projectors are all that is left of
            postselection, on wires on which nothing follows.
    """
    projectors = [operation for operation in circuit.operations if isinstance(operation, qml.Projector)]
    others = [operation for operation in circuit.operations if not isinstance(operation, qml.Projector)]
    selected = Wires.all_wires([projector.wires for projector in projectors])
    wanted = np.concatenate([np.asarray(projector.data[0]).reshape(-1) for projector in projectors]).astype(int)
    rewritten = pool(QuantumScript(others, circuit.measurements, shots=circuit.shots))
    circuits = []
    for cell in rewritten.cells:
        wires = Wires.all_wires([cell.circuit.measurements[0].wires, selected])
        circuits.append(QuantumScript(cell.circuit.operations, [SampleMP(wires=wires)], shots=cell.circuit.shots))

    def postprocess(results: Sequence[Result]) -> Result:
        kept = []
        for cell, ready, result in zip(rewritten.cells, circuits, results, strict=True):
            samples = np.asarray(result).reshape(-1, len(ready.measurements[0].wires))
            valid = (samples[:, ready.measurements[0].wires.indices(selected)] == wanted).all(axis=1)
            kept.append([samples[valid][:, : len(cell.wires or ())]])
        return rewritten.evaluate(kept)

    return circuits, postprocess


def _by_drawn_recipes(cell: SamplingCircuit, exact: bool) -> tuple[list[QuantumScript], Postprocessing]:
    """A circuit for each of the different recipes of a classical shadow's shots: 0, 1 and 2 are X, Y and Z."""
    (measurement,) = cell.circuit.measurements
    assert isinstance(measurement, ClassicalShadowMP)
    wires = measurement.wires
    shots = cell.circuit.shots.total_shots
    recipes = np.random.RandomState(measurement.seed).randint(0, 3, size=(shots, len(wires)))
    different, number, times = np.unique(recipes, axis=0, return_inverse=True, return_counts=True)
    operations, samples = cell.circuit.operations, [SampleMP(wires=wires)]
    circuits = [
        QuantumScript([*operations, *_turns(recipe, wires)], samples, shots=int(own if exact else times.max()))
        for recipe, own in zip(different, times, strict=True)
    ]

    def postprocess(results: Sequence[Result]) -> Result:
        bits = np.empty_like(recipes)
        for index, result in enumerate(results):
            mine = np.flatnonzero(number.reshape(-1) == index)
            bits[mine] = np.asarray(result).reshape(-1, len(wires))[: len(mine)]
        return np.stack([bits, recipes]).astype(np.int8)

    return circuits, postprocess


def _turns(recipe: np.ndarray, wires: Wires) -> list[Operator]:
    turns: list[Operator] = []
    for pauli, wire in zip(recipe, wires, strict=True):
        about_z, about_y = _TURNS[pauli]
        turns += [qml.RZ(about_z, wire), qml.RY(about_y, wire)]
    return turns


Step = Callable[[QuantumScript], tuple[Sequence[QuantumScript], Postprocessing]]


# Parametrised circuits

REGISTER = "c"
"""The name of the register that is measured into."""


class Parametrised(NamedTuple):
    """A template in Qiskit.

    Attributes:
        circuit: the circuit, a qubit for each wire, without measurements.
        parameters: its ``P`` parameters, in the order of a row of the template.
        wires: the wires, in the order of the qubits.
    """

    circuit: QuantumCircuit
    parameters: ParameterVector
    wires: Wires

    def measured(self, wires: Wires) -> QuantumCircuit:
        """The circuit with measurements of ``M`` wires into one register: outcomes have PennyLane's numbers."""
        copy = self.circuit.copy()
        if len(wires):
            copy.add_register(ClassicalRegister(len(wires), REGISTER))
            copy.measure(self.wires.indices(wires), range(len(wires) - 1, -1, -1))
        return copy


def parametrised(operations: Sequence[Operator], slots: Sequence[int], wires: Wires) -> Parametrised:
    """Convert the operations of a template.

    Args:
        operations: operations that can be converted, as they come from a ``QiskitBinder``; a cell's, for instance,
            which begin with those of its template.
        slots: which of them have parameters, as :attr:`Template.slots`.
        wires: all wires, in the order of the qubits.
    """
    parameters = ParameterVector("p", sum(len(operations[slot].data) for slot in slots))
    remaining = iter(parameters)
    circuit = QuantumCircuit(len(wires))
    place = {wire: index for index, wire in enumerate(wires)}
    variable = frozenset(slots)
    for index, operation in enumerate(operations):
        numbers = [next(remaining) if index in variable else number for number in operation.data]
        _append(circuit, operation, numbers, place)
    return Parametrised(circuit, parameters, Wires(wires))


def _append(circuit: QuantumCircuit, operation: Operator, numbers: Sequence[Any], place: dict[Any, int]) -> None:
    for instruction, wires in instructions(operation, numbers):
        if isinstance(instruction, GlobalPhaseGate):
            circuit.global_phase += instruction.params[0]
        elif isinstance(instruction, Barrier) and not wires:
            circuit.barrier()
        else:
            circuit.append(instruction, [place[wire] for wire in wires], copy=False)


# Preparation


class QiskitBinder:
    """Prepares circuits for backends that take Qiskit's circuits.

    What comes out has operations that can be converted, one number of shots or none, no broadcasting and no mid-circuit
    measurements, which are deferred to the end; measurements that have no wires get those of the backend, if it has
    some. Circuits for which there is nothing to do are left as they are.

    Args:
        config: the execution configuration of the call.
        wires: the backend's wires; ``None`` if it takes any.
        exact_shots: whether no shot may be run that is not asked for, as where shots are paid for.
    """

    def __init__(self, config: ExecutionConfig, wires: Wires | None = None, exact_shots: bool = False) -> None:
        self._config = for_device(config)
        self._exact_shots = exact_shots
        self._wires = wires
        self._steps: tuple[Step, ...] = (
            _each_number_of_shots,
            self._with_wires,
            self._with_measurements_deferred,
            _taken_apart,
            _one_by_one,
            self._sampled_otherwise,
        )

    def __call__(self, circuit: QuantumScript) -> Bound:
        if dynamic_part(circuit) is not None or self._is_ready(circuit):
            return Bound((circuit,), self._config, only)
        with QueuingManager.stop_recording():
            circuits, postprocess = _prepared(circuit, self._steps)
        return Bound(tuple(circuits), self._config, postprocess)

    def _is_ready(self, circuit: QuantumScript) -> bool:
        return (
            KINDS.issuperset(map(type, circuit.operations))
            and not is_broadcasted(circuit)
            and not circuit.shots.has_partitioned_shots
            and not (circuit.shots and any(isinstance(mp, SHADOWS) for mp in circuit.measurements))
            and (not any(map(measures_everything, circuit.measurements)) or self._wires_of(circuit) is circuit.wires)
        )

    def _wires_of(self, circuit: QuantumScript) -> Wires:
        return wires_in_order(circuit) if self._wires is None else self._wires

    def _with_wires(self, circuit: QuantumScript) -> tuple[Sequence[QuantumScript], Postprocessing]:
        """Measurements of everything get wires before there are more, which deferring adds."""
        if not any(map(measures_everything, circuit.measurements)):
            return (circuit,), only
        circuits, postprocess = validate_device_wires(circuit, wires=self._wires_of(circuit))
        return circuits, postprocess

    def _with_measurements_deferred(self, circuit: QuantumScript) -> tuple[Sequence[QuantumScript], Postprocessing]:
        if not any(isinstance(operation, MidMeasure) for operation in circuit.operations):
            return (circuit,), only
        if self._config.mcm_config.postselect_mode == "fill-shots" and postselects(circuit):
            raise ConfigurationError(
                "postselect_mode='fill-shots' is not known here: shots that postselection discards are not run again. "
                "Take 'hw-like', and more shots."
            )
        circuits, postprocess = qml.defer_measurements(circuit)
        return [at_the_end(one) for one in circuits], postprocess

    def _sampled_otherwise(self, circuit: QuantumScript) -> tuple[Sequence[QuantumScript], Postprocessing]:
        if circuit.shots and any(isinstance(operation, qml.Projector) for operation in circuit.operations):
            return postselected(circuit)
        if circuit.shots and any(isinstance(mp, SHADOWS) for mp in circuit.measurements):
            return by_recipes(circuit, self._exact_shots)
        return (circuit,), only


def _prepared(circuit: QuantumScript, steps: Sequence[Step]) -> tuple[Sequence[QuantumScript], Postprocessing]:
    """What the first step makes of a circuit, and the others of that."""
    if not steps:
        return (circuit,), only
    circuits, join = steps[0](circuit)
    return _joined([_prepared(one, steps[1:]) for one in circuits], join)


def _each_number_of_shots(circuit: QuantumScript) -> tuple[Sequence[QuantumScript], Postprocessing]:
    if not circuit.shots.has_partitioned_shots:
        return (circuit,), only
    return [circuit.copy(shots=shots) for shots in circuit.shots], tuple


def _taken_apart(circuit: QuantumScript) -> tuple[Sequence[QuantumScript], Postprocessing]:
    if KINDS.issuperset(map(type, circuit.operations)):
        return (circuit,), only
    _check_projectors(circuit.operations)
    circuits, postprocess = decompose(
        circuit, _stays, decomposer=taken_apart, skip_initial_state_prep=False, name="Qiskit", error=ConfigurationError
    )
    return circuits, postprocess


def _check_projectors(operations: Sequence[Any]) -> None:
    """Refuse projectors that cannot be made by discarding shots at the end, wire by wire.

    Raises:
        ConfigurationError: there are some.
    """
    number = sum(isinstance(operation, qml.Projector) for operation in operations)
    for place, operation in enumerate(operations):
        if isinstance(operation, qml.Projector):
            at_the_end = place >= len(operations) - number
            if not at_the_end or len(operation.wires) > 1 or np.size(operation.data[0]) > 1:
                raise ConfigurationError(
                    f"{operation} as an operation: Qiskit's circuits have no projectors, and only those of one wire on "
                    "0 or 1, at the end, can be made. Take qml.measure(wire, postselect=...)."
                )


def _stays(operation: Any) -> bool:
    return isinstance(operation, qml.Projector) or convertible(operation)


def _one_by_one(circuit: QuantumScript) -> tuple[Sequence[QuantumScript], Postprocessing]:
    if circuit.batch_size is None:
        return (circuit,), only
    return rows_of(circuit)[0], _in_columns


def _in_columns(rows: Sequence[Result]) -> Result:
    """The result of a broadcasted circuit, of those for each value, as simulators give it."""
    if isinstance(rows[0], tuple):
        return tuple(map(_in_columns, zip(*rows, strict=True)))
    return list(rows) if isinstance(rows[0], dict) else np.stack(rows)
