"""Derivatives by PennyLane's simulators, put right where they are wrong (seen in PennyLane 0.45).

The adjoint method of ``default.qubit`` counts the numbers of a circuit backwards, and passes over those of gates with
several (constant ones: a ``Rot``): derivatives by what comes before them were zero, or another number's.

For probabilities and the like, the device's program asks for the state and makes trainable parameters complex: it
puts them into the circuit's first places, over constants that are there, so that another circuit is run. The state
has its wires as they are first used, and its derivative has them as they are numbered.

Lightning counts the numbers of those gates for which it has a kernel, and PennyLane those of all gates: beside a
constant ``DiagonalQubitUnitary`` or ``adjoint(PauliRot)``, each derivative was another number's, or zero. Of gates with
several numbers inside of others (``adjoint(Rot)``, ``CRot``), it raises errors without saying which.

Backpropagation on ``default.mixed`` takes the roots of a density matrix's diagonal, and squares them again. The
derivative of a root at zero is infinite, so that it gives ``nan`` wherever an outcome never comes, as two of those of a
Bell state. Within :func:`without_roots`, and nowhere else, the diagonal itself is summed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from typing import Any

import pennylane as qml
from pennylane import math
from pennylane.devices import Device, ExecutionConfig
from pennylane.devices.default_qubit import adjoint_state_measurements, all_state_postprocessing
from pennylane.devices.preprocess import decompose
from pennylane.measurements import ProbabilityMP, StateMP
from pennylane.operation import Operator, StatePrepBase
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.circuits.evolutions import with_times
from pennylane_qexec.circuits.structure import wires_in_order
from pennylane_qexec.job import Postprocessing, only


def corrected(program: Any, device: Device, config: ExecutionConfig) -> Any:
    """A device's program for a configuration, with steps of PennyLane's replaced, or others added.

    Args:
        program: the program, which may be changed.
        device: the device.
        config: the configuration that it is for.
    """
    if config.gradient_method != "adjoint":
        return program
    if device.name.startswith("lightning.") and device.capabilities is not None:
        program.add_transform(_with_kernels, kernels=frozenset(device.capabilities.gate_set(differentiable=True)))
        return program
    program.add_transform(_with_times)
    for index, step in enumerate(program):
        if step.tape_transform is adjoint_state_measurements.tape_transform:
            program.pop(index)
            program.insert(index, _state_in_place)
            program.insert(index, _a_number_each)
            break
    return program


@qml.transform
def _with_times(tape: QuantumScript) -> tuple[tuple[QuantumScript, ...], Postprocessing]:
    return (with_times(tape) if tape.trainable_params else tape,), only


@qml.transform
def _state_in_place(tape: QuantumScript) -> tuple[tuple[QuantumScript, ...], Postprocessing]:
    (asked,), postprocess = adjoint_state_measurements.tape_transform(tape)
    if asked is tape:
        return (tape,), postprocess
    trainable = tape.trainable_params
    bound = tape.bind_new_parameters([qml.math.cast(one, complex) for one in tape.get_parameters()], trainable)
    wires = wires_in_order(tape)
    numbers = {wire: number for number, wire in enumerate(wires)}  # entropies take names of wires for their places
    measured = [one.map_wires(numbers) for one in tape.measurements]
    process = partial(all_state_postprocessing, measurements=measured, wire_order=Wires(range(len(wires))))
    return (bound.copy(measurements=[StateMP(wires=wires)]),), process


@qml.transform
def _a_number_each(tape: QuantumScript) -> tuple[tuple[QuantumScript, ...], Postprocessing]:
    if all(operation.num_params < 2 for operation in tape.operations):
        return (tape,), only
    operations: list[Operator] = []
    trainable, old, new = [], 0, 0
    with QueuingManager.stop_recording():
        for operation in tape.operations:
            parts = _apart(operation)
            if len(parts) == 1 and parts[0] is operation and operation.num_params and old in tape.trainable_params:
                trainable.append(new)
            operations += parts
            old += operation.num_params
            new += sum(part.num_params for part in parts)
    return (tape.copy(operations=operations, trainable_params=trainable),), only


def _apart(operation: Operator) -> list[Operator]:
    """A gate as gates with at most one number each."""
    if operation.num_params < 2:
        return [operation]
    if operation.has_decomposition:
        return [part for one in operation.decomposition() for part in _apart(one)]
    return [qml.QubitUnitary(operation.matrix(), operation.wires)]


@qml.transform
def _with_kernels(tape: QuantumScript, kernels: frozenset[str]) -> tuple[tuple[QuantumScript, ...], Postprocessing]:
    """Gates with numbers as lightning counts them: trainable ones are taken apart, constant ones become matrices."""

    def is_counted(operation: Operator) -> bool:
        return not operation.num_params or isinstance(operation, _COUNTED) or operation.name in kernels

    def is_left(operation: Operator) -> bool:
        return is_counted(operation) or not any(map(qml.math.requires_grad, operation.data))

    if all(map(is_counted, tape.operations)):
        return (tape,), only
    (tape,), _ = decompose(tape, stopping_condition=is_left, skip_initial_state_prep=True, name="adjoint")
    operations = [one if is_counted(one) else qml.QubitUnitary(one.matrix(), one.wires) for one in tape.operations]
    return (tape.copy(operations=operations),), only


_COUNTED = (qml.QubitUnitary, qml.Rot, StatePrepBase)
"""Gates that are counted as PennyLane counts them, although they have no kernel."""


_here = threading.local()
"""Whether this thread is within :func:`without_roots`. A call's context would take that to other threads."""


@contextmanager
def without_roots() -> Iterator[None]:
    """In this thread, probabilities of density matrices are polynomials of their numbers."""
    _install()
    here = vars(_here)
    before, here["without_roots"] = here.get("without_roots", False), True
    try:
        yield
    finally:
        here["without_roots"] = before


@cache
def _install() -> None:
    """Let PennyLane's method ask which way is wanted. It stays so: another thread may be in it at any time."""
    theirs = ProbabilityMP.process_density_matrix

    def process_density_matrix(self: ProbabilityMP, density_matrix: Any, wire_order: Wires) -> Any:
        return (_summed if vars(_here).get("without_roots") else theirs)(self, density_matrix, wire_order)

    ProbabilityMP.process_density_matrix = process_density_matrix


def _summed(measurement: ProbabilityMP, matrix: Any, wire_order: Wires) -> Any:
    """The probabilities of a measurement's wires, of a density matrix ``(2**n, 2**n)``, or of several."""
    rows = () if len(math.shape(matrix)) == 2 else math.shape(matrix)[:1]
    diagonal = math.stack([math.diagonal(one) for one in matrix]) if rows else math.diagonal(matrix)
    probabilities = math.real(diagonal)
    if not measurement.wires:
        return probabilities
    axes = [wire_order.index(wire) + len(rows) for wire in measurement.wires]
    others = [axis + len(rows) for axis, wire in enumerate(wire_order) if wire not in measurement.wires]
    tensor = math.transpose(
        math.reshape(probabilities, (*rows, *[2] * len(wire_order))), [*range(len(rows)), *axes, *others]
    )
    return math.sum(math.reshape(tensor, (*rows, 2 ** len(axes), 2 ** len(others))), axis=-1)
