"""Qiskit's circuits as they are, for what PennyLane cannot say.

What is kept is the same for equal circuits, in every process: names, which Qiskit numbers as they come, are left out,
and blocks are on the bits of the outermost circuit. Importing this imports Qiskit, so it is imported when the first
such circuit is read.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any
from uuid import UUID

from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, qpy
from qiskit.circuit import (
    BoxOp,
    BreakLoopOp,
    ContinueLoopOp,
    ControlFlowOp,
    ForLoopOp,
    IfElseOp,
    Parameter,
    Store,
    SwitchCaseOp,
    WhileLoopOp,
)
from qiskit.circuit.classical import expr

from pennylane_qexec.circuits.frameworks.builder import MOST_OPERATIONS
from pennylane_qexec.circuits.mid_circuit import QiskitCircuit
from pennylane_qexec.circuits.qiskit.open_controls import are_lost, would_be_lost
from pennylane_qexec.circuits.qiskit.reader import ClassicalBits, bits_of
from pennylane_qexec.errors import ConfigurationError

_WHOLE = (BreakLoopOp, ContinueLoopOp)


def as_it_is(circuit: QuantumCircuit, reason: str) -> QiskitCircuit:
    """A circuit as one operation of PennyLane's.

    Args:
        circuit: the circuit, without parameters that have no value.
        reason: what in it PennyLane cannot say.

    Raises:
        ConfigurationError: it has variables, loops of too many turns, or open controls that cannot be kept.
    """
    if circuit.num_vars:
        names = ", ".join(repr(variable.name) for variable in circuit.iter_vars())
        raise ConfigurationError(
            f"circuit {circuit.name!r} has the variables {names}, which are set by 'store': only classical bits and "
            "registers are known here. Measure into a register."
        )
    writer = _Writer(circuit)
    file = io.BytesIO()
    qpy.dump(writer.circuit, file)
    if are_lost(file.getvalue()):
        raise ConfigurationError(
            f"circuit {circuit.name!r} has a gate with open controls inside another operation, which Qiskit would read "
            "back as closed ones: decompose the circuit."
        )
    flow = tuple(sorted(writer.flow))
    return QiskitCircuit(circuit.num_qubits, circuit.num_clbits, file.getvalue(), writer.size, flow, reason)


def measures(circuit: QuantumCircuit) -> bool:
    """Whether something in a circuit, or in its blocks, writes a classical bit."""
    return any(
        any(map(measures, item.operation.blocks))
        if isinstance(item.operation, ControlFlowOp)
        else isinstance(item.operation, Store) or (bool(item.clbits) and not isinstance(item.operation, _WHOLE))
        for item in circuit.data
    )


class _Writer:
    """Copies a circuit.

    Attributes:
        circuit: the copy.
        size: how many instructions it has, those in loops as often as these have turns that are known.
        flow: the names of its control flow.
    """

    def __init__(self, source: QuantumCircuit) -> None:
        self.size = 0
        self.flow: set[str] = set()
        self._numbers = count()
        self._registers: dict[tuple[Any, ...], ClassicalRegister] = {}
        # Bits that belong to a register are told from others by its name, in all blocks and after reading again.
        self._parts = [QuantumRegister(source.num_qubits, "q"), ClassicalRegister(source.num_clbits, "c")]
        self.circuit = self._block()
        self._open = [self.circuit]
        place = dict(zip([*source.qubits, *source.clbits], [*self.circuit.qubits, *self.circuit.clbits], strict=True))
        self._write(source, self.circuit, place, 1)

    def _block(self) -> QuantumCircuit:
        return QuantumCircuit(*[part for part in self._parts if len(part)], name="circuit")

    def _write(self, source: QuantumCircuit, target: QuantumCircuit, place: ClassicalBits, times: int) -> None:
        for item in source.data:
            operation = item.operation
            self.size += times
            if self.size > MOST_OPERATIONS:
                raise ConfigurationError(
                    f"a circuit with loops of more than {MOST_OPERATIONS:,} operations in all their turns: take fewer "
                    "turns."
                )
            if isinstance(operation, ControlFlowOp | Store | BreakLoopOp | ContinueLoopOp):
                self.flow.add(operation.name)
            if isinstance(operation, ControlFlowOp):
                self._write_flow(item, target, place, times)
            elif isinstance(operation, _WHOLE):
                whole = type(operation)(target.num_qubits, target.num_clbits)
                target.append(whole, target.qubits, target.clbits, copy=False)
            elif isinstance(operation, Store):
                stored = [self._expression(each, place) for each in (operation.lvalue, operation.rvalue)]
                target.append(Store(*stored), (), (), copy=False)
            elif would_be_lost(operation):
                self._write(operation.definition, target, _inside(operation.definition, item, place), times)
            else:
                qubits, clbits = ([place[bit] for bit in bits] for bits in (item.qubits, item.clbits))
                target.append(operation, qubits, clbits, copy=False)

    def _write_flow(self, item: Any, target: QuantumCircuit, place: ClassicalBits, times: int) -> None:
        operation = item.operation
        if isinstance(operation, BoxOp):
            self._write(operation.blocks[0], target, _inside(operation.blocks[0], item, place), times)
            return
        if isinstance(operation, ForLoopOp):
            operation = self._with_own_parameter(operation)
            times *= len(operation.params[0])
        make = self._maker(operation, place)
        blocks = []
        for block in operation.blocks:
            blocks.append(self._block())
            self._open.append(blocks[-1])
            self._write(block, blocks[-1], _inside(block, item, place), times)
            self._open.pop()
        for block in blocks:
            for register in target.cregs:
                if register not in block.cregs:
                    block.add_register(register)
        target.append(make(blocks), target.qubits, target.clbits, copy=False)

    def _maker(self, operation: Any, place: ClassicalBits) -> Callable[[Sequence[QuantumCircuit]], Any]:
        """What makes the same control flow of other blocks, once they are written."""
        if isinstance(operation, ForLoopOp):
            return lambda blocks: _loop(*operation.params[:2], *blocks)
        if isinstance(operation, SwitchCaseOp):
            target = self._source(operation.target, place)
            values = [values for values, _ in operation.cases_specifier()]
            return lambda blocks: SwitchCaseOp(target, list(zip(values, blocks, strict=True)))
        condition = self._source(operation.condition, place)
        kind = WhileLoopOp if isinstance(operation, WhileLoopOp) else IfElseOp
        return lambda blocks: kind(condition, *blocks)

    def _source(self, source: Any, place: ClassicalBits) -> Any:
        """A bit, a register, an expression, or one of the first two beside the value it must have, on our bits."""
        if isinstance(source, tuple):
            return self._source(source[0], place), source[1]
        if isinstance(source, expr.Expr):
            return self._expression(source, place)
        return self._variable(source, place)

    def _expression(self, node: Any, place: ClassicalBits) -> Any:
        if isinstance(node, expr.Value):
            return node
        if isinstance(node, expr.Var):
            return expr.Var(self._variable(node.var, place), node.type)
        if isinstance(node, expr.Index):
            return expr.Index(self._expression(node.target, place), self._expression(node.index, place), node.type)
        if isinstance(node, expr.Cast):
            return expr.Cast(self._expression(node.operand, place), node.type, node.implicit)
        if isinstance(node, expr.Unary):
            return expr.Unary(node.op, self._expression(node.operand, place), node.type)
        if isinstance(node, expr.Binary):
            left, right = self._expression(node.left, place), self._expression(node.right, place)
            return expr.Binary(node.op, left, right, node.type)
        raise ConfigurationError(f"{node!r} in a condition is not known here. Compare bits and registers with numbers.")

    def _variable(self, variable: Any, place: ClassicalBits) -> Any:
        bits = tuple(place[bit] for bit in bits_of(variable))
        if not isinstance(variable, ClassicalRegister):
            return bits[0]
        if bits not in self._registers:
            self._registers[bits] = ClassicalRegister(name=f"c{len(self._registers)}", bits=list(bits))
        register = self._registers[bits]
        for circuit in self._open:
            if register not in circuit.cregs:
                circuit.add_register(register)
        return register

    def _with_own_parameter(self, loop: ForLoopOp) -> ForLoopOp:
        """A loop whose parameter has the same identity in every process."""
        numbers, parameter, body = loop.params
        if parameter is None or parameter not in body.parameters:
            return ForLoopOp(numbers, None, body)
        number = next(self._numbers)
        own = Parameter(f"p{number}", uuid=UUID(int=number))
        return ForLoopOp(numbers, own, body.assign_parameters({parameter: own}))


def _loop(numbers: Sequence[int], parameter: Any, body: QuantumCircuit) -> ForLoopOp:
    """A loop. Aer fails on a parameter that nothing depends on, and on numbers that come twice."""
    if parameter not in body.parameters:
        return ForLoopOp(range(len(numbers)), None, body)
    return ForLoopOp(numbers, parameter, body)


def _inside(block: QuantumCircuit, item: Any, place: ClassicalBits) -> dict[Any, Any]:
    """Our bits for those of a block, and for those of the circuits around it."""
    inner = zip([*block.qubits, *block.clbits], [*item.qubits, *item.clbits], strict=True)
    return {**place, **{bit: place[outer] for bit, outer in inner}}
