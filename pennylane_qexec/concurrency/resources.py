"""The machine that this process runs on."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import psutil

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


def cores() -> int:
    """The number of cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


free_memory = FreeMemory()


def _left_in_container() -> float:
    try:
        most, used = [(_CONTROL_GROUP / name).read_text().strip() for name in ("memory.max", "memory.current")]
        return float(most) - float(used)
    except (OSError, ValueError):
        return float("inf")
