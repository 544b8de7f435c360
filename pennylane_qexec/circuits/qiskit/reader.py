"""Qiskit's circuits in PennyLane, with their classical registers, conditions and control flow.

Qubit number ``k`` becomes wire number ``k``; measured bits become expressions of outcomes in ``if``, ``switch`` and
``for``. Importing this imports Qiskit, so it is imported when the first circuit is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from math import isfinite
from operator import add, and_, eq, ge, gt, le, lshift, lt, mul, ne, or_, rshift, sub, xor
from typing import Any, NamedTuple

import numpy as np
import pennylane as qml
from qiskit import QuantumCircuit
from qiskit.circuit import (
    BoxOp,
    BreakLoopOp,
    ClassicalRegister,
    Clbit,
    ContinueLoopOp,
    ControlFlowOp,
    ControlledGate,
    Delay,
    ForLoopOp,
    IfElseOp,
    Instruction,
    ParameterExpression,
    Store,
    SwitchCaseOp,
)
from qiskit.circuit.classical import expr, types
from qiskit.circuit.controlflow import CASE_DEFAULT
from qiskit.circuit.library import (
    CUGate,
    GlobalPhaseGate,
    IGate,
    Initialize,
    UnitaryGate,
    get_standard_gate_name_mapping,
)
from qiskit.exceptions import QiskitError
from qiskit.quantum_info import Operator as MatrixOf

from pennylane_qexec.circuits.frameworks.builder import BeyondPennyLaneError, CircuitBuilder
from pennylane_qexec.circuits.qiskit.gates import FIXED, TURNS, fixed
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
        value = _value(node.operand, values)
        if node.op is expr.Unary.Op.LOGIC_NOT or isinstance(node.type, types.Bool):
            return not value
        if node.op is expr.Unary.Op.BIT_NOT:
            return _limited(~value, node.type)
    if isinstance(node, expr.Binary) and node.op in _BINARY:
        return _limited(_BINARY[node.op](_value(node.left, values), _value(node.right, values)), node.type)
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
        _write_cases(flow, operation.condition, list(zip(((True,), (False,)), operation.blocks, strict=False)), write)
    elif isinstance(operation, SwitchCaseOp):
        _write_cases(flow, operation.target, operation.cases_specifier(), write)
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


def _write_cases(flow: Flow, source: Any, given: Iterable[Any], write: Callable[[QuantumCircuit], None]) -> None:
    """Write down the blocks of an ``if`` or a ``switch``, given the values of each of them."""
    target = reading(source)
    bits = [flow.bits[bit] for bit in target.bits]
    cases = [(set(values), block) for values, block in given]
    named = {int(value) for values, _ in cases for value in values if value is not CASE_DEFAULT}
    for values, block in cases:
        mine = {int(value) for value in values if value is not CASE_DEFAULT}
        others = CASE_DEFAULT in values
        is_met = partial(_is_met, target.value, named - mine if others else mine, others)
        with flow.draft.only_if(bits, is_met) as possible:
            if possible:
                write(block)


def _is_met(value: Callable[[Sequence[int]], int], named: set[int], others: bool, bits: tuple[int, ...]) -> bool:
    """Whether bits have one of the values that are named, or one of the others."""
    return (int(value(bits)) in named) is not others


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


MATRIX_QUBITS = 10
"""The most qubits of an instruction that is read as its matrix, because Qiskit says nothing else of it."""

_NOTHING = (IGate, Delay, GlobalPhaseGate)
"""Instructions that change no outcome."""

_NOT_PENNYLANES = (BreakLoopOp, ContinueLoopOp, Store)
"""Instructions on the way through a circuit, and on classical bits, that PennyLane has nothing like."""

_STANDARD = get_standard_gate_name_mapping()

ClassicalBits = Mapping[Any, Any]
"""For the classical bits of a circuit, those of the outermost circuit."""


def draft_of(circuit: QuantumCircuit, parametrised: bool = False) -> CircuitBuilder:
    """Write down a circuit; its classical bits are the bits of the draft.

    Args:
        circuit: the circuit.
        parametrised: whether it may have unbound parameters, so that gates have expressions as numbers.

    Raises:
        ConfigurationError: it has unbound parameters, or something that cannot be said in PennyLane.
    """
    unbound = set(circuit.parameters) - loop_parameters(circuit) if circuit.num_parameters else ()
    if unbound and not parametrised:
        names = ", ".join(sorted(parameter.name for parameter in unbound))
        raise ConfigurationError(
            f"circuit {circuit.name!r} has parameters without values: {names}. Give them values with "
            "circuit.assign_parameters({...}), or (circuit, values) to an experiment; in OpenQASM, write numbers in "
            "place of them."
        )
    draft = CircuitBuilder()
    _write(draft, circuit, range(circuit.num_qubits), {bit: bit for bit in circuit.clbits})
    return draft


def registers(circuit: QuantumCircuit) -> list[list[Any]]:
    """The classical bits of a circuit, register by register; bits without a register stand where they were added."""
    owner: dict[Any, Any] = {}
    for register in circuit.cregs:
        for bit in register:
            owner.setdefault(bit, register)
    groups: list[list[Any]] = []
    last: Any = object()
    for bit in circuit.clbits:
        if owner.get(bit) != last:
            last = owner.get(bit)
            groups.append([])
        groups[-1].append(bit)
    return groups


def _write(draft: CircuitBuilder, circuit: QuantumCircuit, qubits: Sequence[int], bits: ClassicalBits) -> None:
    """Write down what a circuit does, whose qubits are ``qubits`` of the draft."""
    place = dict(zip(circuit.qubits, qubits, strict=True))
    for item in circuit.data:
        name = item.name
        wires = tuple([place[qubit] for qubit in item.qubits])
        if name in FIXED and item.is_standard_gate():
            draft.apply(fixed(name, wires), wires)
        elif name in TURNS and item.is_standard_gate():
            draft.apply(TURNS[name](*_numbers(item), wires), wires)
        elif name == "measure":
            draft.measure(wires[0], bits[item.clbits[0]])
        elif name == "barrier":
            draft.barrier(wires)
        elif name == "reset":
            draft.reset(wires[0])
        else:
            _write_other(draft, item.operation, wires, [bits[bit] for bit in item.clbits], bits)


def _numbers(gate: Any) -> list[Any]:
    """The numbers of a gate, expressions of parameters among them."""
    numbers = [one if _is_unbound(one) else float(one) for one in gate.params]
    if not all(isfinite(one) for one in numbers if isinstance(one, float)):
        raise ConfigurationError(f"gate {gate.name!r} of Qiskit with {numbers}: its numbers must be finite.")
    return numbers


def _is_unbound(number: Any) -> bool:
    return isinstance(number, ParameterExpression) and bool(number.parameters)


def _write_other(
    draft: CircuitBuilder, operation: Any, wires: Sequence[int], clbits: Sequence[Any], bits: ClassicalBits
) -> None:
    if isinstance(operation, _NOTHING):
        return
    if isinstance(operation, _NOT_PENNYLANES):
        raise BeyondPennyLaneError(
            f"a {operation.name!r} of Qiskit: PennyLane has nothing like it. Write the circuit without it.",
            f"a {operation.name!r}",
        )
    if isinstance(operation, ControlFlowOp):
        write_control_flow(Flow(draft, _write, bits), operation, wires, clbits)
    elif isinstance(operation, UnitaryGate):
        _write_matrix(draft, operation.params[0], wires)
    elif isinstance(operation, Initialize) and _is_vector(operation) and draft.can_prepare(wires):
        amplitudes = np.asarray([complex(number) for number in operation.params])
        draft.prepare(qml.StatePrep(amplitudes / np.linalg.norm(amplitudes), wires[::-1]), wires)
    elif isinstance(operation, ControlledGate) and (base := _base(operation)) is not None:
        number = operation.num_ctrl_qubits
        values = [bool(operation.ctrl_state >> place & 1) for place in range(number)]
        draft.apply(qml.ctrl(base(wires[number:]), control=wires[:number], control_values=values), wires)
    elif isinstance(operation, Instruction) and operation.definition is not None:
        inner = operation.definition
        _write(draft, inner, wires, dict(zip(inner.clbits, clbits, strict=True)))
    else:
        _write_matrix(draft, _matrix(operation), wires)


def _base(gate: Any) -> Callable[[Sequence[int]], Any] | None:
    """What a controlled gate controls, as an operator of the wires; ``None`` if that is no gate of the tables."""
    base = gate.base_gate
    standard = _STANDARD.get(base.name)
    # A CU has a phase that its base gate does not know of; with more controls, the base gate has it as a number.
    if isinstance(gate, CUGate) or standard is None or base.base_class is not standard.base_class:
        return None
    if len(base.params) != len(standard.params):
        return None
    if base.name in FIXED:
        return lambda wires: fixed(base.name, tuple(wires))
    if base.name in TURNS:
        return lambda wires: TURNS[base.name](*_numbers(base), wires)
    return None


def _write_matrix(draft: CircuitBuilder, matrix: Any, wires: Sequence[int]) -> None:
    if wires:
        draft.apply(qml.QubitUnitary(np.asarray(matrix, dtype=complex), wires[::-1]), wires)


def _matrix(operation: Any) -> np.ndarray:
    if operation.num_qubits > MATRIX_QUBITS or operation.num_clbits:
        raise ConfigurationError(_not_known(operation) + f"has no definition, and more than {MATRIX_QUBITS} qubits.")
    try:
        return np.asarray(MatrixOf(operation).data)
    except QiskitError as error:
        raise ConfigurationError(_not_known(operation) + f"has neither a definition nor a matrix ({error}).") from error


def _not_known(operation: Any) -> str:
    return f"instruction {operation.name!r} of Qiskit: take it out, or apart with circuit.decompose(); it "


def _is_vector(operation: Any) -> bool:
    """Whether an initialisation is by amplitudes. Those by letters or a number are a few gates."""
    return len(operation.params) == 2**operation.num_qubits and not isinstance(operation.params[0], str)
