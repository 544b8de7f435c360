"""Circuits of Qiskit made ready for Aer, once for each template.

Importing this imports Qiskit and Aer, so it is imported when the first circuit is run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter, ParameterExpression
from qiskit_aer import AerSimulator
from qiskit_aer.backends.aer_compiler import assemble_circuits, compile_circuit
from qiskit_aer.backends.backend_utils import circuit_optypes
from qiskit_aer.backends.controller_wrappers import AerCircuit, AerConfig
from qiskit_aer.library import SaveProbabilities

from pennylane_qexec.circuits.qiskit.preparation import Parametrised
from pennylane_qexec.executors.aer.noise import Used, used_by

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

    @property
    def width(self) -> int:
        """How many qubits are simulated."""
        return len({qubit for _, qubits in self.used for qubit in qubits}) if self.used else self.size[0]

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
        circuit = _translated(circuit, gates_of(method))
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


def _translated(circuit: QuantumCircuit, known: frozenset[str]) -> QuantumCircuit:
    """The circuit, with other gates than the known ones taken apart; some have no parts, and Aer will refuse them."""
    for _ in range(_DEPTH):
        strange = {step.operation.name for step in circuit.data} - known
        if not strange:
            break
        circuit = circuit.decompose(list(strange))
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
