"""Randomness that follows from what a job is, and not from when it comes."""

from __future__ import annotations

import hashlib

import numpy as np
from pennylane.tape import QuantumScript

from pennylane_qexec.fingerprint import fingerprint

_NAMELESS = "0" * 32


def number_of(*parts: object) -> int:
    """A number of 31 bits that follows from the parts: the same in every process."""
    return int.from_bytes(_digest(parts)[:4], "little") >> 1


def generator_of(*parts: object) -> np.random.Generator:
    """Random numbers that follow from the parts."""
    return np.random.default_rng(int.from_bytes(_digest(parts), "little"))


def fingerprint_of(circuit: QuantumScript) -> str:
    """The circuit's fingerprint; of a circuit that has none, because it contains functions, 32 zeros."""
    try:
        return fingerprint(circuit)
    except TypeError:
        return _NAMELESS


def _digest(parts: tuple[object, ...]) -> bytes:
    return hashlib.blake2b("\n".join(map(repr, parts)).encode(), digest_size=16).digest()
