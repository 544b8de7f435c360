"""A circuit's content as a digest that is the same in every process, on every machine.

``tape.hash`` will not do: it abbreviates large arrays, cuts numbers to 8 digits, and takes RX(t) and RX(t + 2 pi) for
equal. Here every leaf and every piece of metadata of PennyLane's own pytree registrations goes into the digest, and
mid-circuit measurements, whose ids are random, are numbered in their order.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pennylane as qml
from pennylane.measurements import MeasurementProcess, MeasurementValue, Shots
from pennylane.operation import Operator
from pennylane.ops import LinearCombination, MidMeasure, PauliMeasure, Sum
from pennylane.pytrees.pytrees import flatten_registrations
from pennylane.tape import QuantumScript
from pennylane.wires import Wires
from scipy import sparse


def fingerprint(circuit: QuantumScript) -> str:
    """The digest of a circuit's operations, measurements, shots and trainable parameters.

    Args:
        circuit: any circuit with numeric parameters.

    Returns:
        32 hexadecimal digits. Equal circuits have equal fingerprints in every process; the version of PennyLane is
        not part of it.

    Raises:
        TypeError: the circuit contains something that has no content to compare, such as a function.
    """
    digest = _Digest()
    digest.sequence(circuit.operations)
    digest.sequence(circuit.measurements)
    digest.add(circuit.shots)
    digest.sequence([int(index) for index in circuit.trainable_params])
    return digest.hexdigest()


class _Digest:
    """Writes values, each with its type and length before it, into a hash.

    Attributes:
        foreign: the classes of operators and measurements on the way that are not PennyLane's.
    """

    def __init__(self) -> None:
        self.foreign: list[type] = []
        self._hash = hashlib.blake2b(digest_size=16)
        self._mid_measures: dict[Any, int] = {}

    def hexdigest(self) -> str:
        return self._hash.hexdigest()

    def add(self, value: Any) -> None:
        write = _WRITERS.get(type(value))
        if write is not None:
            write(self, value)
        elif isinstance(value, MidMeasure | PauliMeasure):
            self.mid_measure(value)
        elif isinstance(value, MeasurementValue):
            self.measurement_value(value)
        elif isinstance(value, Operator | MeasurementProcess) or type(value) in flatten_registrations:
            self.pytree(value)
        elif isinstance(value, type):
            self.text(f"{value.__module__}.{value.__qualname__}", b"c")
        elif isinstance(value, set | frozenset):
            self.sequence(sorted(content(item).digest for item in value), b"e")
        elif sparse.issparse(value):
            self.sparse_matrix(value)
        elif callable(value):
            raise TypeError(f"{value!r} is a function: its content cannot be compared, so there is no fingerprint.")
        else:
            self.array(value)

    def token(self, kind: bytes, content: bytes = b"") -> None:
        self._hash.update(b"%b%d:%b" % (kind, len(content), content))

    def text(self, value: str, kind: bytes = b"s") -> None:
        self.token(kind, value.encode())

    def sequence(self, values: Any, kind: bytes = b"l") -> None:
        self.token(kind, str(len(values)).encode())
        for value in values:
            self.add(value)

    def mapping(self, values: dict[Any, Any]) -> None:
        self.sequence([part for item in values.items() for part in item], b"d")

    def array(self, value: Any) -> None:
        data = np.asarray(value if isinstance(value, np.ndarray | np.generic) else qml.math.unwrap([value])[0])
        if data.dtype == object:
            raise TypeError(f"{value!r} of type {type(value).__name__} has no fingerprint.")
        if not data.shape and data.dtype.type in _SCALARS:
            self.add(data.item())
            return
        little_endian = np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("<"))
        self.token(b"a", f"{little_endian.dtype.str}{data.shape}".encode())
        numbers = little_endian.tobytes()
        if len(numbers) < _LARGE:
            self.token(b"", numbers)
        else:  # processors have instructions for SHA-256, which make it five times as fast as what BLAKE2 is in Python
            self.token(b"2", hashlib.sha256(numbers).digest())

    def sparse_matrix(self, value: Any) -> None:
        matrix = value.tocsr()
        matrix.sum_duplicates()
        self.text(str(matrix.shape), b"m")
        for part in (matrix.data, matrix.indices.astype("<i8"), matrix.indptr.astype("<i8")):
            self.array(part)

    def pytree(self, value: Any) -> None:
        leaves, metadata = parts_of(value)
        self.text(f"{type(value).__module__}.{type(value).__qualname__}", b"o")
        self.sequence(tuple(leaves))
        self.add(metadata)
        if isinstance(value, LinearCombination) and was_written_into(value):
            self.sequence([term.scalar for term in value.operands])
        if is_foreign(type(value)):
            self.foreign.append(type(value))
        attributes = own_attributes(value)
        if attributes:
            self.mapping(attributes)

    def mid_measure(self, value: MidMeasure | PauliMeasure) -> None:
        settings = [each for name, each in value.hyperparameters.items() if name != "meas_uid"]
        self.sequence([self._number(value), value.wires, *settings], b"q")

    def measurement_value(self, value: MeasurementValue) -> None:
        """Combined measurements come in the order of their random ids: they are put in that of the circuit."""
        numbers = [self._number(measurement) for measurement in value.measurements]
        order = sorted(range(len(numbers)), key=numbers.__getitem__)
        self.sequence([value.measurements[index] for index in order], b"v")
        if value.has_processing:
            table = sorted(([int(bits[index]) for index in order], outcome) for bits, outcome in value.items())
            self.sequence(table)

    def _number(self, measurement: MidMeasure | PauliMeasure) -> int:
        return self._mid_measures.setdefault(measurement.hyperparameters["meas_uid"], len(self._mid_measures))


class Content(NamedTuple):
    """What is in some part of a circuit; equal for what is equal in one process.

    Attributes:
        digest: 32 hexadecimal digits.
        foreign: the classes that are not PennyLane's. Their names, which are in the digest, need not be theirs alone.
    """

    digest: str
    foreign: tuple[type, ...]


def content(value: Any) -> Content:
    """The content of any part of a circuit: an operation, a measurement, a setting, a sequence of them.

    Raises:
        TypeError: it contains something that has no content to compare.
    """
    digest = _Digest()
    digest.add(value)
    return Content(digest.hexdigest(), tuple(digest.foreign))


def parts_of(value: Any) -> tuple[Any, Any]:
    """What PennyLane's pytree registration says of an operator or a measurement: its leaves, and its metadata.

    The groups of a sum's terms are left out: PennyLane works them out when the sum is measured for the first time, and
    keeps them in it, so that a circuit would not be equal to itself afterwards.
    """
    leaves, metadata = flatten_registrations[type(value)](value)
    return leaves, (None,) if isinstance(value, Sum) and len(metadata) == 1 else metadata


def was_written_into(hamiltonian: LinearCombination) -> bool:
    """Whether a program has written into the coefficients of a Hamiltonian since it was made.

    PennyLane computes with those of now in some places, and in others with those that it was made with.
    """
    given: Any = hamiltonian.coeffs
    if type(given) is np.ndarray:
        given = given.tolist()
    made = [term.scalar for term in hamiltonian.operands]
    if not all(isinstance(each, _PLAIN) for each in (*given, *made)):
        return False
    return len(given) != len(made) or any(
        now != then and not (now != now and then != then) for now, then in zip(given, made, strict=True)
    )


def is_foreign(kind: type) -> bool:
    """Whether a class is somebody else's than PennyLane's."""
    return not kind.__module__.startswith("pennylane.")


def own_attributes(value: Any) -> dict[str, Any]:
    """The attributes that an operator or a measurement has beside those that all have, by name.

    The pytree registrations of PennyLane's own operators tell of everything. Those of measurements do not (the dtype of
    samples), nor need those of classes that users write.
    """
    if not isinstance(value, MeasurementProcess) and not is_foreign(type(value)):
        return {}
    return {name: each for name, each in sorted(vars(value).items()) if name not in _OF_ALL}


_OF_ALL = frozenset(
    {"id", "mv", "obs", "_eigvals", "_wires"}
    | {"data", "grad_recipe", "operands", "_batch_size", "_data", "_hyperparameters", "_id", "_name", "_ndim_params"}
    | {"_num_params", "_pauli_rep", "_SymbolicOp__queue_category"}
    | {"_grouping_indices", "_hash", "_has_overlapping_wires", "_overlapping_ops"}
)
"""The names of attributes that PennyLane gives measurements and operators: their content, and what it works out."""

_LARGE = 1024
"""From how many bytes on an array goes into the digest as a digest of its own."""

_PLAIN = (int, float, complex, np.generic)

_SCALARS = (np.float64, np.int64, np.bool_)
"""Numbers that are the same circuit's as Python's own, however they are wrapped."""

_WRITERS: dict[type, Callable[[_Digest, Any], None]] = {
    type(None): lambda digest, _: digest.token(b"n"),
    bool: lambda digest, value: digest.token(b"t" if value else b"f"),
    int: lambda digest, value: digest.token(b"i", str(value).encode()),
    float: lambda digest, value: digest.token(b"r", struct.pack("<d", value)),
    str: lambda digest, value: digest.text(value),
    bytes: lambda digest, value: digest.token(b"b", value),
    list: lambda digest, value: digest.sequence(value),
    tuple: lambda digest, value: digest.sequence(value),
    dict: lambda digest, value: digest.mapping(value),
    Wires: lambda digest, value: digest.sequence(value.tolist(), b"w"),
    Shots: lambda digest, value: digest.sequence([(group.shots, group.copies) for group in value.shot_vector], b"h"),
}
