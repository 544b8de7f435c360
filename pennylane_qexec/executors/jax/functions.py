"""From a structure to functions of parameters, in JAX: the exact results of its measurements, or probabilities."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pennylane.devices.qubit import measure
from pennylane.measurements import ExpectationMP, MeasurementProcess
from pennylane.pauli import PauliSentence
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.circuits.sampling import SamplingCircuit
from pennylane_qexec.circuits.templates import Template
from pennylane_qexec.executors.jax.simulation import Register


@dataclass(frozen=True, slots=True)
class Traced:
    """A function for JAX to compile, for any number of rows.

    Attributes:
        function: takes parameters ``(R, P)`` and returns a tuple of arrays, each with ``R`` as its first axis.
        parameters: ``P``.
        numbers: roughly how many complex numbers there are at once for each row.
    """

    function: Callable[[Any], tuple[Any, ...]]
    parameters: int
    numbers: int


def exact(template: Template) -> Traced:
    """The exact results of a structure's measurements: an array each."""
    circuit = template.circuit.map_to_standard_wires()
    columns = _columns(circuit, template.slots)
    wires = len(circuit.wires)

    def function(parameters: Any) -> tuple[Any, ...]:
        with QueuingManager.stop_recording():
            register = Register(_ones(parameters))
            register.run(circuit.operations, columns, parameters)
            state = register.state(wires)
            return tuple([_measured(measurement, state) for measurement in circuit.measurements])

    return Traced(function, _width(columns), 2**wires * (1 + len(circuit.measurements)))


def probabilities(template: Template, cells: Sequence[SamplingCircuit]) -> Traced:
    """The probabilities of what is sampled in the cells of a structure: an array ``(R, 2**M)`` each."""
    labels = Wires.all_wires([template.circuit.wires, *[cell.circuit.wires for cell in cells]])
    places = {label: place for place, label in enumerate(labels)}
    length = len(template.circuit.operations)
    operations = [operation.map_wires(places) for operation in template.circuit.operations]
    columns = _columns(template.circuit, template.slots)
    endings = [[one.map_wires(places) for one in cell.circuit.operations[length:]] for cell in cells]
    sampled = [[places[label] for label in cell.wires or ()] for cell in cells]

    def function(parameters: Any) -> tuple[Any, ...]:
        made = []
        with QueuingManager.stop_recording():
            common = Register(_ones(parameters))
            common.run(operations, columns, parameters)
            for ending, wires in zip(endings, sampled, strict=True):
                register = common.copy()
                register.run(ending, [None] * len(ending), parameters)
                made.append(register.probabilities(wires))
        return tuple(made)

    return Traced(function, _width(columns), 2 ** len(labels) + sum(2 ** len(wires) for wires in sampled))


def _ones(parameters: Any) -> Any:
    return parameters[:, 0] * 0 + 1


def _columns(circuit: QuantumScript, slots: Sequence[int]) -> list[slice | None]:
    columns: list[slice | None] = [None] * len(circuit.operations)
    start = 0
    for index in slots:
        columns[index] = slice(start, start + len(circuit.operations[index].data))
        start += len(circuit.operations[index].data)
    return columns


def _width(columns: Sequence[slice | None]) -> int:
    return max([place.stop for place in columns if place is not None], default=0)


def _measured(measurement: MeasurementProcess, state: Any) -> Any:
    """The exact result of a measurement, of a state ``(2, ..., 2, R)``."""
    if isinstance(measurement, ExpectationMP) and measurement.obs is not None:
        words = measurement.obs.pauli_rep
        if words is not None:
            return _expectation(words, state)
    return jax.vmap(lambda one: measure(measurement, one), in_axes=-1)(state)


def _expectation(words: PauliSentence, state: Any) -> Any:
    """The expectation value of a sum of Pauli words: those that flip the same wires are one product with the state."""
    wires = state.ndim - 1
    amplitudes = state.reshape(2**wires, -1)
    places = np.arange(2**wires)
    factors: dict[int, np.ndarray] = {}
    for word, coefficient in words.items():
        flips = sum(1 << (wires - 1 - wire) for wire, pauli in word.items() if pauli in "XY")
        factor = np.full(2**wires, complex(coefficient))
        for wire, pauli in word.items():
            if pauli in "YZ":
                factor *= 1 - 2 * ((places >> (wires - 1 - wire)) & 1)
                factor *= 1j if pauli == "Y" else 1
        factors[flips] = factors.get(flips, 0) + factor
    total = jnp.zeros(amplitudes.shape[1])
    for flips, factor in factors.items():
        total = total + (factor[:, None] * amplitudes * amplitudes[places ^ flips].conj()).real.sum(0)
    return total
