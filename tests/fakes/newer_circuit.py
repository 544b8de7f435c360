"""A file of a circuit that Qiskit 2.6 has written, in version 18 of QPY."""

from __future__ import annotations

import base64
import zlib

SAMPLE = zlib.decompress(
    base64.b64decode(
        "eNoL9Az29gwRYmJjYoAAxoJCKEuGgS2NgQPIAEkxQgWZoBgEWEBEcWJuQU4qVIShuraQEayCkZERbE4yI1gzkJsMUwPiQlmsP8/uCH+xx8Nw"
        "yoPgzZKnrZ8XwBWxQS1lZMAOgiLcE0tSwXaUQYW4kGwgXjtjGlSIw/4BlMUONwa7Ab6picWlRRDdEG9xIKlmZGRgRTIADDzTXHOKU/0h3oME"
        "DJwFBPMZGNJQzEAPahRXIAIZasJ/IIAFNNRkNMCKzRwkgAhMsGEwAJfHJggABf9DyQ=="
    )
)
"""Two qubits and a bit: ``rx(p[1], 0)``, of a vector ``p`` of 5 parameters; ``rx(0.5, 1)``; qubit 1 measured; and ``x``
on qubit 0, if the bit is 1."""
