"""Random circuits of Qiskit with control flow, and what they count, by a simulator that follows every branch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit.classical import expr
from qiskit.quantum_info import Statevector

from pennylane_qexec.circuits.qiskit.reader import reading

LEAST = 1e-12
"""Branches that are less likely are left out, as those of loops that are long."""

GATES = ("x", "h", "sx", "t", "cx")


def outcomes(circuit: QuantumCircuit) -> dict[str, float]:
    """The probabilities of a circuit's outcomes, as Qiskit writes them."""
    start = Statevector.from_int(0, 2**circuit.num_qubits)
    found: dict[str, float] = {}
    everything = {bit: bit for bit in [*circuit.qubits, *circuit.clbits]}
    for state, bits, _ in _run(circuit, circuit, everything, start, dict.fromkeys(circuit.clbits, 0)):
        key = " ".join("".join(str(bits[bit]) for bit in register[::-1]) for register in circuit.cregs[::-1])
        found[key] = found.get(key, 0.0) + _weight(state)
    return found


Branch = tuple[Statevector, Mapping[Any, int], str]


def _run(
    outer: QuantumCircuit, block: QuantumCircuit, place: Mapping[Any, Any], state: Statevector, bits: Mapping[Any, int]
) -> list[Branch]:
    """All ways through a block, and how each ends: ``""``, ``"break_loop"`` or ``"continue_loop"``."""
    branches: list[Branch] = [(state, bits, "")]
    for item in block.data:
        following: list[Branch] = []
        for state, bits, end in branches:
            if end:
                following.append((state, bits, end))
            else:
                following += [one for one in _step(outer, item, place, state, bits) if _weight(one[0]) > LEAST]
        branches = following
    return branches


def _step(outer: Any, item: Any, place: Mapping[Any, Any], state: Any, bits: Mapping[Any, int]) -> Iterator[Branch]:
    name, operation = item.operation.name, item.operation
    qubits = [outer.find_bit(place[qubit]).index for qubit in item.qubits]
    clbits = [place[bit] for bit in item.clbits]
    if name in ("measure", "reset"):
        for value in (0, 1):
            after = _projected(state, qubits[0], value)
            if name == "measure":
                yield after, {**bits, clbits[0]: value}, ""
            else:
                yield (after.evolve(_X, qubits) if value else after), bits, ""
    elif name in ("break_loop", "continue_loop"):
        yield state, bits, name
    elif name == "if_else":
        block = operation.blocks[0] if _met(operation.condition, place, bits) else (*operation.blocks[1:], None)[0]
        yield from [(state, bits, "")] if block is None else _run(outer, block, _inner(block, item, place), state, bits)
    elif name == "switch_case":
        chosen = [
            block
            for values, block in operation.cases_specifier()
            if any(not isinstance(value, int) or value == _value(operation.target, place, bits) for value in values)
        ]
        block = chosen[0] if chosen else None
        yield from [(state, bits, "")] if block is None else _run(outer, block, _inner(block, item, place), state, bits)
    elif name in ("for_loop", "while_loop"):
        yield from _loop(outer, item, place, state, bits)
    elif name != "barrier":
        yield state.evolve(operation, qubits), bits, ""


def _loop(outer: Any, item: Any, place: Mapping[Any, Any], state: Any, bits: Mapping[Any, int]) -> Iterator[Branch]:
    operation = item.operation
    turns = iter(operation.params[0]) if operation.name == "for_loop" else None
    going: list[tuple[Any, Mapping[Any, int]]] = [(state, bits)]
    while going:
        if turns is not None:
            number = next(turns, None)
            if number is None:
                break
        else:
            done = [one for one in going if not _met(operation.condition, place, one[1])]
            yield from [(state, bits, "") for state, bits in done]
            going = [one for one in going if one not in done]
        body = operation.blocks[0]
        if turns is not None and operation.params[1] is not None:
            body = body.assign_parameters({operation.params[1]: number})
        ends = [one for state, bits in going for one in _run(outer, body, _inner(body, item, place), state, bits)]
        yield from [(state, bits, "") for state, bits, end in ends if end == "break_loop"]
        going = [(state, bits) for state, bits, end in ends if end != "break_loop" and _weight(state) > LEAST]
    yield from [(state, bits, "") for state, bits in going]


