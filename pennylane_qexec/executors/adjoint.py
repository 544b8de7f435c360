"""The adjoint method of ``default.qubit`` for what is computed from the state, put right (seen in PennyLane 0.45).

For probabilities and the like, the device's program asks for the state and makes trainable parameters complex: it
puts them into the circuit's first places, over constants that are there, so that another circuit is run. The state
has its wires as they are first used, and its derivative has them as they are numbered.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import pennylane as qml
from pennylane.devices import ExecutionConfig
from pennylane.devices.default_qubit import adjoint_state_measurements, all_state_postprocessing
from pennylane.measurements import StateMP
from pennylane.tape import QuantumScript

from pennylane_qexec.job import Postprocessing
from pennylane_qexec.structure import wires_in_order


def corrected(program: Any, config: ExecutionConfig) -> Any:
    """A device's program, with that step of PennyLane's replaced where it has it.

    Args:
        program: the program, which may be changed.
        config: the configuration that it is for.
    """
    if config.gradient_method != "adjoint":
        return program
    for index, step in enumerate(program):
        if step.tape_transform is adjoint_state_measurements.tape_transform:
            program.pop(index)
            program.insert(index, _state_in_place)
            break
    return program


@qml.transform
def _state_in_place(tape: QuantumScript) -> tuple[tuple[QuantumScript, ...], Postprocessing]:
    (asked,), postprocess = adjoint_state_measurements.tape_transform(tape)
    if asked is tape:
        return (tape,), postprocess
    trainable = tape.trainable_params
    bound = tape.bind_new_parameters([qml.math.cast(one, complex) for one in tape.get_parameters()], trainable)
    wires = wires_in_order(tape)
    process = partial(all_state_postprocessing, measurements=tape.measurements, wire_order=wires)
    return (bound.copy(measurements=[StateMP(wires=wires)]),), process
