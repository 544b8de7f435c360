"""Programs of Qiskit's circuits."""

from __future__ import annotations

from typing import Any, Literal

from pennylane_qexec.programs.bits import Bits
from pennylane_qexec.programs.program import Program


def program_of_qiskit(
    circuit: Any,
    framework: str = "qiskit",
    native: Literal["little", "big"] = "little",
    separator: str = " ",
    name: str | None = None,
) -> Program:
    """Read one of Qiskit's circuits. A circuit without measurements counts its qubits, as after ``measure_all``.

    Args:
        circuit: the circuit.
        framework: where it really comes from.
        native: how that framework writes outcomes: bit 0 last or first.
        separator: what that framework writes between registers.
        name: its name; default: the circuit's own.

    Raises:
        ConfigurationError: it has unbound parameters, or something that cannot be said in PennyLane.
    """
    from pennylane_qexec.programs.qiskit.reader import draft_of, registers

    draft = draft_of(circuit)
    if draft.measures:
        groups = registers(circuit)
    else:
        groups = [list(range(circuit.num_qubits))]
        for qubit in groups[0]:
            draft.measure(qubit, qubit)
    script, places = draft.finished([bit for group in groups for bit in group])
    bits = Bits(tuple(tuple(map(places.get, group)) for group in groups), native, separator)
    return Program(script, framework, bits, name=circuit.name if name is None else name)
