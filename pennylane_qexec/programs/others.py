"""Programs of circuits that qBraid converts."""

from __future__ import annotations

from typing import Any

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.programs.from_qiskit import program_of_qiskit
from pennylane_qexec.programs.program import Program

_WHAT = "Give a circuit of PennyLane, Qiskit or Cirq, or OpenQASM 2 or 3"


def program_of_other(circuit: Any) -> Program:
    """Read what qBraid's conversions take to Qiskit. Outcomes are written as qBraid does, qubit 0 last.

    Raises:
        ConfigurationError: qBraid does not know it, or cannot convert it.
    """
    in_qiskit, framework = converted(circuit)
    separator = " " if framework.startswith("openqasm") else ""
    return program_of_qiskit(in_qiskit, framework, "little", separator, "")


def converted(circuit: Any) -> tuple[Any, str]:
    """What qBraid converts a circuit to in Qiskit, and qBraid's word for the framework that it comes from.

    Raises:
        ConfigurationError: qBraid does not know it, or cannot convert it.
    """
    kind = f"{type(circuit).__module__}.{type(circuit).__qualname__}"
    if type(circuit).__module__ == "builtins" and not isinstance(circuit, dict):
        raise ConfigurationError(f"{circuit!r} of type {kind} is no circuit. {_WHAT}.")
    import qbraid

    try:
        framework = str(qbraid.get_program_type_alias(circuit))
        return qbraid.transpile(circuit, "qiskit"), framework
    except Exception as error:  # each of the conversions raises what it likes
        raise ConfigurationError(
            f"{kind} is no circuit that can be read: qBraid says {str(error).strip()!r}. {_WHAT}, or install what "
            "qBraid needs to convert it."
        ) from error
