"""Reading circuits of any framework."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import pennylane as qml
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript

from pennylane_qexec import isolation
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.programs.files import text_of
from pennylane_qexec.programs.from_pennylane import program_of_function, program_of_qnode, program_of_script
from pennylane_qexec.programs.from_qiskit import program_of_qiskit
from pennylane_qexec.programs.openqasm import Text, program_of_saved, program_of_text
from pennylane_qexec.programs.program import Program


def read(circuit: Any) -> Program:
    """Read a circuit of any framework.

    Args:
        circuit: a circuit, QNode or quantum function of PennyLane that needs no arguments; a circuit of Qiskit or Cirq;
            OpenQASM 2 or 3 as a string, or a ``pathlib.Path`` of a file with it; anything else that qBraid converts.

    Returns:
        The circuit in PennyLane's words, and how its outcomes are written. If it measures nothing, all of its qubits
        are counted.

    Raises:
        ConfigurationError: it is no circuit, has parameters without values, or something in it cannot be said.
    """
    # Operators that are made here must not land in what another thread records.
    isolation.install()
    with QueuingManager.stop_recording():
        return _reader(circuit)(circuit)


def one_or_many(circuits: Any) -> tuple[list[Any], bool]:
    """A circuit or a list of circuits, as a list. Circuits can be iterated over too: only lists and tuples are many.

    Args:
        circuits: a circuit of any framework, or a list or tuple of them.

    Returns:
        The circuits, and whether they were many.
    """
    return (list(circuits), True) if isinstance(circuits, list | tuple) else ([circuits], False)


def framework_of(circuit: Any) -> str:
    """The package of a circuit's class, if its circuits are read here: ``"qiskit"``, ``"cirq"``; else empty.

    The package is not imported: whoever has one of its circuits has done that.
    """
    for kind in type(circuit).__mro__:
        package, name = kind.__module__.partition(".")[0], kind.__name__
        if (package, name) in (("qiskit", "QuantumCircuit"), ("cirq", "AbstractCircuit")):
            return package
    return ""


def _reader(circuit: Any) -> Callable[[Any], Program]:
    if isinstance(circuit, QuantumScript):
        return program_of_script
    if isinstance(circuit, qml.QNode):
        return program_of_qnode
    if isinstance(circuit, str):
        return program_of_text
    if isinstance(circuit, Path):
        return _program_of_file
    if isinstance(circuit, Text):
        return program_of_saved
    framework = framework_of(circuit)
    if framework == "qiskit":
        return program_of_qiskit
    if framework == "cirq":
        from pennylane_qexec.programs.cirq.reader import program_of_cirq

        return program_of_cirq
    if isinstance(circuit, list | tuple):
        raise ConfigurationError(f"a {type(circuit).__name__} of {len(circuit)} is no circuit: read them one by one.")
    # Other frameworks' circuits can be called too.
    if isinstance(circuit, FunctionType | MethodType | partial):
        return program_of_function
    from pennylane_qexec.programs.others import program_of_other

    return program_of_other


def _program_of_file(path: Path) -> Program:
    return program_of_text(text_of(path))
