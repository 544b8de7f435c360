"""What a batch of circuits is run as by a device of qBraid, and how it is sent.

It gets Qiskit's circuits, in gates that every conversion of qBraid knows. Wire number ``k`` is qubit number ``k``, and
all qubits are measured, qubit ``k`` into classical bit ``k``. So outcomes mean the same whether a device counts
classical bits, or all of its qubits, as those of some vendors do. Importing this imports Qiskit, so it is imported when
the first job is sent.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import numpy as np
from pennylane.tape import QuantumScript
from qiskit import ClassicalRegister, QuantumCircuit, transpile
from qiskit.circuit.library import Initialize, StatePreparation

from pennylane_qexec.circuits.qiskit.preparation import REGISTER, parametrised
from pennylane_qexec.circuits.readout import Readout
from pennylane_qexec.circuits.sampling import Cell
from pennylane_qexec.circuits.templates import Fused, Template, fuse, unfused
from pennylane_qexec.concurrency.once import Kept
from pennylane_qexec.executors.base import Binder
from pennylane_qexec.executors.counting import WrongCountsError, counts_of_bits
from pennylane_qexec.job import Bound, Result

_COMMON = ("h", "x", "y", "z", "s", "sdg", "t", "tdg", "rx", "ry", "rz", "cx", "cz", "swap")
"""Gates that OpenQASM 2 and 3, Cirq, Braket, Quil, pytket and IonQ's language have."""


def sendable(template: Template, cell: Cell, takes_qiskit: bool) -> QuantumCircuit:
    """The parametrised circuit of a cell, with all its qubits measured.

    Args:
        template: of the circuits.
        cell: a group of their measurements.
        takes_qiskit: whether the device takes Qiskit's circuits, with whatever gates they have.
    """
    converted = parametrised(cell.circuit.operations, template.slots, template.circuit.wires)
    circuit = _from_zero(converted.circuit)
    if not takes_qiskit:
        circuit = _in_common_gates(circuit)
    qubits = range(circuit.num_qubits)
    circuit.add_register(ClassicalRegister(len(qubits), REGISTER))
    circuit.measure(qubits, qubits)
    return circuit


