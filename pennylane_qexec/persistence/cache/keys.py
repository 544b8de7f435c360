"""Keys of the cache: what a result follows from as a digest, the same in every process; and copies of results to keep.

Only plain values are kept. They are copied, so that nobody changes what the cache has.
"""

from __future__ import annotations

import struct
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.operation import Operator
from pennylane.tape import QuantumScript
from scipy import sparse

from pennylane_qexec.circuits.fingerprint import content
from pennylane_qexec.circuits.structure import wire_labels
from pennylane_qexec.circuits.templates import StructureMatcher
from pennylane_qexec.executors import Executor
from pennylane_qexec.executors.identity import version
from pennylane_qexec.job import Call, Job, Sweep

# Circuits

_KEPT = 8
"""How many structures each thread knows."""

_NUMBERS = frozenset({float, np.float64})
_PLAIN = (bool, int, float, complex, np.generic, sparse.sparray, sparse.spmatrix)

_data = attrgetter("data")


class _Known(threading.local):
    """The structures that this thread has seen last, with their digests."""

    def __init__(self) -> None:
        self.structures: list[tuple[StructureMatcher, bytes]] = []


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


def digests_of(sweep: Sweep) -> list[bytes | None]:
    """For each circuit of a sweep, what :func:`digest_of` gives."""
    parameters, template = sweep.parameters, sweep.template
    if parameters.dtype == np.float64 and sum(len(one.data) for one in template.operations) == parameters.shape[1]:
        structure = _structure(template)
        if structure is not None:
            rows = np.ascontiguousarray(parameters, "<f8")
            return [blake2b(row.tobytes(), digest_size=16, key=structure).digest() for row in rows]
    return list(map(digest_of, sweep.circuits()))


def _is_number(value: Any) -> bool:
    return type(value) in _NUMBERS or (type(value) is np.ndarray and not value.shape and value.dtype == np.float64)


def _structure(circuit: QuantumScript) -> bytes | None:
    """The digest of a circuit of plain gates without its parameters; ``None`` for any other circuit."""
    structures = _known.structures
    for matches, digest in structures:
        if matches(circuit):
            return digest
    matches = StructureMatcher(circuit)
    if not matches.plain or not _is_plain(circuit.measurements):
        return None
    gates = [(type(gate).__qualname__, wire_labels(gate), len(gate.data)) for gate in circuit.operations]
    try:
        digest = bytes.fromhex(content([gates, circuit.measurements, circuit.shots]).digest)
    except Exception:  # a function, a tracer: each library raises what it likes when it is looked at
        return None
    _known.structures = [(matches, digest), *structures[: _KEPT - 1]]
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


# Results

_IMMUTABLE = (type(None), bool, int, float, complex, str)


class ForeignError(Exception):
    """A value is not made of plain ones: it belongs to JAX, PyTorch, Autograd or somebody else."""


def copied(value: Any) -> Any:
    """A copy of a result, of the very same types.

    Args:
        value: numbers, text, NumPy's arrays and scalars, and tuples, lists and dicts of them.

    Raises:
        ForeignError: something else is in it.
    """
    kind = type(value)
    if kind is np.ndarray and value.dtype.kind != "O":
        return value.copy()
    if kind in _IMMUTABLE or isinstance(value, np.generic):
        return value
    if kind is tuple:
        return tuple([copied(part) for part in value])
    if kind is list:
        return [copied(part) for part in value]
    if kind is dict:
        return {copied(key): copied(part) for key, part in value.items()}
    raise ForeignError(kind)


def size_of(value: Any) -> int:
    """About how many bytes a copied value takes in memory."""
    kind = type(value)
    if kind is tuple or kind is list:
        return sys.getsizeof(value) + sum(map(size_of, value))
    if kind is dict:
        return sys.getsizeof(value) + sum(size_of(key) + size_of(part) for key, part in value.items())
    return sys.getsizeof(value)


# Keys

_FORM = "1"
"""Counts up when what keys are made of changes."""


