"""Results with shots from Aer: counted by it, or drawn from exact probabilities where that is cheaper.

Circuits of Qiskit are made ready once for each template.

Drawn shots are as a simulator's shots are, without its bookkeeping of every single shot. Importing this imports Qiskit
and Aer, so it is imported when the first circuit is run.
"""

from __future__ import annotations

import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from operator import itemgetter
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.operation import Operator
from pennylane.wires import Wires
from qiskit import QuantumCircuit
from qiskit.circuit import Gate, Parameter, ParameterExpression
from qiskit_aer import AerSimulator
from qiskit_aer.backends.aer_compiler import assemble_circuits, compile_circuit
from qiskit_aer.backends.backend_utils import circuit_optypes
from qiskit_aer.backends.controller_wrappers import AerCircuit, AerConfig
from qiskit_aer.library import SaveProbabilities

from pennylane_qexec.circuits.qiskit.noise import FakeMachine, Used, used_by
from pennylane_qexec.circuits.qiskit.preparation import Parametrised, parametrised
from pennylane_qexec.circuits.readout import TABLE_WIRES, Counted, Histogram, Readout, drawn_histogram
from pennylane_qexec.circuits.templates import Template
from pennylane_qexec.concurrency.once import OnceCache
from pennylane_qexec.errors import ConfigurationError, checked_seed
from pennylane_qexec.job import Result

_DEPTH = 10
"""How often gates are taken apart at most."""


@dataclass(frozen=True, eq=False)
class Compiled:
    """A circuit in Aer's own form, ready to run with parameters.

    Qiskit's ``AerSimulator.run`` would bring a circuit into this form in every run, which takes longer than most runs.

    Attributes:
        circuit: the circuit. It has a parameter at least, so that Aer copies it for each row, and never changes it.
        places: where it has parameters: the number of an instruction and that of its parameter.
        values: what is there, for each of the places: a parameter of the template or what is computed of some.
        columns: where those are in a row of the template's parameters.
        used: what it uses of the machine.
        size: how many qubits and classical bits it has.
    """

    circuit: AerCircuit
    places: tuple[tuple[int, int], ...]
    values: tuple[ParameterExpression, ...]
    columns: Mapping[Parameter, int]
    used: Used
    size: tuple[int, int]

    @cached_property
    def width(self) -> int:
        """How many qubits are simulated."""
        return len({qubit for _, qubits in self.used for qubit in qubits}) if self.used else self.size[0]

    @cached_property
    def has_phase(self) -> bool:
        """Whether a parameter is its global phase, which Aer cannot bind as it runs."""
        return (AerConfig.GLOBAL_PHASE_POS, -1) in self.places

    def bound(self, rows: np.ndarray) -> list[Any]:
        """The parameters as Aer takes them, for rows ``(R, P)`` of the template's."""
        return [[place, self._column(value, rows)] for place, value in zip(self.places, self.values, strict=True)]

    def _column(self, value: ParameterExpression, rows: np.ndarray) -> list[float]:
        if isinstance(value, Parameter):
            return rows[:, self.columns[value]].tolist() if value in self.columns else [0.0] * len(rows)
        columns = {parameter: rows[:, self.columns[parameter]].tolist() for parameter in value.parameters}
        return [
            float(value.bind({parameter: column[row] for parameter, column in columns.items()}))
            for row in range(len(rows))
        ]


def compiled(circuit: QuantumCircuit, main: Parametrised, method: str | None) -> Compiled:
    """Make a circuit ready for Aer.

    Args:
        circuit: what to run, with measurements or what saves results.
        main: the template that it was made of, whose parameters it has.
        method: the method of simulation, which decides on the gates there are; ``None`` if the circuit is fitted to a
            machine, and what it uses of that is of interest.
    """
    if method is not None:
        circuit = _translated(circuit, method)
    circuit = _with_phase_in_gates(circuit)
    if not circuit.parameters:
        circuit.global_phase = Parameter("nothing")
    (circuit,), _ = compile_circuit([circuit], [circuit_optypes(circuit)])
    (assembled,), (index_map,) = assemble_circuits([circuit])
    assembled.circ_id = 0
    found = list(_parameters_in(circuit, index_map))
    return Compiled(
        assembled,
        tuple([place for place, _ in found]),
        tuple([value for _, value in found]),
        {parameter: column for column, parameter in enumerate(main.parameters)},
        used_by(circuit) if method is None else frozenset(),
        (circuit.num_qubits, circuit.num_clbits),
    )


