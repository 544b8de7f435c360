"""Circuits of Qiskit that Aer runs as they are.

While Aer computes, nothing can stop it. So all loops of a circuit that end by what is measured share a counter: when it
is full, they end, and the result is an error.

Importing this imports Qiskit and Aer, so it is imported when the first such circuit is run.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from pennylane.wires import Wires
from qiskit import ClassicalRegister, QuantumCircuit, qpy
from qiskit.circuit import ControlFlowOp, ParameterVector, WhileLoopOp
from qiskit.circuit.classical import expr
from qiskit.transpiler import PassManager, TranspilerError, generate_preset_pass_manager
from qiskit_aer import AerError, AerSimulator

from pennylane_qexec.circuits.mid_circuit import QiskitCircuit, bit_wires
from pennylane_qexec.circuits.qiskit.noise import FakeMachine
from pennylane_qexec.circuits.qiskit.open_controls import are_lost
from pennylane_qexec.circuits.qiskit.preparation import Parametrised
from pennylane_qexec.circuits.templates import Template
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.aer.sampled import Compiled, Program, compiled
from pennylane_qexec.executors.aer.simulation import Simulation
from pennylane_qexec.job import Result

PROBED_SHOTS = 16

COUNTER_BITS = 14
"""Of the counter of turns: ``2**14`` turns of a small loop take 40 ms."""

_COUNTER = "turns"

# Qiskit's passes keep notes of the circuit they work on.
_compiling = threading.Lock()


class CountedAsItIs(Program):
    """Shots of one of Qiskit's circuits, counted by Aer.

    Args:
        template: the structure, whose only operation is the circuit.
        method: Aer's method of simulation.
        machine: where noise comes from; ``None`` for no noise but that of the options.
        simulation: runs it.

    Raises:
        ConfigurationError: there is something in it that Aer or the machine does not know, or a loop does not end.
    """

    circuits = ()

    def __init__(self, template: Template, method: str, machine: FakeMachine | None, simulation: Simulation) -> None:
        (part,) = template.circuit.operations
        assert isinstance(part, QiskitCircuit)
        labels = {label: number for number, label in enumerate(bit_wires(part.hyperparameters["bits"]))}
        self._bits = [labels[wire] for wire in template.circuit.measurements[0].wires]
        self._number = len(labels)
        self._shots = template.circuit.shots.total_shots or 0
        self._simulation = simulation
        circuit = loaded(part)
        self._loops = _has_loops(circuit)
        self._circuit = _ready(with_counter(circuit) if self._loops else circuit, method, machine)
        if self._loops:  # one without an end is told by few shots, and would take long in many
            self._counted(min(PROBED_SHOTS, self._shots), np.random.default_rng())

    def results(self, outputs: Sequence[Sequence[Any]], generators: Sequence[np.random.Generator]) -> list[Result]:
        """Run the circuit once for each generator."""
        return [self._counted(self._shots, generator) for generator in generators]

    def _counted(self, shots: int, generator: np.random.Generator) -> dict[str, int]:
        """The counts of shots, as PennyLane has them.

        Aer draws shot ``i`` of such a circuit by the seed plus ``i``. So seeds must be far from each other, and those
        of circuits that run together, which are 2113 apart, are not.
        """
        found: dict[str, int] = {}
        seed = int(generator.integers(1, 2**62))
        for outcome, times in self._simulation.counted(self._circuit, shots, seed).items():
            number = int(outcome, 16)
            if self._loops and number >> (self._number + COUNTER_BITS):
                raise ConfigurationError(
                    f"a 'while_loop' has not ended within {2**COUNTER_BITS} turns in {times} of {shots} shots. "
                    "Take a loop that ends sooner, or a 'for_loop' with a 'break_loop'."
                )
            key = "".join(["01"[number >> bit & 1] for bit in self._bits])
            found[key] = found.get(key, 0) + int(times)
        return found


def loaded(part: QiskitCircuit) -> QuantumCircuit:
    """Qiskit's circuit of an operation.

    Raises:
        ConfigurationError: it was written by an earlier version of this package, and Qiskit would read another one.
    """
    content = part.hyperparameters["qpy"]
    if are_lost(content):
        raise ConfigurationError(
            "a circuit has gates with open controls in a form that the installed Qiskit reads as closed controls. It "
            "was converted by an earlier version of this package: convert it from Qiskit again."
        )
    (circuit,) = qpy.load(io.BytesIO(content))
    return circuit


def with_counter(circuit: QuantumCircuit) -> QuantumCircuit:
    """The circuit with one counter for all its loops, whose bits come last; the highest is 1 if it was full.

    Args:
        circuit: a circuit whose blocks are on its own bits.
    """
    counter = ClassicalRegister(COUNTER_BITS + 1, _COUNTER)
    empty = circuit.copy_empty_like()
    empty.add_register(counter)
    return _counted(circuit, empty, counter)


def _counted(source: QuantumCircuit, empty: QuantumCircuit, counter: ClassicalRegister) -> QuantumCircuit:
    target = empty.copy_empty_like()
    for item in source.data:
        operation = item.operation
        if not isinstance(operation, ControlFlowOp):
            target.append(item)
            continue
        blocks = [_counted(block, empty, counter) for block in operation.blocks]
        operation = operation.replace_blocks(blocks)
        if isinstance(operation, WhileLoopOp):
            # Counted first, so that what breaks or continues in the loop does not go round it.
            body = empty.copy_empty_like()
            _count(body, counter)
            for step in blocks[0].data:
                body.append(step)
            goes_on = expr.logic_and(_condition(operation.condition), expr.logic_not(counter[COUNTER_BITS]))
            operation = WhileLoopOp(goes_on, body)
        target.append(operation, target.qubits, target.clbits, copy=False)
    return target


def _count(body: QuantumCircuit, counter: ClassicalRegister) -> None:
    """Add 1 to the counter, bit by bit, since Aer cannot add."""
    for place in range(COUNTER_BITS, 0, -1):
        carry: Any = expr.lift(counter[0])
        for lower in counter[1:place]:
            carry = expr.logic_and(carry, lower)
        body.store(counter[place], expr.bit_xor(counter[place], carry))
    body.store(counter[0], expr.logic_not(counter[0]))


def _condition(condition: Any) -> expr.Expr:
    if isinstance(condition, expr.Expr):
        return condition
    target, value = condition
    if isinstance(target, ClassicalRegister):
        return expr.equal(target, int(value))
    return expr.lift(target) if value else expr.logic_not(target)


def _has_loops(circuit: QuantumCircuit) -> bool:
    return any(
        isinstance(item.operation, WhileLoopOp) or any(map(_has_loops, item.operation.blocks))
        for item in circuit.data
        if isinstance(item.operation, ControlFlowOp)
    )


def _ready(circuit: QuantumCircuit, method: str, machine: FakeMachine | None) -> Compiled:
    main = Parametrised(circuit, ParameterVector("p", 0), Wires(range(circuit.num_qubits)))
    try:
        if machine is not None:
            return compiled(machine.fitted(circuit), main, None)
        with _compiling:
            fitted = _compiler(method).run(circuit, num_processes=1)
        return compiled(fitted, main, method)
    except (AerError, TranspilerError) as error:
        raise ConfigurationError(f"Aer cannot run the circuit: {str(error.message).rstrip('.')}.") from error


@cache
def _compiler(method: str) -> PassManager:
    """Qiskit's compiler for Aer, which takes a second to make.

    More than level 0 takes a break of a loop for something with blocks of its own, and fails.
    """
    return generate_preset_pass_manager(0, backend=AerSimulator(method=method))
