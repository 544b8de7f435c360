"""How much computing and memory circuits take in Aer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pennylane as qml
from pennylane.tape import QuantumScript

from pennylane_qexec.executors.memory import free_memory
from pennylane_qexec.structure import batch_size

_CLIFFORD = frozenset(
    {qml.Identity, qml.X, qml.Y, qml.Z, qml.H, qml.S, qml.SX, qml.CNOT, qml.CY, qml.CZ, qml.SWAP, qml.BasisState}
)
_PER_CIRCUIT = 75_000.0
"""What Aer takes for any circuit, measured: 0.15 ms."""

_PER_AMPLITUDE = 1.6

_PER_ERROR = 25.0
"""How much longer an operation with its errors takes on a density matrix than a gate, measured."""

_PER_TRAJECTORY = 1000.0
"""What an operation takes in every shot that is simulated by itself, beside the amplitudes: 3 us."""

_BYTES = {"double": 16, "single": 8}


def effort(circuit: QuantumScript, number: int, noisy: bool, method: str) -> float:
    """How much computing a circuit is, in amplitude updates."""
    shots, operations = circuit.shots.total_shots or 0, len(circuit.operations)
    size = 2.0**number
    if _stays_small(circuit, method):
        size = float(number**2)
    elif noisy and (method == "density_matrix" or not shots or shots > size):
        size = size**2 * _PER_ERROR
    elif noisy:
        size = shots * (size + _PER_TRAJECTORY)
    return (_PER_CIRCUIT + _PER_AMPLITUDE * size * operations + number * shots) * batch_size(circuit)


def too_large(circuit: QuantumScript, number: int, noisy: bool, options: Mapping[str, Any]) -> str | None:
    """Why a circuit does not fit into memory, as the end of a sentence; ``None`` if it does."""
    method = options["method"]
    if _stays_small(circuit, method):
        return None
    mixed = method == "density_matrix" or (noisy and not circuit.shots)
    bits = number * (2 if mixed else 1)
    most = _memory(options)
    needed = _BYTES[options.get("precision", "double")]
    while bits and needed <= most:
        needed, bits = 2 * needed, bits - 1
    if not bits and needed <= most:
        return None
    what = "density matrix" if mixed else "state"
    return f"has {most / 2**30:.1f} GiB of memory free, and the {what} of {number} qubits does not fit"


def _stays_small(circuit: QuantumScript, method: str) -> bool:
    """Whether what Aer computes with does not double with every qubit, or need not."""
    if method in ("automatic", "statevector", "density_matrix", "unitary", "superop"):
        return method == "automatic" and bool(circuit.shots) and _CLIFFORD.issuperset(map(type, circuit.operations))
    return True


def _memory(options: Mapping[str, Any]) -> float:
    """The memory there is, in bytes."""
    if options.get("max_memory_mb"):
        return float(options["max_memory_mb"]) * 2**20
    return free_memory()