def _parameters_in(
    circuit: QuantumCircuit, index_map: Sequence[int]
) -> Iterator[tuple[tuple[int, int], ParameterExpression]]:
    """The parameters of a circuit, and where Aer's form of it has them."""
    if isinstance(circuit.global_phase, ParameterExpression):
        yield (AerConfig.GLOBAL_PHASE_POS, -1), circuit.global_phase
    for index, step in enumerate(circuit.data):
        for position, value in enumerate(step.operation.params):
            if isinstance(value, ParameterExpression) and value.parameters:
                yield (index_map[index], position), value


def save_probabilities(circuit: QuantumCircuit, qubits: Sequence[int], label: str) -> None:
    """Save the probabilities of qubits under a label: the first qubit is the highest bit of an outcome's number."""
    circuit.append(SaveProbabilities(len(qubits), label=label), list(qubits)[::-1])


@cache
def gates_of(method: str) -> frozenset[str]:
    """The names of the instructions that a method of simulation has."""
    return frozenset(AerSimulator(method=method).configuration().basis_gates) | {"measure", "barrier"}


def _translated(circuit: QuantumCircuit, method: str) -> QuantumCircuit:
    """The circuit, with gates that a method of simulation has not taken apart into those that it has.

    Raises:
        ConfigurationError: some have no parts. Aer would refuse one such circuit, and crash with several.
    """
    known = gates_of(method)
    for _ in range(_DEPTH):
        strange = {step.operation.name for step in circuit.data} - known
        if not strange:
            break
        circuit = circuit.decompose(list(strange))
    missing = {step.operation.name for step in circuit.data if isinstance(step.operation, Gate)} - known
    if missing:
        raise ConfigurationError(f"Aer's method={method!r} has no gate {min(missing)!r}: take another method.")
    return circuit


