"""Conditions on classical bits, as Qiskit writes them.

Importing this imports Qiskit, so it is imported when the first circuit with a condition is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import add, and_, eq, ge, gt, le, lshift, lt, mul, ne, or_, rshift, sub, xor
from typing import Any, NamedTuple

from qiskit.circuit import ClassicalRegister, Clbit
from qiskit.circuit.classical import expr, types

from pennylane_qexec.errors import ConfigurationError

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


class Reading(NamedTuple):
    """Something that depends on classical bits.

    Attributes:
        bits: Qiskit's bits, each once.
        value: what it is, for values of these bits.
    """

    bits: tuple[Any, ...]
    value: Callable[[Sequence[int]], int]


def reading(source: Any) -> Reading:
    """What a bit, a register, an expression, or one of the first two beside the value it must have, depends on.

    Raises:
        ConfigurationError: it depends on a variable, or does something not known here.
    """
    if isinstance(source, tuple):
        target, wanted = reading(source[0]), int(source[1])
        return Reading(target.bits, lambda values: target.value(values) == wanted)
    node = source if isinstance(source, expr.Expr) else expr.lift(source)
    bits = tuple(dict.fromkeys(bit for var in expr.iter_vars(node) for bit in bits_of(var.name or var.var)))
    _value(node, dict.fromkeys(bits, 0))
    return Reading(bits, lambda values: _value(node, dict(zip(bits, values, strict=True))))


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
