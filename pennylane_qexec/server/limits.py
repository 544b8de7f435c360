"""What a server takes from its users: how large payloads and circuits may be."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How large payloads and circuits may be. What is larger fails with a reason that says so.

    Attributes:
        decompressed: bytes of all that a payload has in it, after decompression.
        memory: bytes that a worker process may take while it decodes one.
        qubits: of a circuit.
        clbits: of a circuit.
        operations: of all circuits of a job together, those in control flow and in definitions included.
        circuits: that a job may have, the rows of parameters of all its PUBs.
        shots: of all circuits of a job together; IBM's limit.
        bits: that all shots of a job together may measure.
    """

    decompressed: int = 256_000_000
    memory: int = 4_000_000_000
    qubits: int = 256
    clbits: int = 100_000
    operations: int = 5_000_000
    circuits: int = 100_000
    shots: int = 10_000_000
    bits: int = 2_560_000_000