def _with_phase_in_gates(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit with its global phase in gates where it matters: Aer binds none to it in the first row."""
    phase, circuit = circuit.global_phase, circuit.copy()
    circuit.global_phase = 0
    if not phase or "save_statevector" not in circuit.count_ops():
        return circuit
    gates = QuantumCircuit(circuit.num_qubits)
    for _ in range(2):
        gates.p(phase, 0)
        gates.x(0)
    return circuit.compose(gates, front=True)


# Drawing

STEP = 2113
"""What Aer adds to the seed from one circuit of a run to the next."""

_SEEDS = 2**62
"""How many seeds Aer has, those left out that would become too large in long runs."""

_BY_NUMBER = 0x6E756D62
_OF_CELL = 0x63656C6C
_APART = 0x61706172


class Seeds:
    """The seeds of an executor's circuits, which are numbered as they come.

    Args:
        seed: the first circuit's seed; ``None`` for randomness that nobody can repeat.

    Raises:
        ConfigurationError: the seed is no number.
    """

    def __init__(self, seed: int | None) -> None:
        self.seed = checked_seed(seed)
        self._origin = self.seed
        self._lock = threading.Lock()
        self._count = 0

    def take(self, circuits: int) -> int:
        """The number of the first of so many circuits."""
        with self._lock:
            first, self._count = self._count, self._count + circuits
        return first

    def aer(self, number: int, cell: int) -> int:
        """The seed of one of the sampling circuits of a circuit, or of a run that begins with it.

        Those of the first sampling circuits are the seed's own and follow each other in steps, as Aer's do. Those of
        the others begin somewhere else: right behind, they would be the first ones of the next larger seed.
        """
        if self.seed is None:
            return self.fresh()
        first = _derived(self.seed, _OF_CELL, cell) if cell else self.seed
        return (first + STEP * number) % _SEEDS

    def apart(self, number: int, cell: int) -> int:
        """The seed of one of the sampling circuits of a circuit, far from those of all others."""
        if self.seed is None:
            return self.fresh()
        return _derived(self.seed, _APART, number, cell) % _SEEDS

    @staticmethod
    def fresh() -> int:
        """A seed that nobody has drawn before: Aer's own choice would be that of the circuit's first run."""
        return secrets.randbelow(_SEEDS)

    def generators(self, numbers: Sequence[int]) -> list[np.random.Generator]:
        """A generator for each circuit; one for all of them where nothing has to be repeated."""
        if self.seed is None:
            return [np.random.default_rng()] * len(numbers)
        return [np.random.default_rng([self.seed, number]) for number in numbers]

    def replica(self, number: int) -> Seeds:
        """The seeds of a copy of the executor, which follow from the seed, and differ from it."""
        if self.seed is None:
            return Seeds(None)
        copy = Seeds(int(np.random.SeedSequence([self.seed, number + 1]).generate_state(1)[0]))
        copy._origin = self._origin
        return copy

    @cached_property
    def by_number(self) -> Seeds:
        """The seeds of circuits that were given numbers: the same in all copies, and other ones than those here."""
        if self._origin is None:
            return Seeds(None)
        return Seeds(_derived(self._origin, _BY_NUMBER) % _SEEDS)

    def __reduce__(self) -> tuple[type[Seeds], tuple[int | None]]:
        return Seeds, (self.seed,)


def _derived(seed: int, *which: int) -> int:
    return int(np.random.SeedSequence(seed, spawn_key=which).generate_state(1, np.uint64)[0])


def drawn(probabilities: np.ndarray, shots: int, generators: Sequence[np.random.Generator]) -> Counted:
    """Count the outcomes of shots.

    Args:
        probabilities: of the ``2**M`` outcomes of ``R`` circuits, ``(R, 2**M)``.
        shots: how many each circuit has.
        generators: one for each circuit.
    """
    probabilities = np.clip(probabilities.astype(np.float64), 0.0, None)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    if probabilities.shape[1] > 2**TABLE_WIRES:
        return [drawn_histogram(row, shots, rng) for row, rng in zip(probabilities, generators, strict=True)]
    if generators[0] is generators[-1]:
        return generators[0].multinomial(shots, probabilities)
    return np.array([rng.multinomial(shots, row) for row, rng in zip(probabilities, generators, strict=True)])


def tabulated(counts: Sequence[dict[str, int]], wires: int) -> Counted:
    """What Aer has counted, in hexadecimal numbers of outcomes of so many wires."""
    if wires > TABLE_WIRES:
        return [_of_counts(row, wires) for row in counts]
    table = np.zeros((len(counts), 2**wires), dtype=np.int64)
    for row, counted in enumerate(counts):
        table[row, [int(outcome, 16) for outcome in counted]] = list(counted.values())
    return table


def _of_counts(counts: dict[str, int], wires: int) -> Histogram:
    bits = [[int(bit) for bit in f"{int(outcome, 16):0{wires}b}"] for outcome in counts]
    return Histogram(np.array(bits, dtype=np.int64), np.array(list(counts.values()), dtype=np.int64))


# Circuits with shots

_converted: OnceCache[Parametrised] = OnceCache(256)
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
        counted = []
        for number in range(len(self._readout.cells)):
            table = np.array(list(map(itemgetter(str(number)), rows)))
            counted.append(drawn(table, self._shots, generators))
        return self._readout.results(counted, generators)


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
        counted = [tabulated(rows, len(cell.wires or ())) for rows, cell in cells]
        return self._readout.results(counted, generators)


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
