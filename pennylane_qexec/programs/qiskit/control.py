"""What depends on classical bits in Qiskit's circuits.

Importing this imports Qiskit, so it is imported when the first circuit is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from qiskit import QuantumCircuit
from qiskit.circuit import BoxOp, ControlFlowOp, ForLoopOp, IfElseOp, SwitchCaseOp
from qiskit.circuit.controlflow import CASE_DEFAULT

from pennylane_qexec.programs.draft import BeyondPennyLaneError, Draft
from pennylane_qexec.programs.qiskit.conditions import reading

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

    draft: Draft
    write: Callable[[Draft, QuantumCircuit, Sequence[int], Any], None]
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
