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
        operations: of all circuits of a job together, those in control flow included.
    """

    decompressed: int = 256_000_000
    memory: int = 4_000_000_000
    qubits: int = 256
    operations: int = 5_000_000
