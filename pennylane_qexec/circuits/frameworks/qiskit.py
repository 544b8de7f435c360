"""Programs of Qiskit's circuits."""

from __future__ import annotations

from typing import Any, Literal

from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.frameworks.builder import BeyondPennyLaneError, CircuitBuilder
from pennylane_qexec.circuits.frameworks.program import Bits, Program
from pennylane_qexec.circuits.mid_circuit import script_of
from pennylane_qexec.errors import ConfigurationError

_Places = tuple[tuple[int | None, ...], ...]


def program_of_qiskit(
    circuit: Any,
    framework: str = "qiskit",
    native: Literal["little", "big"] = "little",
    separator: str = " ",
    name: str | None = None,
) -> Program:
    """Read one of Qiskit's circuits. A circuit without measurements counts its qubits, as after ``measure_all``.

    What PennyLane cannot say, such as a loop that ends by what is measured, stays as it is for backends of Qiskit's.

    Args:
        circuit: the circuit.
        framework: where it really comes from.
        native: how that framework writes outcomes: bit 0 last or first.
        separator: what that framework writes between registers.
        name: its name; default: the circuit's own.

    Raises:
        ConfigurationError: it has unbound parameters, or something that cannot be said in PennyLane, nor run by others.
    """
    from pennylane_qexec.circuits.qiskit.reader import draft_of

    try:
        script, registers = _in_pennylane(circuit, draft_of(circuit))
    except BeyondPennyLaneError as error:
        script, registers = _as_it_is(circuit, error.reason)
    except RecursionError as error:
        raise ConfigurationError(
            f"circuit {circuit.name!r} has definitions or blocks within each other that are too deep to be followed. "
            "Take them apart with circuit.decompose()."
        ) from error
    return Program(script, framework, Bits(registers, native, separator), name=circuit.name if name is None else name)


def _in_pennylane(circuit: Any, draft: CircuitBuilder) -> tuple[QuantumScript, _Places]:
    from pennylane_qexec.circuits.qiskit.reader import registers

    if draft.measures:
        groups = registers(circuit)
    else:
        groups = [list(range(circuit.num_qubits))]
        for qubit in groups[0]:
            draft.measure(qubit, qubit)
    script, places = draft.finished([bit for group in groups for bit in group])
    return script, tuple(tuple(map(places.get, group)) for group in groups)


def _as_it_is(circuit: Any, reason: str) -> tuple[QuantumScript, _Places]:
    from pennylane_qexec.circuits.qiskit.native import as_it_is, measures
    from pennylane_qexec.circuits.qiskit.reader import registers

    if measures(circuit):
        groups = registers(circuit)
    else:
        circuit = circuit.measure_all(inplace=False)
        groups = [list(circuit.cregs[-1])]
    numbers = [[circuit.find_bit(bit).index for bit in group] for group in groups]
    counted = [number for group in numbers for number in group]
    script = script_of(as_it_is(circuit, reason), counted)
    places = {number: place for place, number in enumerate(counted)}
    return script, tuple(tuple(places[number] for number in group) for group in numbers)