class Keys:
    """Makes the keys of the circuits that are asked for together.

    Equal circuits with shots that are asked for together are different measurements: the first of them has one key in
    every such call, the second another one. In a durable run each number has its own.

    Args:
        identities: those of the executors whose results may be cached.
        shots: whether samples that nothing repeats may be cached too.
    """

    def __init__(self, identities: Mapping[Executor, str], shots: bool) -> None:
        self._identities = identities
        self._shots = shots
        self._calls: dict[int, tuple[Call, bytes | None]] = {}
        self._counts: Counter[bytes] = Counter()

    def of(self, job: Job) -> dict[str, str]:
        """The keys of a job by the names of the executors that may run it; none for those whose result is not kept."""
        return self.of_rows(job)[0]

    def of_rows(self, job: Job) -> list[dict[str, str]]:
        """The same for each circuit of a job: a row of a sweep has the keys that its circuit has alone."""
        keys: list[dict[str, str]] = [{} for _ in range(job.rows)]
        call = self._call(job.call)
        if call is None:
            return keys
        for executor in self._identities if job.executor is None else (job.executor,):
            try:
                found = self._keys(job, executor, call)
            except Exception:  # whatever an interface's numbers do when they are looked at: the circuit can still run
                continue
            for named, key in zip(keys, found, strict=False):
                if key is not None:
                    named[executor.name] = key
        return keys

    def _keys(self, job: Job, executor: Executor, call: bytes) -> list[str | None]:
        """For each circuit of a job, its key; none at all if results are not kept."""
        identity = self._identities.get(executor)
        if identity is None:
            return []
        circuit = executor.with_shots(job.circuit)
        if not executor.repeats(circuit) and not (self._shots and circuit.shots):
            return []
        digests = [digest_of(circuit)] if job.sweep is None else digests_of(replace(job.sweep, template=circuit))
        if digests == [None]:
            return []
        shared = blake2b(f"{identity}\n{_more(job, executor, circuit)}".encode(), digest_size=24)
        shared.update(call)
        keys: list[str | None] = []
        for row, found in enumerate(digests):
            if found is None:
                keys.append(None)
                continue
            digest = shared.copy()
            digest.update(found)
            if circuit.shots:
                number = None if job.number is None else job.number + row
                digest.update(self._which(digest.digest(), number).encode())
            keys.append(digest.hexdigest())
        return keys

    def _which(self, measured: bytes, number: int | None) -> str:
        """Which of the measurements of one circuit it is: in a durable run the one of its number, which draws it."""
        if number is not None:
            return f"number {number}"
        self._counts[measured] += 1
        return str(self._counts[measured])

    def _call(self, call: Call) -> bytes | None:
        """The digest of a call; ``None`` for one whose results cannot be kept."""
        if id(call) not in self._calls:
            self._calls[id(call)] = call, _digest_of_call(call)
        return self._calls[id(call)][1]


def _more(job: Job, executor: Executor, circuit: QuantumScript) -> str:
    """What else a result depends on: the member that runs it, what is differentiated, what that is multiplied by."""
    place = executor.place(circuit, job.call) if executor.members else ""
    if job.call.method == "execute":
        return place
    vector = None if job.vector is None else content(copied(job.vector)).digest
    return f"{place}\n{list(map(int, circuit.trainable_params))}\n{vector}"


def _digest_of_call(call: Call) -> bytes | None:
    """What of a call makes a difference; for backpropagation, also with which library's numbers it is computed."""
    config, measuring = call.config, call.config.mcm_config
    parts = [_FORM, version("pennylane"), version("pennylane-qexec"), call.method, call.bound]
    parts += [measuring.mcm_method, measuring.postselect_mode]
    if config.gradient_method == "backprop":
        parts += [config.interface, config.convert_to_numpy]
    if call.method != "execute":
        if config.gradient_keyword_arguments:
            return None
        parts += [config.gradient_method, config.derivative_order]
    return "\n".join(map(str, parts)).encode()