def _inner(block: QuantumCircuit, item: Any, place: Mapping[Any, Any]) -> dict[Any, Any]:
    inside = zip([*block.qubits, *block.clbits], [*item.qubits, *item.clbits], strict=True)
    return {**place, **{inner: place[outer] for inner, outer in inside}}


def _met(condition: Any, place: Mapping[Any, Any], bits: Mapping[Any, int]) -> bool:
    return bool(_value(condition, place, bits))


def _value(source: Any, place: Mapping[Any, Any], bits: Mapping[Any, int]) -> int:
    found = reading(source)
    return int(found.value([bits[place[bit]] for bit in found.bits]))


_X = QuantumCircuit(1)
_X.x(0)


def _projected(state: Statevector, qubit: int, value: int) -> Statevector:
    data = state.data.copy()
    data[(np.arange(len(data)) >> qubit & 1) != value] = 0
    return Statevector(data)


def _weight(state: Statevector) -> float:
    return float(np.sum(np.abs(state.data) ** 2))


def random_dynamic_circuit(seed: int, loops: bool = True) -> QuantumCircuit:
    """A circuit of three qubits and registers of two and one bits, with control flow in up to three levels."""
    rng = np.random.default_rng(seed)
    circuit = QuantumCircuit(QuantumRegister(3, "q"), ClassicalRegister(2, "a"), ClassicalRegister(1, "b"))
    _extend(circuit, rng, 6, 0, False, loops)
    for qubit, bit in zip(range(3), circuit.clbits, strict=True):
        if rng.random() < 0.5:
            circuit.measure(qubit, bit)
    if not circuit.count_ops().get("measure"):
        circuit.measure(0, 0)
    return circuit


def _extend(circuit: QuantumCircuit, rng: Any, steps: int, level: int, in_loop: bool, loops: bool) -> None:
    for _ in range(steps):
        kind = rng.integers(12 if level < 3 else 7)
        if kind < 4:
            _gate(circuit, rng)
        elif kind < 6:
            circuit.measure(int(rng.integers(3)), int(rng.integers(3)))
        elif kind == 6:
            circuit.reset(int(rng.integers(3)))
            if in_loop and rng.random() < 0.5:
                (circuit.break_loop if rng.random() < 0.5 else circuit.continue_loop)()
                return
        elif kind < 9:
            with circuit.if_test(_condition(circuit, rng)) as otherwise:
                _extend(circuit, rng, 2, level + 1, in_loop, loops)
            if rng.random() < 0.5:
                with otherwise:
                    _extend(circuit, rng, 2, level + 1, in_loop, loops)
        elif kind == 9:
            with circuit.switch(circuit.cregs[0]) as case:
                with case(int(rng.integers(2)), 3):
                    _extend(circuit, rng, 2, level + 1, in_loop, loops)
                with case(case.DEFAULT):
                    _extend(circuit, rng, 1, level + 1, in_loop, loops)
        elif kind == 10 or not loops:
            with circuit.for_loop(range(int(rng.integers(1, 4)))):
                _extend(circuit, rng, 2, level + 1, True, loops)
        else:
            _loop_that_ends(circuit, rng, level, loops)


def _loop_that_ends(circuit: QuantumCircuit, rng: Any, level: int, loops: bool) -> None:
    bit = int(rng.integers(3))
    with circuit.while_loop((circuit.clbits[bit], int(rng.integers(2)))):
        _gate(circuit, rng)
        circuit.h(bit)
        circuit.measure(bit, bit)
        if rng.random() < 0.5:
            with circuit.if_test(_condition(circuit, rng)):
                _extend(circuit, rng, 1, level + 2, True, loops)


def _gate(circuit: QuantumCircuit, rng: Any) -> None:
    name = GATES[rng.integers(len(GATES))]
    qubits = rng.permutation(3)[: 2 if name == "cx" else 1]
    getattr(circuit, name)(*map(int, qubits))


def _condition(circuit: QuantumCircuit, rng: Any) -> Any:
    a, b = circuit.cregs
    kinds: list[Any] = [
        (circuit.clbits[int(rng.integers(3))], int(rng.integers(2))),
        (a, int(rng.integers(4))),
        expr.logic_and(a[0], expr.logic_not(b[0])),
        expr.less(a, 2),
        expr.not_equal(expr.bit_and(a, 2), 0),
        expr.bit_xor(a[1], b[0]),
        expr.greater_equal(a, 1),
        expr.equal(expr.bit_not(a), 1),
    ]
    return kinds[rng.integers(len(kinds))]
