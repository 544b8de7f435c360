"""What a recorded circuit would return without noise."""

from __future__ import annotations

import pennylane as qml
from pennylane.measurements import CountsMP, ProbabilityMP
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.mid_circuit import dynamic_part, measured_in, postselects
from pennylane_qexec.circuits.serialization import circuit_of
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.experiment.recording import RecordedCircuit

MOST_QUBITS = 16
"""The most qubits of a circuit that is simulated, each measurement in the middle of it counted as one more."""

_LEAST = 1e-12

_ADVICE = "Give the name of a backend, or probabilities, as reference="


def ideal(recorded: RecordedCircuit, number: int) -> dict[str, float]:
    """The probabilities of a circuit's outcomes, written as its counts are.

    Args:
        recorded: the circuit.
        number: its number in the experiment.

    Raises:
        ConfigurationError: it has too many qubits, is not counted, or nothing here simulates it exactly.
    """
    if recorded.text is None or recorded.bits is None:
        raise ConfigurationError(f"circuit {number} has no ideal counts. {_ADVICE}, or choose another circuit=.")
    circuit = circuit_of(recorded.text)
    if dynamic_part(circuit) is not None or postselects(circuit):
        raise ConfigurationError(f"circuit {number} does what is not simulated exactly here. {_ADVICE}.")
    qubits = len(circuit.wires) + len(measured_in(circuit))
    if qubits > MOST_QUBITS:
        raise ConfigurationError(
            f"circuit {number} has {qubits} qubits and measurements in the middle of it, and {MOST_QUBITS} are "
            f"simulated at most. {_ADVICE}."
        )
    (counted,) = circuit.measurements
    probabilities = _simulated(QuantumScript(circuit.operations, [_probabilities_of(counted)]))
    bits = len(probabilities).bit_length() - 1
    found: dict[str, float] = {}
    for outcome, probability in enumerate(probabilities):
        if probability > _LEAST:
            (written,) = recorded.bits.write({f"{outcome:0{bits}b}": 1}, recorded.order)
            found[written] = found.get(written, 0.0) + float(probability)
    total = sum(found.values())
    return {outcome: probability / total for outcome, probability in found.items()}


def _probabilities_of(counted: CountsMP) -> ProbabilityMP:
    if counted.mv is None:
        return qml.probs(wires=counted.wires)
    return qml.probs(op=list(counted.mv) if isinstance(counted.mv, list | tuple) else counted.mv)


def _simulated(circuit: QuantumScript) -> list[float]:
    device = qml.device("default.qubit")
    preprocess, config = device.preprocess()
    circuits, finish = preprocess([circuit])
    (probabilities,) = finish(device.execute(circuits, config))
    return [float(one) for one in probabilities]
