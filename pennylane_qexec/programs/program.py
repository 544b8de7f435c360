"""Programs: circuits of any framework, in the words of PennyLane."""

from __future__ import annotations

from dataclasses import dataclass

from pennylane.tape import QuantumScript

from pennylane_qexec.programs.bits import Bits


@dataclass(frozen=True, eq=False)
class Program:
    """A circuit as every executor takes it, and how its outcomes are written.

    Attributes:
        circuit: operations with numbers, and what is measured; without shots. If ``bits`` is given, it measures one
            thing: counts of wires or of mid-circuit measurements, with a character of the outcomes for each.
        framework: where it comes from: ``"pennylane"``, ``"qiskit"``, ``"cirq"``, ``"openqasm2"``, ``"openqasm3"``, or
            qBraid's word for another one.
        bits: how its outcomes are written; ``None`` if its results are PennyLane's own, such as expectation values.
        shots: the shots that the circuit brings along; ``None`` if it has none.
        name: the circuit's or the function's name, if it has one.
    """

    circuit: QuantumScript
    framework: str
    bits: Bits | None
    shots: int | None = None
    name: str = ""