def _from_zero(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit without resets, which many devices have not: qubits begin in the state 0."""
    prepared = circuit.copy_empty_like()
    for instruction in circuit:
        operation = instruction.operation
        if isinstance(operation, Initialize):
            operation = StatePreparation(operation.params)
        prepared.append(operation, instruction.qubits, copy=False)
    return prepared


def _in_common_gates(circuit: QuantumCircuit) -> QuantumCircuit:
    bare = circuit.copy_empty_like()
    for instruction in circuit:
        if instruction.name != "barrier":
            bare.append(instruction)
    if any(instruction.name not in _COMMON for instruction in bare):
        bare = transpile(bare, basis_gates=list(_COMMON), optimization_level=0)
    # Nothing that is measured depends on it, and not every language can say it.
    bare.global_phase = 0
    return bare


_KEPT_PROGRAMS = 256


@final
class Program:
    """Circuits of one structure, with any number of shots.

    Args:
        template: the structure.
        takes_qiskit: whether the device takes Qiskit's circuits.
    """

    def __init__(self, template: Template, takes_qiskit: bool) -> None:
        self._wires = template.circuit.wires
        self._readout = Readout(template.circuit)
        self._circuits = [sendable(template, cell, takes_qiskit) for cell in self._readout.cells]

    @property
    def size(self) -> int:
        """How many circuits each row is run as."""
        return len(self._circuits)

    def circuits(self, parameters: np.ndarray) -> list[QuantumCircuit]:
        """What is run for the ``R`` rows of a matrix of parameters, ``(R, P)``, row by row."""
        return [_with_numbers(circuit, row) for row in parameters for circuit in self._circuits]

    def results(self, answers: Sequence[Mapping[Any, Any]], shots: int, rng: np.random.Generator) -> list[Result]:
        """The results of ``R`` rows.

        Args:
            answers: the counts of what is run for them, in order.
            shots: of each of them.
            rng: puts samples in their order.
        """
        tables = []
        for number, cell in enumerate(self._readout.cells):
            measured = self._wires.indices(cell.wires or ())
            tables.append(counts_of_bits(answers[number :: self.size], len(self._wires), measured, shots))
        return self._readout.results(tables, rng)


@dataclass(frozen=True)
class Plan:
    """What the circuits of a batch are run as.

    Attributes:
        bounds: the circuits, made ready.
        parts: the groups of those of one structure, with their programs.
        seed: of the order of samples.
    """

    bounds: Sequence[Bound]
    parts: Sequence[tuple[Fused, Program]]
    seed: np.random.SeedSequence

    @cached_property
    def by_shots(self) -> dict[int, list[tuple[Fused, Program]]]:
        """The groups by their number of shots, in the order in which they are sent."""
        grouped: dict[int, list[tuple[Fused, Program]]] = {}
        for fused, program in self.parts:
            grouped.setdefault(_shots(fused), []).append((fused, program))
        return grouped

    def results(self, answers: Sequence[Mapping[Any, Any]]) -> list[Result]:
        """The results of the circuits.

        Args:
            answers: the counts of all that was sent, in that order.

        Raises:
            WrongCountsError: these are not the counts of what was sent.
        """
        rng = np.random.default_rng(self.seed)
        expected = sum(len(fused.indices) * program.size for fused, program in self.parts)
        if len(answers) != expected:
            raise WrongCountsError(f"{len(answers)} circuits were counted, and {expected} were asked for")
        remaining, groups = iter(answers), []
        for shots, parts in self.by_shots.items():
            for fused, program in parts:
                mine = list(itertools.islice(remaining, len(fused.indices) * program.size))
                groups.append((fused, program.results(mine, shots, rng)))
        results = iter(unfused(groups, sum(len(bound.circuits) for bound in self.bounds)))
        return [bound.postprocess([next(results) for _ in bound.circuits]) for bound in self.bounds]


@final
class Planner:
    """Plans batches for one device; what was converted for it is kept.

    Args:
        takes_qiskit: whether the device takes Qiskit's circuits.
    """

    def __init__(self, takes_qiskit: bool) -> None:
        self._takes_qiskit = takes_qiskit
        self._programs: Kept[Program] = Kept(_KEPT_PROGRAMS)

    def plan(self, circuits: Sequence[QuantumScript], binder: Binder, seed: Sequence[int] | None) -> Plan:
        """What circuits are run as.

        Args:
            circuits: circuits with shots.
            binder: makes them ready for Qiskit.
            seed: of the order of samples; ``None`` for none.
        """
        bounds = [binder(circuit) for circuit in circuits]
        groups = fuse([one for bound in bounds for one in bound.circuits])
        parts = [(fused, self._program(fused.template)) for fused in groups]
        return Plan(bounds, parts, np.random.SeedSequence(seed))

    def _program(self, template: Template) -> Program:
        return self._programs.get(_without_shots(template), lambda: Program(template, self._takes_qiskit))


def send(
    plan: Plan, device: Any, convert: Callable[[QuantumCircuit], Any], most: int | None, options: Mapping[str, Any]
) -> list[Any]:
    """Send what a plan needs: together what has the same number of shots.

    Args:
        plan: what to run.
        device: qBraid's device.
        convert: makes circuits ready for the device's ``run``.
        most: the most circuits that are sent together.
        options: of the device's ``run``.

    Returns:
        qBraid's jobs, in order. If one cannot be sent, those before are cancelled.
    """
    jobs: list[Any] = []
    try:
        for shots, parts in plan.by_shots.items():
            circuits = [convert(one) for fused, program in parts for one in program.circuits(fused.parameters)]
            for start in range(0, len(circuits), most or len(circuits)):
                together = circuits[start : start + (most or len(circuits))]
                sent = device.run(together if len(together) > 1 else together[0], shots=shots, **options)
                jobs += sent if isinstance(sent, list) else [sent]
    except BaseException:
        for job in jobs:
            with contextlib.suppress(Exception):  # what cannot be cancelled runs
                job.cancel()
        raise
    return jobs


def _with_numbers(circuit: QuantumCircuit, row: np.ndarray) -> QuantumCircuit:
    numbers = {parameter: float(row[parameter.index]) for parameter in circuit.parameters}
    return circuit.assign_parameters(numbers) if numbers else circuit.copy()


def _shots(fused: Fused) -> int:
    return int(fused.template.circuit.shots.total_shots or 0)


def _without_shots(template: Template) -> Hashable:
    """The key of a template, equal for all numbers of shots."""
    return template.key and fuse([template.circuit.copy(shots=None)])[0].template.key
