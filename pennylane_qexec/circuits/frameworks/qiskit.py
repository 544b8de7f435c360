"""Qiskit's circuits, and OpenQASM 2 and 3, which Qiskit reads."""

from __future__ import annotations

import importlib
import threading
from dataclasses import dataclass
from typing import Any, Literal

from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.frameworks.builder import BeyondPennyLaneError, Bits, CircuitBuilder, Program
from pennylane_qexec.circuits.frameworks.limits import (
    Outline,
    check,
    includes,
    outline_of,
    with_includes,
    without_comments,
)
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


def template_of_qiskit(circuit: Any) -> Program:
    """Read a parametrised circuit of Qiskit: expressions are the numbers of its gates.

    Raises:
        ConfigurationError, QiskitError, TypeError, ValueError: something in it needs numbers, or cannot be said.
    """
    from pennylane_qexec.circuits.qiskit.reader import draft_of

    try:
        script, registers = _in_pennylane(circuit, draft_of(circuit, parametrised=True))
    except RecursionError as error:
        raise ConfigurationError(f"circuit {circuit.name!r} is too deep to be followed.") from error
    return Program(script, "qiskit", Bits(registers, "little", " "), name=circuit.name)


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


_LIBRARY_OF_2 = "qelib1.inc"

_reading = threading.local()
"""Whether this thread reads OpenQASM 3."""


@dataclass(frozen=True)
class Text:
    """OpenQASM of a circuit of another framework.

    Attributes:
        text: the circuit, whose first register is the one that the framework writes first.
        framework: the framework.
    """

    text: str
    framework: str


def program_of_text(text: str) -> Program:
    """Read OpenQASM.

    Raises:
        ConfigurationError: it is none, or something in it is not known.
    """
    return program_of_qiskit(circuit_of(text), f"openqasm{version_of(text)}", name="")


def program_of_saved(saved: Text) -> Program:
    """Read OpenQASM of a circuit of another framework, whose outcomes are written as that framework writes them."""
    native: Literal["little", "big"] = "big" if saved.framework in ("pennylane", "cirq") else "little"
    return program_of_qiskit(circuit_of(saved.text), saved.framework, native, "", "")


def version_of(text: str) -> int:
    """The version of OpenQASM that a text is written in, 2 or 3.

    Texts in version 3 need not say so; nor do those in version 2 that include its library.

    Raises:
        ConfigurationError: it is no OpenQASM, or of another version.
    """
    return _version(outline_of(text), text)


def circuit_of(text: str) -> Any:
    """Qiskit's circuit of a text in OpenQASM 2 or 3.

    Raises:
        ConfigurationError: something in it is wrong, not known to Qiskit, too large, or in a file.
    """
    text = with_includes(text, None)
    outline = outline_of(text)
    version = _version(outline, text)
    check(outline, version)
    try:
        return _from_2(text, outline) if version == 2 else _from_3(text)
    except (RecursionError, MemoryError) as error:
        raise ConfigurationError(
            f"OpenQASM {version} that Qiskit cannot read: {error or type(error).__name__}. Give a smaller circuit."
        ) from error


def _version(outline: Outline, text: str) -> int:
    if outline.version in (2, 3):
        return outline.version
    if outline.version is None and ";" in outline.tokens and outline.tokens[0] != "OPENQASM":
        return 2 if any(name == _LIBRARY_OF_2 for name, _, _ in includes(outline)) else 3
    raise ConfigurationError(
        f"a text that begins with {text[:40]!r} is no circuit: OpenQASM begins with 'OPENQASM 2.0;' or "
        "'OPENQASM 3.0;'. Give a file as pathlib.Path(...)."
    )


def _from_2(text: str, outline: Outline) -> Any:
    from qiskit import qasm2

    # Qiskit would take its own gate of that name, whatever the text says that it is.
    tokens = outline.tokens
    defined = {tokens[index + 1] for index, token in enumerate(tokens[:-1]) if token == "gate"}
    try:
        return qasm2.loads(
            without_comments(text),  # of which a long row ends the program
            include_path=(),
            custom_instructions=[one for one in qasm2.LEGACY_CUSTOM_INSTRUCTIONS if one.name not in defined],
            custom_classical=qasm2.LEGACY_CUSTOM_CLASSICAL,
        )
    except qasm2.QASM2ParseError as error:
        raise ConfigurationError(f"OpenQASM 2 that Qiskit does not read: {error.message}") from error


def _from_3(text: str) -> Any:
    from qiskit import qasm3

    _say_nothing_here()
    _reading.now = True
    try:
        return qasm3.loads(text)
    except Exception as error:  # Qiskit's importer stumbles over some of what it does not know
        raise ConfigurationError(
            f"OpenQASM 3 that Qiskit does not read: {_reason(error)}. Say it in gates, measurements, resets, and "
            "if-statements on one bit or on a register's equality with a number."
        ) from error
    finally:
        _reading.now = False


def _say_nothing_here() -> None:
    """Keep the parser from writing what it does not understand to standard error, besides raising it."""
    listeners: Any = importlib.import_module("antlr4.error.ErrorListener")
    console = listeners.ConsoleErrorListener

    class Quiet(console):  # type: ignore[valid-type, misc]
        def syntaxError(self, *arguments: Any) -> None:
            if not getattr(_reading, "now", False):
                super().syntaxError(*arguments)

    if type(console.INSTANCE) is console:
        console.INSTANCE = Quiet()


def _reason(error: Exception) -> str:
    """What is wrong, with the line. The parser keeps the line in the error behind its own."""
    antlr: Any = importlib.import_module("antlr4.error.Errors")
    said = str(getattr(error, "message", None) or error).rstrip(".")
    cause = error.__cause__
    behind = cause.args[0] if isinstance(cause, antlr.ParseCancellationException) and cause.args else None
    token = behind.offendingToken if isinstance(behind, antlr.RecognitionException) else None
    where = "" if token is None else f"line {token.line}, column {token.column}, at {token.text!r}"
    return said or where or type(error).__name__
