"""Programs of PennyLane's circuits, QNodes and quantum functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import pennylane as qml
from pennylane.measurements import CountsMP, MeasurementValue
from pennylane.tape import QuantumScript, make_qscript
from pennylane.wires import Wires
from pennylane.workflow import construct_batch

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.programs.bits import Bits
from pennylane_qexec.programs.program import Program
from pennylane_qexec.structure import is_broadcasted
from pennylane_qexec.unwrapping import unwrapped


def program_of_script(circuit: QuantumScript, wires: Wires | None = None, name: str = "") -> Program:
    """Read a circuit of PennyLane's. One without measurements counts all its wires.

    Args:
        circuit: the circuit, whose shots become those of the program.
        wires: what measurements of all wires measure, in order; default: the circuit's wires, in the order in which
            PennyLane's simulators have them.
        name: what the program is called.

    Raises:
        ConfigurationError: the circuit has a shot vector, or counts and is broadcasted or without wires.
    """
    if circuit.shots.has_partitioned_shots:
        raise ConfigurationError(
            f"a circuit with a shot vector, {circuit.shots}: give circuits with one number of shots each."
        )
    shots = circuit.shots.total_shots
    counted = _counts(circuit, wires)
    measurements = circuit.measurements if counted is None else [counted]
    plain = unwrapped(QuantumScript(circuit.operations, measurements))
    if counted is None:
        return Program(plain, "pennylane", None, shots, name)
    if is_broadcasted(circuit):
        raise ConfigurationError(
            "a circuit that is broadcasted over several values, and counts: its outcomes belong to several circuits. "
            "Take it apart with qml.transforms.broadcast_expand, and give the circuits as a list."
        )
    number = len(counted.mv) if counted.mv is not None else len(counted.wires)
    return Program(plain, "pennylane", Bits((tuple(range(number)),), "big"), shots, name)


def program_of_qnode(qnode: qml.QNode) -> Program:
    """Read a QNode that can be called without arguments: its circuit, by its own transforms, and its shots.

    Raises:
        ConfigurationError: it needs arguments, or its transforms make several circuits.
    """
    name = getattr(qnode.func, "__name__", "")
    # A QNode remembers what its function returned: another thread may be using this one.
    qnode = copy(qnode)
    _refuse_arguments(qnode.func, f"QNode {name!r}")
    circuits, _ = construct_batch(qnode, level="user")()
    if len(circuits) != 1:
        raise ConfigurationError(
            f"the transforms of QNode {name!r} make {len(circuits)} circuits of it. Give these as a list: "
            "qml.workflow.construct_batch(qnode, level='user')(...) returns them, with the function that joins their "
            "results."
        )
    return program_of_script(circuits[0], qnode.device.wires, name)


def program_of_function(function: Callable[[], Any]) -> Program:
    """Read a quantum function that can be called without arguments: what it does, and what it measures.

    Raises:
        ConfigurationError: it needs arguments, or did nothing that PennyLane records.
    """
    name = getattr(function, "__name__", "")
    _refuse_arguments(function, f"quantum function {name or function!r}")
    circuit = make_qscript(function)()
    if not circuit.operations and not circuit.measurements:
        raise ConfigurationError(
            f"{function!r} has no operations: it is no quantum function of PennyLane. Give a function that applies "
            "operations, or a circuit."
        )
    return program_of_script(circuit, name=name)


def _refuse_arguments(function: Callable[..., Any], what: str) -> None:
    required = [
        parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    ]
    if required:
        raise ConfigurationError(
            f"{what} needs values for {', '.join(required)}. Give a circuit with values, such as "
            "qml.tape.make_qscript(function)(...) or qml.workflow.construct_tape(qnode)(...)."
        )


def _counts(circuit: QuantumScript, wires: Wires | None) -> CountsMP | None:
    """What the circuit counts, with wires; ``None`` if its results are no counts of bits."""
    if not circuit.measurements:
        return CountsMP(wires=_all(circuit, wires))
    (first, *others) = circuit.measurements
    if others or not isinstance(first, CountsMP) or first.obs is not None or first._eigvals is not None:
        return None
    if first.mv is None:
        return CountsMP(wires=first.wires or _all(circuit, wires), all_outcomes=first.all_outcomes)
    values = [first.mv] if isinstance(first.mv, MeasurementValue) else first.mv
    plain = isinstance(values, Sequence) and all(
        isinstance(value, MeasurementValue) and not value.has_processing for value in values
    )
    return CountsMP(list(values), all_outcomes=first.all_outcomes) if plain else None


def _all(circuit: QuantumScript, wires: Wires | None) -> Wires:
    """All wires, in the order in which PennyLane's simulators have them: numbers from 0 on by size."""
    if wires is not None:
        return wires
    if not circuit.wires:
        raise ConfigurationError("a circuit without wires has nothing that can be counted. Give it some.")
    numbers = range(len(circuit.wires))
    return Wires(numbers) if set(circuit.wires) == set(numbers) else circuit.wires
