"""Payloads of jobs, decoded within limits. They may come from anybody: nothing in them is executed."""

from __future__ import annotations

import base64
import binascii
import functools
import io
import json
import math
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil

from pennylane_qexec.concurrency.thread_pool import tamed
from pennylane_qexec.errors import QExecError
from pennylane_qexec.server.limits import Limits
from pennylane_qexec.server.programs.circuit_sizes import check_circuits, check_qpy
from pennylane_qexec.server.programs.tasks import INVALID, ProgramError

if TYPE_CHECKING:
    from qiskit import QuantumCircuit

_COMPRESSED = ("QuantumCircuit", "ndarray")
"""What clients send compressed."""

_TAKEN = frozenset((*_COMPRESSED, "complex", "NoiseModel", "ObservablesArray"))
"""What a payload may have in it. The client's decoder knows more, such as classes to be imported by their names."""

_decoding = threading.Lock()  # a process has one limit of its memory


def decoded(payload: bytes, limits: Limits) -> dict[str, Any]:
    """The parameters of a job: circuits of Qiskit, arrays of NumPy, numbers and texts.

    Args:
        payload: JSON as IBM's client encodes it.
        limits: how large it may be.

    Raises:
        ProgramError: it cannot be read, has something in it that no program takes, or is too large.
    """
    from qiskit_ibm_runtime.utils import RuntimeDecoder

    with reading(limits):
        said = json.loads(payload)
        _check_sizes(said, limits)
        with bounded_memory(limits.memory):
            params = tamed(functools.partial(json.loads, payload, cls=RuntimeDecoder))  # Rust may panic
            if not isinstance(params, dict):
                raise ProgramError("the payload must be a JSON object.", INVALID)
            check_circuits(_circuits(params), limits)
            return params


@contextmanager
def reading(limits: Limits) -> Iterator[None]:
    """Have whatever cannot be read raise :class:`ProgramError`, with a reason for the job's user.

    Args:
        limits: has the memory that may be taken.
    """
    try:
        yield
    except QExecError:
        raise
    except MemoryError:
        raise ProgramError(
            f"decoding the payload takes more than {limits.memory:,} bytes of memory, which is the most here. Send "
            "less in one job.",
            INVALID,
        ) from None
    except RecursionError:
        raise ProgramError("the payload is nested too deeply to be read.", INVALID) from None
    except Exception as error:
        said_so = " ".join(str(error).split())[:300]
        raise ProgramError(f"the payload cannot be read: {type(error).__name__}: {said_so}", INVALID) from None


def _circuits(params: Mapping[str, Any]) -> list[QuantumCircuit]:
    """Those of the PUBs, if each has one."""
    from qiskit import QuantumCircuit

    pubs, circuits = params.get("pubs"), []
    for number, pub in enumerate(pubs if isinstance(pubs, list) else ()):
        circuit = pub[0] if isinstance(pub, list | tuple) and pub else None
        if not isinstance(circuit, QuantumCircuit):
            raise ProgramError(
                f"PUB {number} must begin with a circuit of Qiskit, and begins with {type(circuit).__name__}.", INVALID
            )
        circuits.append(circuit)
    return circuits


def seed_of(options: Mapping[str, Any]) -> int | None:
    """The seed that a user has given for the simulation, 0 included; ``None`` for none."""
    seed = (options.get("simulator") or {}).get("seed_simulator")
    seed = options.get("seed_estimator") if seed is None else seed
    return None if seed is None else int(seed)


# Sizes


def _check_sizes(said: Any, limits: Limits) -> None:
    """Refuse what is of a kind that no program takes, and what would be too large once it is decompressed."""
    left = limits.decompressed
    waiting = [said]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting.extend(one)
            continue
        if not isinstance(one, dict):
            continue
        kind, value = one.get("__type__"), one.get("__value__")
        if kind is not None and not (isinstance(kind, str) and kind in _TAKEN):
            raise ProgramError(
                f"the payload has something of the type {kind!r:.100} in it, which is not taken.", INVALID
            )
        if kind in _COMPRESSED and isinstance(value, str):
            content = decompressed(value, left, limits)
            left -= len(content)
            if kind == "ndarray":
                _check_array(content)
            else:
                check_qpy(content, limits)
        else:
            waiting.extend(one.values())


def decompressed(value: str, most: int, limits: Limits) -> bytes:
    """What a text of a payload has in it.

    Args:
        value: compressed by zlib, in Base64.
        most: bytes that are left of what a payload may have in it.
        limits: says how many there were.

    Raises:
        ProgramError: it is damaged, or larger.
    """
    try:
        stream = zlib.decompressobj()
        content = stream.decompress(base64.b64decode(value, validate=True), most + 1)
    except (binascii.Error, zlib.error, ValueError) as error:
        raise ProgramError(f"a circuit or an array of the payload is damaged: {error}.", INVALID) from None
    if len(content) > most:
        raise _too_large(limits.decompressed)
    return content


def _check_array(content: bytes) -> None:
    """Refuse an array that is larger than what came of it, or has anything but numbers."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(stream)
    except (ValueError, EOFError, MemoryError) as error:
        raise ProgramError(f"an array of the payload is damaged: {error}.", INVALID) from None
    if dtype.kind not in "biufc":
        raise ProgramError(f"an array of the payload is of {dtype}: only numbers are taken.", INVALID)
    if math.prod(shape) * dtype.itemsize != len(content) - stream.tell():
        raise ProgramError(f"an array of the payload says that it is of shape {shape}, and is not.", INVALID)


def _too_large(limit: int) -> ProgramError:
    return ProgramError(
        f"the payload has more than {limit:,} bytes once it is decompressed, which is the most here. Make several jobs "
        "of it.",
        INVALID,
    )


@contextmanager
def bounded_memory(most: int) -> Iterator[None]:
    """Let this process take no more memory than this besides what it has, where the system can see to that."""
    try:
        import resource
    except ImportError:
        yield
        return
    with _decoding:
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        wanted = psutil.Process().memory_info().vms + most
        bound = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
