"""Qiskit's conditions and control flow in PennyLane: measured bits in expressions, ``if``, ``switch`` and ``for``.

Importing this imports Qiskit, so it is imported when the first circuit with a condition is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import add, and_, eq, ge, gt, le, lshift, lt, mul, ne, or_, rshift, sub, xor
from typing import Any, NamedTuple

from qiskit import QuantumCircuit
from qiskit.circuit import BoxOp, ClassicalRegister, Clbit, ControlFlowOp, ForLoopOp, IfElseOp, SwitchCaseOp
from qiskit.circuit.classical import expr, types
from qiskit.circuit.controlflow import CASE_DEFAULT

from pennylane_qexec.circuits.frameworks.builder import BeyondPennyLaneError, CircuitBuilder
from pennylane_qexec.errors import ConfigurationError

# Conditions

_BINARY: dict[Any, Callable[[int, int], int]] = {
    expr.Binary.Op.BIT_AND: and_,
    expr.Binary.Op.BIT_OR: or_,
    expr.Binary.Op.BIT_XOR: xor,
    expr.Binary.Op.LOGIC_AND: lambda left, right: bool(left) and bool(right),
    expr.Binary.Op.LOGIC_OR: lambda left, right: bool(left) or bool(right),
    expr.Binary.Op.EQUAL: eq,
    expr.Binary.Op.NOT_EQUAL: ne,
    expr.Binary.Op.LESS: lt,
    expr.Binary.Op.LESS_EQUAL: le,
    expr.Binary.Op.GREATER: gt,
    expr.Binary.Op.GREATER_EQUAL: ge,
    expr.Binary.Op.SHIFT_LEFT: lshift,
    expr.Binary.Op.SHIFT_RIGHT: rshift,
    expr.Binary.Op.ADD: add,
    expr.Binary.Op.SUB: sub,
    expr.Binary.Op.MUL: mul,
}

Values = Mapping[Any, int]
"""The value of each bit."""


class ClassicalCondition(NamedTuple):
    """Something that depends on classical bits.

    Attributes:
        bits: Qiskit's bits, each once.
        value: what it is, for values of these bits.
    """

    bits: tuple[Any, ...]
    value: Callable[[Sequence[int]], int]


def reading(source: Any) -> ClassicalCondition:
    """What a bit, a register, an expression, or one of the first two beside the value it must have, depends on.

    Raises:
        ConfigurationError: it depends on a variable, or does something not known here.
    """
    if isinstance(source, tuple):
        target, wanted = reading(source[0]), int(source[1])
        return ClassicalCondition(target.bits, lambda values: target.value(values) == wanted)
    node = source if isinstance(source, expr.Expr) else expr.lift(source)
    bits = tuple(dict.fromkeys(bit for var in expr.iter_vars(node) for bit in bits_of(var.name or var.var)))
    _value(node, dict.fromkeys(bits, 0))
    return ClassicalCondition(bits, lambda values: _value(node, dict(zip(bits, values, strict=True))))


def bits_of(variable: Any) -> Sequence[Any]:
    """The bits of a register, or the one bit that is given.

    Raises:
        ConfigurationError: it is neither.
    """
    if isinstance(variable, Clbit):
        return (variable,)
    if isinstance(variable, ClassicalRegister):
        return list(variable)
    raise ConfigurationError(
        f"a condition on the variable {variable!r}: only bits and registers can be read. Measure into a register."
    )


def _value(node: Any, values: Values) -> int:
    """What an expression is; bits of a register are those of a number, the first one the lowest."""
    if isinstance(node, expr.Value):
        return int(node.value)
    if isinstance(node, expr.Var):
        return sum(values[bit] << place for place, bit in enumerate(bits_of(node.var)))
    if isinstance(node, expr.Index):
        return (_value(node.target, values) >> _value(node.index, values)) & 1
    if isinstance(node, expr.Cast):
        return _limited(_value(node.operand, values), node.type)
    if isinstance(node, expr.Unary):
        return _inverted(node, _value(node.operand, values))
    if isinstance(node, expr.Binary) and node.op in _BINARY:
        return _limited(_BINARY[node.op](_value(node.left, values), _value(node.right, values)), node.type)
    raise ConfigurationError(f"{node!r} in a condition is not known here. Compare bits and registers with numbers.")


def _inverted(node: Any, value: int) -> int:
    if node.op is expr.Unary.Op.LOGIC_NOT or isinstance(node.type, types.Bool):
        return not value
    if node.op is expr.Unary.Op.BIT_NOT:
        return _limited(~value, node.type)
    raise ConfigurationError(f"{node!r} in a condition is not known here. Compare bits and registers with numbers.")


def _limited(value: int, kind: Any) -> int:
    """A number in the bits that its type has."""
    return value & ((1 << kind.width) - 1) if isinstance(kind, types.Uint) else bool(value)


# Control flow

MOST_TURNS = 10_000
"""The most times that a loop's body is written down."""

