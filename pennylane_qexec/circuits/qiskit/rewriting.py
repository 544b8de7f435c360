"""Circuits whose shots are not alike: classical shadows, and shots that postselection discards.

They are rewritten into circuits that only sample bits of wires, which every backend can run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.measurements import ClassicalShadowMP, CountsMP, MeasurementProcess, SampleMP
from pennylane.operation import Operator
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.circuits.sampling import SamplingCircuit, pool
from pennylane_qexec.job import Postprocessing, Result

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
    parts = [_Recipes.drawn(cell, exact) if cell.wires is None else _AsItIs(cell.circuit) for cell in rewritten.cells]

    def postprocess(results: Sequence[Result]) -> Result:
        remaining = iter(results)
        return rewritten.evaluate([[part.joined([next(remaining) for _ in part.circuits])] for part in parts])

    return [one for part in parts for one in part.circuits], postprocess


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
    circuits = [_sampling(cell, selected) for cell in rewritten.cells]

    def postprocess(results: Sequence[Result]) -> Result:
        kept = []
        for cell, ready, result in zip(rewritten.cells, circuits, results, strict=True):
            samples = np.asarray(result).reshape(-1, len(ready.measurements[0].wires))
            valid = (samples[:, ready.measurements[0].wires.indices(selected)] == wanted).all(axis=1)
            kept.append([samples[valid][:, : len(cell.wires or ())]])
        return rewritten.evaluate(kept)

    return circuits, postprocess


def _sampling(cell: SamplingCircuit, selected: Wires) -> QuantumScript:
    """The cell's circuit, which samples further wires behind its own."""
    wires = Wires.all_wires([cell.circuit.measurements[0].wires, selected])
    return QuantumScript(cell.circuit.operations, [SampleMP(wires=wires)], shots=cell.circuit.shots)


@dataclass(frozen=True)
class _AsItIs:
    circuit: QuantumScript

    @property
    def circuits(self) -> list[QuantumScript]:
        return [self.circuit]

    def joined(self, results: Sequence[Result]) -> Result:
        return results[0]


@dataclass(frozen=True)
class _Recipes:
    """The shots of a classical shadow on ``M`` wires.

    Attributes:
        circuits: one for each of the ``U`` different recipes.
        recipes: the recipes of all ``T`` shots, ``(T, M)``: 0, 1 and 2 are X, Y and Z.
        number: for each shot, which of the circuits has its recipe, ``(T,)``.
    """

    circuits: list[QuantumScript]
    recipes: np.ndarray
    number: np.ndarray

    @classmethod
    def drawn(cls, cell: SamplingCircuit, exact: bool) -> _Recipes:
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
        return cls(circuits, recipes, number.reshape(-1))

    def joined(self, results: Sequence[Result]) -> Any:
        bits = np.empty_like(self.recipes)
        for index, result in enumerate(results):
            mine = np.flatnonzero(self.number == index)
            bits[mine] = np.asarray(result).reshape(-1, self.recipes.shape[1])[: len(mine)]
        return np.stack([bits, self.recipes]).astype(np.int8)


def _turns(recipe: np.ndarray, wires: Wires) -> list[Operator]:
    turns: list[Operator] = []
    for pauli, wire in zip(recipe, wires, strict=True):
        about_z, about_y = _TURNS[pauli]
        turns += [qml.RZ(about_z, wire), qml.RY(about_y, wire)]
    return turns
