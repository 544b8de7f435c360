"""The program of the device: what PennyLane lets it make of circuits before they are executed, or differentiated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pennylane as qml
from pennylane.devices import ExecutionConfig
from pennylane.math import Interface
from pennylane.ops import MidMeasure, PauliMeasure
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.evolutions import with_matrices
from pennylane_qexec.circuits.parameters import unwrapped
from pennylane_qexec.circuits.structure import has_plain_gates
from pennylane_qexec.cluster.derivatives import JAX, Limit
from pennylane_qexec.cluster.planning import CallPlanner, Expanded
from pennylane_qexec.concurrency.differentiation import (
    check_complex,
    is_plain,
    loses_record,
    observables_are_recorded,
    without_constants,
)
from pennylane_qexec.device.gradients import for_batches
from pennylane_qexec.device.jax_callbacks import called_back, can_call_back
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.job import Postprocessing, only

DISPATCHER = "qexec.dispatcher"
"""The device option of configurations that the device has settled: what prepares the circuits of the call."""


@qml.transform
def dispatch(tape: QuantumScript, device: Any, dispatcher: CallPlanner, is_settled: bool = True) -> Expanded:
    """Select or split, and let the chosen executors' own programs prepare the circuit.

    A program made of a user's own configuration, which has not been settled for circuits, is followed by another one
    when circuits are executed. The method for mid-circuit measurements is chosen there: one shot after the other would
    be done twice.
    """
    if not is_settled and any(isinstance(one, MidMeasure | PauliMeasure) for one in tape.operations):
        return (tape,), only
    if dispatcher.settings.by_shifts:
        circuits, postprocess = with_shifts(tape, dispatcher.settings.limit, device.wires)
        circuits = tuple(map(device.on_wires, circuits))
        traced = dispatcher.config.interface is Interface.JAX_JIT
        # Options may be of parameters by their number, and which are trainable JAX says here, and PennyLane elsewhere.
        if traced and not dispatcher.settings.shift_options and all(map(can_call_back, circuits)):
            config = replace(dispatcher.config, device_options={DISPATCHER: dispatcher})
            results = [called_back(one, device, config) for one in circuits]
            return (), lambda _: postprocess(results)
        return circuits, postprocess
    return planned(tape, device, dispatcher)


def with_shifts(tape: QuantumScript, limit: Limit, wires: Any) -> tuple[Sequence[QuantumScript], Postprocessing]:
    """The circuits in place of one that is going to be differentiated: of gates that have shifts, row by row.

    Args:
        tape: the circuit, whose numbers an interface records.
        limit: how often that is allowed.
        wires: of the device.
    """
    limit.check(tape)
    by_coefficients = observables_are_recorded(tape)
    if limit.interface is Interface.AUTOGRAD and not by_coefficients:
        tape = without_constants(tape)
    if not by_coefficients and has_plain_gates(tape) and all(one.wires for one in tape.measurements):
        if limit.interface not in JAX:
            check_complex(tape)
        return (tape,), limit.guarded(only, tape)
    expand: Any = for_batches(qml.gradients.param_shift, limit.interface, 1, wires).expand_transform
    circuits, postprocess = expand(tape)
    return circuits, limit.guarded(postprocess, tape)


def planned(tape: QuantumScript, device: Any, dispatcher: CallPlanner) -> Expanded:
    """The circuits that the executors run in place of one."""
    given, settings, plain = tape, dispatcher.settings, is_plain(tape)
    if not plain:
        tape = settings.limit.prepared(tape)
        given = tape
        tape = unwrapped(tape) if settings.unwraps else with_matrices(tape)
    if dispatcher.config.interface is Interface.JAX_JIT:
        check_one_batch_axis(tape)
    tape = device.on_wires(tape)
    circuits, postprocess = dispatcher(tape)
    if plain:
        return circuits, postprocess
    if not settings.ends_records and loses_record(tape, circuits):
        return (tape,), only  # prepared as it is executed, where the record ends
    return circuits, settings.limit.guarded(postprocess, given)


def is_by_shifts(config: ExecutionConfig | None) -> bool:
    """Whether a configuration was settled for derivatives by parameter shifts that the device computes."""
    dispatcher = None if config is None else config.device_options.get(DISPATCHER)
    return dispatcher is not None and dispatcher.settings.by_shifts


def check_one_batch_axis(circuit: QuantumScript) -> None:
    """Refuse what ``jax.vmap`` within ``jax.vmap`` makes of a circuit that leaves JAX by a callback."""
    try:
        circuit.batch_size  # noqa: B018
    except ValueError as error:
        raise ConfigurationError(
            f"a circuit has several batch axes, and a device runs one ({error}) Where jax.vmap stands inside of "
            "jax.vmap, write one jax.vmap over all points, as in jax.vmap(qnode)(points.reshape(-1)).reshape(m, n)."
        ) from error
