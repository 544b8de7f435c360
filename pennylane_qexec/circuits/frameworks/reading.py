"""Reads circuits of any framework, those that qBraid converts included, and writes and reads programs as text.

The text is OpenQASM with the name of the framework whose way of writing outcomes it has.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from types import FunctionType, MethodType
from typing import Any

import pennylane as qml
from pennylane.devices import ExecutionConfig
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.frameworks.builder import Program
from pennylane_qexec.circuits.frameworks.limits import text_of, with_includes
from pennylane_qexec.circuits.frameworks.pennylane import program_of_function, program_of_qnode, program_of_script
from pennylane_qexec.circuits.frameworks.qiskit import (
    Text,
    circuit_of,
    program_of_qiskit,
    program_of_saved,
    program_of_text,
    version_of,
)
from pennylane_qexec.concurrency import isolation
from pennylane_qexec.errors import ConfigurationError

# Circuits that qBraid converts

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


# Circuits of any framework


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
        return reader_of(circuit)(circuit)


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


def reader_of(circuit: Any) -> Callable[[Any], Program]:
    """What reads a circuit: of what is known to nobody else, :func:`program_of_other`.

    Raises:
        ConfigurationError: it is a list.
    """
    if isinstance(circuit, QuantumScript):
        return program_of_script
    if isinstance(circuit, qml.QNode):
        return program_of_qnode
    if isinstance(circuit, str):
        return program_of_text
    if isinstance(circuit, Path):
        return lambda path: program_of_text(text_of(path))
    if isinstance(circuit, Text):
        return program_of_saved
    framework = framework_of(circuit)
    if framework == "qiskit":
        return program_of_qiskit
    if framework == "cirq":
        from pennylane_qexec.circuits.frameworks.cirq import program_of_cirq

        return program_of_cirq
    if isinstance(circuit, list | tuple):
        raise ConfigurationError(f"a {type(circuit).__name__} of {len(circuit)} is no circuit: read them one by one.")
    # Other frameworks' circuits can be called too.
    if isinstance(circuit, FunctionType | MethodType | partial):
        return program_of_function

    return program_of_other


# Programs as text


def to_text(circuit: Any) -> tuple[str, str]:
    """A circuit as OpenQASM: version 2 where that can say it, else 3.

    Args:
        circuit: what :func:`read` takes. Names, shots, and labels of wires are lost; measurements in the middle are
            deferred to the end where OpenQASM, or Qiskit's reader of it, does not know what depends on them.

    Returns:
        The text, and the framework that :func:`from_text` needs with it.

    Raises:
        ConfigurationError: OpenQASM cannot say it, such as measurements that are no counts.
    """
    if isinstance(circuit, Text):
        return circuit.text, circuit.framework
    program = read(circuit)
    if isinstance(circuit, str | Path):
        return circuit if isinstance(circuit, str) else text_of(circuit), program.framework
    if program.framework in ("pennylane", "cirq"):
        return _written(_in_qiskit(program)), program.framework
    try:
        return _written(circuit if framework_of(circuit) == "qiskit" else converted(circuit)[0]), program.framework
    except ConfigurationError:
        return _written(_in_qiskit(program)), program.framework


def from_text(text: str, framework: str) -> Any:
    """A circuit of a text: what :func:`read` reads as the circuit that the text was made of.

    Args:
        text: OpenQASM.
        framework: the framework that came with it.

    Returns:
        A circuit of Qiskit; OpenQASM itself; or, for other frameworks, OpenQASM that remembers how they write outcomes.

    Raises:
        ConfigurationError: the text is no OpenQASM that can be read, or includes files of the machine that reads it.
    """
    version_of(text)
    with_includes(text, None)
    if framework == "qiskit":
        return circuit_of(text)
    return text if framework.startswith("openqasm") else Text(text, framework)


def _written(circuit: Any) -> str:
    """OpenQASM of one of Qiskit's circuits, which can be read again: version 2 where that can say it, else 3."""
    from qiskit import qasm2, qasm3

    circuit = _with_registers(circuit)
    for dumps in (qasm2.dumps, qasm3.dumps):
        try:
            text: str = dumps(circuit)
            circuit_of(text)
            return text
        except (qasm2.QASM2Error, qasm3.QASM3Error, ConfigurationError) as error:
            problem = error
    raise ConfigurationError(
        f"circuit {circuit.name!r} cannot be written in OpenQASM, and read again: {problem}"
    ) from problem


def _with_registers(circuit: Any) -> Any:
    """The circuit, or one with registers for bits that have none or stand elsewhere, which texts would move."""
    from qiskit import ClassicalRegister, QuantumCircuit

    from pennylane_qexec.circuits.qiskit.reader import registers

    groups = registers(circuit)
    if groups == [list(register) for register in circuit.cregs]:
        return circuit
    own = [ClassicalRegister(len(group), f"c{index}") for index, group in enumerate(groups)]
    empty = QuantumCircuit(circuit.num_qubits)
    empty.add_register(*own)
    return empty.compose(circuit, range(circuit.num_qubits), range(circuit.num_clbits))


def _in_qiskit(program: Program) -> Any:
    """A program as one of Qiskit's circuits, with the registers that it had.

    Measurements in the middle are deferred to the end, which makes no outcome more or less likely.
    """
    from qiskit import ClassicalRegister

    from pennylane_qexec.circuits.qiskit.preparation import QiskitBinder, parametrised

    if program.bits is None:
        measurements = ", ".join(map(str, program.circuit.measurements))
        raise ConfigurationError(
            f"a circuit that measures {measurements} cannot be written in OpenQASM: only qml.counts of wires can. Keep "
            "it as a circuit, or count wires."
        )
    with QueuingManager.stop_recording():
        bound = QiskitBinder(ExecutionConfig())(program.circuit)
        (ready,) = bound.circuits
        if any(isinstance(operation, qml.Projector) for operation in ready.operations):
            raise ConfigurationError("a circuit that postselects cannot be written in OpenQASM. Keep it as a circuit.")
        converted = parametrised(ready.operations, (), ready.wires)
    measured = converted.wires.indices(ready.measurements[0].wires)
    circuit = converted.circuit.copy()
    for index, register in enumerate(program.bits.registers):
        circuit.add_register(ClassicalRegister(len(register), f"c{index}"))
    for bit, place in enumerate(chain.from_iterable(program.bits.registers)):
        if place is not None:
            circuit.measure(measured[place], bit)
    return circuit