_PER_TURN = 10
"""How many operations could be written down while a loop's body gets its number."""


class Flow(NamedTuple):
    """What writing a block down takes.

    Attributes:
        draft: where it is written.
        write: writes a circuit's instructions, given the wires of its qubits and what its classical bits are.
        bits: for the classical bits of the circuit that the blocks are in, those of the outermost circuit.
    """

    draft: CircuitBuilder
    write: Callable[[CircuitBuilder, QuantumCircuit, Sequence[int], Any], None]
    bits: Any


def write_control_flow(flow: Flow, operation: Any, wires: Sequence[int], clbits: Sequence[Any]) -> None:
    """Write down an ``if``, a ``switch``, a ``for`` whose numbers are known, or a box.

    Args:
        flow: where and how.
        operation: Qiskit's control flow.
        wires: the wires of its qubits.
        clbits: its classical bits, as those of the outermost circuit.

    Raises:
        BeyondPennyLaneError: it is a loop whose turns are not known beforehand.
    """

    def write(block: QuantumCircuit) -> None:
        flow.write(flow.draft, block, wires, {**flow.bits, **dict(zip(block.clbits, clbits, strict=True))})

    if isinstance(operation, IfElseOp):
        _write_if(flow, operation, write)
    elif isinstance(operation, SwitchCaseOp):
        _write_switch(flow, operation, write)
    elif isinstance(operation, ForLoopOp):
        turns = _turns(operation)
        flow.draft.spend(_PER_TURN * len(operation.params[0]))
        for block in turns:
            write(block)
    elif isinstance(operation, BoxOp):
        write(operation.blocks[0])
    else:
        raise BeyondPennyLaneError(
            f"a {operation.name!r} of Qiskit: how often it runs is not known before. Write it as a for-loop over "
            "numbers, or without a loop.",
            f"a {operation.name!r}",
        )


def loop_parameters(circuit: QuantumCircuit) -> set[Any]:
    """The parameters that for-loops in a circuit give values to."""
    found: set[Any] = set()
    for item in circuit.data:
        if isinstance(item.operation, ControlFlowOp):  # breaks are control flow too, without blocks
            if isinstance(item.operation, ForLoopOp):
                found.add(item.operation.params[1])
            for block in item.operation.blocks:
                found |= loop_parameters(block)
    return found


def _write_if(flow: Flow, operation: Any, write: Callable[[QuantumCircuit], None]) -> None:
    condition = reading(operation.condition)
    bits = [flow.bits[bit] for bit in condition.bits]
    for block, wanted in zip(operation.blocks, (True, False), strict=False):
        with flow.draft.only_if(bits, _is(condition.value, {wanted})) as possible:
            if possible:
                write(block)


def _write_switch(flow: Flow, operation: Any, write: Callable[[QuantumCircuit], None]) -> None:
    target = reading(operation.target)
    bits = [flow.bits[bit] for bit in target.bits]
    cases = [(set(values), block) for values, block in operation.cases_specifier()]
    named = {int(value) for values, _ in cases for value in values if value is not CASE_DEFAULT}
    for values, block in cases:
        mine = {int(value) for value in values if value is not CASE_DEFAULT}
        unless = named - mine if CASE_DEFAULT in values else None
        is_met = _is(target.value, mine) if unless is None else _is_not(target.value, unless)
        with flow.draft.only_if(bits, is_met) as possible:
            if possible:
                write(block)


def _is(value: Callable[[Sequence[int]], int], wanted: Iterable[int]) -> Callable[[tuple[int, ...]], bool]:
    return lambda bits: int(value(bits)) in wanted


def _is_not(value: Callable[[Sequence[int]], int], others: Iterable[int]) -> Callable[[tuple[int, ...]], bool]:
    return lambda bits: int(value(bits)) not in others


def _turns(operation: Any) -> Iterable[QuantumCircuit]:
    """The body of a for-loop, once for each of its numbers."""
    numbers, parameter, body = operation.params
    if len(numbers) > MOST_TURNS:
        raise BeyondPennyLaneError(
            f"a for-loop of {len(numbers)} turns: at most {MOST_TURNS} are written out.",
            f"a 'for_loop' of {len(numbers)} turns",
        )
    if parameter is None:
        return [body] * len(numbers)
    return (body.assign_parameters({parameter: number}) for number in numbers)
