"""Programs of PennyLane's circuits, QNodes and quantum functions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any

import pennylane as qml
from pennylane.measurements import CountsMP, MeasurementProcess, MeasurementValue
from pennylane.operation import Operator
from pennylane.tape import QuantumScript, make_qscript
from pennylane.wires import Wires
from pennylane.workflow import construct_batch

from pennylane_qexec.circuits.frameworks.builder import Bits, Program
from pennylane_qexec.circuits.parameters import unwrapped
from pennylane_qexec.circuits.structure import is_broadcasted, wires_in_order
from pennylane_qexec.errors import ConfigurationError


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


def program_of_qnode(qnode: qml.QNode, *arguments: Any, **named: Any) -> Program:
    """Read a QNode: its circuit for some arguments, by its own transforms, and its shots.

    Args:
        qnode: the QNode, which needs no more arguments than these.
        arguments: arguments of its function.
        named: arguments by name.

    Raises:
        ConfigurationError: it needs arguments, or its transforms make several circuits.
    """
    name = getattr(qnode.func, "__name__", "")
    # A QNode remembers what its function returned: another thread may be using this one.
    qnode = copy(qnode)
    _refuse_arguments(partial(qnode.func, *arguments, **named), f"QNode {name!r}")
    circuits, _ = construct_batch(qnode, level="user")(*arguments, **named)
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
        ConfigurationError: it needs arguments, did nothing that PennyLane records, or returned anything but what it
            measures, as one does that calls a QNode.
    """
    if isinstance(function, partial) and isinstance(function.func, qml.QNode):
        return program_of_qnode(function.func, *function.args, **function.keywords)
    name = getattr(function, "__name__", "")
    _refuse_arguments(function, f"quantum function {name or function!r}")
    returned: list[Any] = []
    circuit = make_qscript(lambda: returned.append(function()))()
    if not _is_measured(returned[0]):
        raise ConfigurationError(
            f"{function!r} returned {returned[0]!r:.80}: it is no quantum function of PennyLane, which returns "
            "measurements. One that calls a QNode has run it; give the QNode, or functools.partial(qnode, ...)."
        )
    if not circuit.operations and not circuit.measurements:
        raise ConfigurationError(
            f"{function!r} has no operations: it is no quantum function of PennyLane. Give a function that applies "
            "operations, or a circuit."
        )
    return program_of_script(circuit, name=name)


def _is_measured(returned: Any) -> bool:
    """Whether this is something that a quantum function returns: nothing, measurements, or what it did at last."""
    if isinstance(returned, Mapping):
        returned = list(returned.values())
    if isinstance(returned, list | tuple):
        return all(map(_is_measured, returned))
    return returned is None or isinstance(returned, MeasurementProcess | MeasurementValue | Operator)


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
    return wires_in_order(circuit)
