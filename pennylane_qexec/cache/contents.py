"""What a circuit is, as a digest that is the same in every process; quickly, for circuits of one structure."""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from hashlib import blake2b
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.operation import Operator
from pennylane.tape import QuantumScript
from scipy import sparse

from pennylane_qexec.fingerprint import content
from pennylane_qexec.fusion import Likeness
from pennylane_qexec.structure import wire_labels

_KEPT = 8
"""How many structures each thread knows."""

_NUMBERS = frozenset({float, np.float64})
_PLAIN = (bool, int, float, complex, np.generic, sparse.sparray, sparse.spmatrix)

_data = attrgetter("data")


class _Known(threading.local):
    """The structures that this thread has seen last, with their digests."""

    def __init__(self) -> None:
        self.structures: list[tuple[Likeness, bytes]] = []


_known = _Known()


def digest_of(circuit: QuantumScript) -> bytes | None:
    """The digest of a circuit's operations, measurements and shots; not of which parameters are trainable.

    A circuit of plain gates is the digest of its structure, which is kept, and its parameters.

    Returns:
        ``None`` if there is none: the circuit contains a function, parameters of an interface (JAX, PyTorch, Autograd),
        whose results would be of that interface too, or a snapshot, which wants to be taken.
    """
    parameters = [*chain.from_iterable(map(_data, circuit.operations))]
    if all(map(_is_number, parameters)) if not _NUMBERS.issuperset(map(type, parameters)) else True:
        structure = _structure(circuit)
        if structure is not None:
            return blake2b(struct.pack(f"<{len(parameters)}d", *parameters), digest_size=16, key=structure).digest()
    return _whole(circuit)


def _is_number(value: Any) -> bool:
    return type(value) in _NUMBERS or (type(value) is np.ndarray and not value.shape and value.dtype == np.float64)


def _structure(circuit: QuantumScript) -> bytes | None:
    """The digest of a circuit of plain gates without its parameters; ``None`` for any other circuit."""
    structures = _known.structures
    for likeness, digest in structures:
        if likeness(circuit):
            return digest
    likeness = Likeness(circuit)
    if not likeness.plain or not _is_plain(circuit.measurements):
        return None
    gates = [(type(gate).__qualname__, wire_labels(gate), len(gate.data)) for gate in circuit.operations]
    try:
        digest = bytes.fromhex(content([gates, circuit.measurements, circuit.shots]).digest)
    except Exception:  # a function, a tracer: each library raises what it likes when it is looked at
        return None
    _known.structures = [(likeness, digest), *structures[: _KEPT - 1]]
    return digest


def _whole(circuit: QuantumScript) -> bytes | None:
    operations = circuit.operations
    if any(isinstance(one, qml.Snapshot) for one in operations):
        return None
    if not _all_plain(operations) or not _is_plain(circuit.measurements):
        return None
    try:
        return bytes.fromhex(content([operations, circuit.measurements, circuit.shots]).digest)
    except Exception:  # a function, a tracer: each library raises what it likes when it is looked at
        return None


def _is_plain(measurements: Sequence[Any]) -> bool:
    """Whether measurements have no numbers of an interface in their observables."""
    return _all_plain([one.obs for one in measurements if one.obs is not None])


def _all_plain(operators: Sequence[Operator]) -> bool:
    return all(
        type(value) is np.ndarray or isinstance(value, _PLAIN) for operator in operators for value in operator.data
    )
