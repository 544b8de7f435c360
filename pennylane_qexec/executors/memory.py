"""Memory: how much is free on this machine, how much a circuit needs, and how users write an amount of it."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import psutil
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.structure import batch_size, wires_in
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.base import Executor

_BYTES_PER_AMPLITUDE = 16
_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
_FRESH = 1.0  # seconds

_CONTROL_GROUP = Path("/sys/fs/cgroup")


class FreeMemory:
    """Measures what is free, at most once a second; within the limits of a container."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._measured_at = -_FRESH
        self._bytes = 0.0

    def __call__(self) -> float:
        """Bytes that are free now."""
        with self._lock:
            now = time.monotonic()
            if now - self._measured_at >= _FRESH:
                self._bytes = min(float(psutil.virtual_memory().available), _left_in_container())
                self._measured_at = now
            return self._bytes


free_memory = FreeMemory()


def state_bytes(executor: Executor, circuit: QuantumScript) -> float:
    """Bytes that the state of a circuit takes here: ``2**n`` numbers, or ``4**n`` if it is a density matrix.

    Args:
        executor: who would run the circuit; what runs elsewhere takes nothing here.
        circuit: the circuit. Broadcasted, it has a state for each row.
    """
    if not executor.local:
        return 0.0
    wires = len(wires_in(circuit) if executor.wires is None else executor.wires)
    exponent = 2 if executor.mixed else 1
    return _BYTES_PER_AMPLITUDE * 2.0 ** (exponent * wires) * batch_size(circuit)


def amount(value: int | float | str | None) -> float | None:
    """An amount of memory as users write it, in bytes: a number, or such as ``"8G"``, ``"512 MiB"`` (powers of 1024).

    Raises:
        ConfigurationError: it is none.
    """
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return float(value)
    found = _AMOUNT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ConfigurationError(f"memory={value!r} is no amount of memory: give bytes, or text such as '8G'.")
    return float(found[1]) * 1024.0 ** _UNITS[found[2].upper()]


def in_words(number: float) -> str:
    """Bytes, as people read them."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if number < 1024:
            return f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:.3g} PiB"


def _left_in_container() -> float:
    try:
        most, used = [(_CONTROL_GROUP / name).read_text().strip() for name in ("memory.max", "memory.current")]
        return float(most) - float(used)
    except (OSError, ValueError):
        return float("inf")
