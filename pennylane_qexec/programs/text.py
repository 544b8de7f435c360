"""Programs as text: OpenQASM, and the framework whose way of writing outcomes is kept."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pennylane as qml
from pennylane.devices import ExecutionConfig
from pennylane.measurements import MeasurementProcess
from pennylane.queuing import QueuingManager

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.programs.files import text_of, with_includes
from pennylane_qexec.programs.openqasm import Text, circuit_of, version_of
from pennylane_qexec.programs.others import converted
from pennylane_qexec.programs.program import Program
from pennylane_qexec.programs.reading import framework_of, read


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
    """OpenQASM of one of Qiskit's circuits, which can be read again."""
    from qiskit import qasm2

    circuit = _with_registers(circuit)
    try:
        text: str = qasm2.dumps(circuit)
        circuit_of(text)
    except (qasm2.QASM2Error, ConfigurationError):
        return _written_in_3(circuit)
    return text


def _with_registers(circuit: Any) -> Any:
    """The circuit, or one with registers for bits that have none or stand elsewhere, which texts would move."""
    from qiskit import ClassicalRegister, QuantumCircuit

    from pennylane_qexec.programs.qiskit.reader import registers

    groups = registers(circuit)
    if groups == [list(register) for register in circuit.cregs]:
        return circuit
    own = [ClassicalRegister(len(group), f"c{index}") for index, group in enumerate(groups)]
    empty = QuantumCircuit(circuit.num_qubits)
    empty.add_register(*own)
    return empty.compose(circuit, range(circuit.num_qubits), range(circuit.num_clbits))


def _written_in_3(circuit: Any) -> str:
    from qiskit import qasm3

    try:
        text: str = qasm3.dumps(circuit)
        circuit_of(text)
    except (qasm3.QASM3Error, ConfigurationError) as error:
        raise ConfigurationError(
            f"circuit {circuit.name!r} cannot be written in OpenQASM, and read again: {error}"
        ) from error
    return text


def _in_qiskit(program: Program) -> Any:
    """A program as one of Qiskit's circuits, with the registers that it had.

    Measurements in the middle are deferred to the end, which makes no outcome more or less likely.
    """
    from qiskit import ClassicalRegister

    from pennylane_qexec.executors.qiskit.circuits import parametrised
    from pennylane_qexec.executors.qiskit.program import QiskitBinder

    if program.bits is None:
        raise ConfigurationError(
            f"a circuit that measures {_named(program.circuit.measurements)} cannot be written in OpenQASM: only "
            "qml.counts of wires can. Keep it as a circuit, or count wires."
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


def _named(measurements: list[MeasurementProcess]) -> str:
    return ", ".join(map(str, measurements))
