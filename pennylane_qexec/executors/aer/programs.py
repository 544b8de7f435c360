"""What templates with shots are for Aer: circuits to run, and what makes results of what comes back.

Importing this imports Qiskit and Aer, so it is imported when the first circuit is run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.operation import Operator
from pennylane.wires import Wires

from pennylane_qexec.executors.aer.compiled import Compiled, compiled, save_probabilities
from pennylane_qexec.executors.aer.drawing import drawn, tabulated
from pennylane_qexec.executors.aer.noise import FakeMachine
from pennylane_qexec.executors.qiskit.circuits import Parametrised, parametrised
from pennylane_qexec.fusion import Template
from pennylane_qexec.job import Result
from pennylane_qexec.kept import Kept
from pennylane_qexec.readout import Counted, Readout

_converted: Kept[Parametrised] = Kept(256)
"""Templates in Qiskit, for all simulators of this process: an experiment runs the same circuits on many."""


class Program(ABC):
    """A template for Aer.

    Attributes:
        circuits: the ``C`` circuits to run in its place.
        shots: how many shots they are run with; ``None`` if they save what is exact.
    """

    circuits: tuple[Compiled, ...]
    shots: int | None = None

    @abstractmethod
    def results(self, outputs: Sequence[Sequence[Any]], generators: Sequence[np.random.Generator]) -> list[Result]:
        """The results of ``R`` circuits.

        Args:
            outputs: for each of the ``C`` circuits and each row, what was counted, or what was saved by its label.
            generators: one for each row.
        """


class Drawn(Program):
    """Shots drawn from the exact probabilities that one circuit saves in all bases that are measured, in turn."""

    def __init__(self, template: Template, wires: Wires, method: str) -> None:
        self._readout = Readout(template.circuit)
        self._shots = template.circuit.shots.total_shots or 0
        operations = template.circuit.operations
        main = _shared(template, operations, wires)
        circuit = main.circuit.copy()
        for number, cell in enumerate(self._readout.cells):
            turn = parametrised(cell.circuit.operations[len(operations) :], (), wires).circuit
            circuit.compose(turn, inplace=True)
            save_probabilities(circuit, wires.indices(cell.wires), str(number))
            if number + 1 < len(self._readout.cells):
                circuit.compose(turn.inverse(), inplace=True)
        self.circuits = (compiled(circuit, main, method),)

    def results(self, outputs: Sequence[Sequence[Any]], generators: Sequence[np.random.Generator]) -> list[Result]:
        """Draw the shots of each cell, and evaluate them."""
        (rows,) = outputs
        tables = [np.array([row[str(number)] for row in rows]) for number in range(len(self._readout.cells))]
        return _evaluated(self._readout, [drawn(table, self._shots, generators) for table in tables], generators)


class CountedByAer(Program):
    """Shots that Aer counts: those with noise, and those of circuits with too many probabilities to save."""

    def __init__(self, template: Template, wires: Wires, method: str, machine: FakeMachine | None) -> None:
        self._readout = Readout(template.circuit)
        self.shots = template.circuit.shots.total_shots or 0
        circuits = []
        for cell in self._readout.cells:
            turns = cell.circuit.operations[len(template.circuit.operations) :]
            turned = [*template.circuit.operations, *(turns if machine else map(_as_clifford, turns))]
            main = _shared(template, turned, wires)
            measured = main.measured(cell.wires or Wires(()))
            if machine is None:
                circuits.append(compiled(measured, main, method))
            else:
                circuits.append(compiled(machine.fitted(measured), main, None))
        self.circuits = tuple(circuits)

    def results(self, outputs: Sequence[Sequence[Any]], generators: Sequence[np.random.Generator]) -> list[Result]:
        """Evaluate the counts."""
        cells = zip(outputs, self._readout.cells, strict=True)
        return _evaluated(self._readout, [tabulated(rows, len(cell.wires or ())) for rows, cell in cells], generators)


def _shared(template: Template, operations: Sequence[Operator], wires: Wires) -> Parametrised:
    """The circuit of a cell in Qiskit; that of the template itself serves all simulators that run it."""
    plain = template.key is not None and len(operations) == len(template.circuit.operations)
    key = (template.key, tuple(wires)) if plain else None
    return _converted.get(key, lambda: parametrised(operations, template.slots, wires))


def _as_clifford(turn: Operator) -> Operator:
    """PennyLane's turn into the basis of X or of Y by a gate that Aer's stabilizers have too."""
    if type(turn) is qml.RY and turn.data[0] == -np.pi / 2:
        return qml.H(turn.wires)
    return qml.SX(turn.wires) if type(turn) is qml.RX and turn.data[0] == np.pi / 2 else turn


def _evaluated(readout: Readout, counted: list[Counted], generators: Sequence[np.random.Generator]) -> list[Result]:
    """The results of ``R`` circuits; one by one if each draws the order of its samples from its own generator."""
    rows = len(generators)
    sums = readout.sums and all(isinstance(cell, np.ndarray) for cell in counted)
    if sums or generators[0] is generators[-1]:
        return readout.results(counted, generators[0])
    return [readout.results([cell[row : row + 1] for cell in counted], generators[row])[0] for row in range(rows)]
