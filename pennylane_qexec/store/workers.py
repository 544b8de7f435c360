"""Which worker lives: told by hearts that beat, never by comparing the times of two clocks."""

from __future__ import annotations

import math
import os
import secrets
import sys
import threading
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

_LINUX = sys.platform == "linux"
_GONE = ("Z", "X")  # a killed process that nobody has waited for is still listed


class Heart(NamedTuple):
    """A worker as the database shows it: it beats whenever the worker renews."""

    worker: str
    beat: int
    lease: float


class Watch:
    """What one process has seen of the hearts of others.

    Args:
        monotonic: a clock that never jumps, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._seen: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()

    def stopped(self, hearts: Iterable[Heart]) -> list[Heart]:
        """Those that have not beaten for as long as their lease while we watched, or whose process is no more."""
        now = self._monotonic()
        with self._lock:
            return [
                heart for heart in hearts if surely_dead(heart.worker) or self._still_for(heart, now) >= heart.lease
            ]

    def _still_for(self, heart: Heart, now: float) -> float:
        beat, since = self._seen.get(heart.worker, (None, now))
        if beat != heart.beat:
            since = now
        self._seen[heart.worker] = (heart.beat, since)
        return now - since


class Beats:
    """When the hearts of this process have last beaten.

    Args:
        monotonic: a clock that never jumps, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._last: dict[str, tuple[float, float]] = {}

    def lately(self, worker: str, lease: float) -> bool:
        """Whether a heart has beaten less than a quarter of this lease ago."""
        at, its_lease = self._last.get(worker, (-math.inf, lease))
        return its_lease == lease and self._monotonic() - at < lease / 4

    def note(self, worker: str, lease: float, at: float) -> None:
        """Note that a heart has beaten, at a time of the clock."""
        self._last[worker] = (at, lease)


def new_worker() -> str:
    """A name for this process, unlike that of any other: its machine, its number, when it began, and chance."""
    pid = os.getpid()
    return f"{_machine()}/{pid}/{_begun(pid)}/{secrets.token_hex(8)}"


def surely_dead(worker: str) -> bool:
    """Whether a worker was a process of this machine that is there no more. If in doubt, it is not."""
    machine, pid, begun, *_ = (*worker.split("/"), "", "", "")
    if machine != _machine() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    now = _begun(int(pid))
    return bool(begun and now) and begun != now


def _machine() -> str:
    """What processes have in common that see each other by their numbers."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}-{os.readlink('/proc/self/ns/pid').strip('pid:[]')}"
    except OSError:
        return f"{uuid.getnode():x}"  # drawn at random, unlike any other, where it cannot be found out


def _begun(pid: int) -> str:
    """When a process began; ``"gone"`` of a dead one; ``""`` if nobody says."""
    return _begun_on_linux(pid) if _LINUX else _begun_elsewhere(pid)


def _begun_on_linux(pid: int) -> str:
    """In ticks since the machine did, which no change of its clock moves."""
    try:
        said = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *fields = said[said.rindex(")") + 2 :].split()
    return "gone" if state in _GONE else fields[18]


def _begun_elsewhere(pid: int) -> str:
    """In microseconds since 1970."""
    import psutil

    try:
        process = psutil.Process(pid)
        return (
            "gone"
            if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
            else str(round(process.create_time() * 1e6))
        )
    except psutil.NoSuchProcess:
        return "gone"
    except psutil.Error:
        return ""
