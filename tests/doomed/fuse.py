"""What kills a process: at its n-th event of some kind, between two instructions, as a power cut would."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

from pennylane_qexec.persistence.store import Store

STORE = ("record", "sending", "sent", "done")
BACKEND = ("submit_labelled", "poll", "fetch", "find", "adopt")
STEP = "step finished"

EVENTS = (*[f"{when} {name}" for name in (*STORE, *BACKEND) for when in ("before", "after")], STEP)
"""Before and after a method is called: of the store, and of executors."""


class Fuse:
    """Counts the events of a process, and kills it.

    Args:
        event: the kind of event that kills it; ``None`` if none does.
        number: which of that kind, counted from 1.
    """

    def __init__(self, event: str | None = None, number: int = 0) -> None:
        self._event = event
        self._number = number
        self._lock = threading.Lock()
        self.seen: Counter[str] = Counter()

    def note(self, event: str) -> None:
        """An event has come."""
        with self._lock:
            self.seen[event] += 1
            if event == self._event and self.seen[event] == self._number:
                os.kill(os.getpid(), signal.SIGKILL)

    def at_store(self, store: Store) -> Store:
        """The same store, whose methods are events."""
        return self._at(store, STORE)

    def at_backend(self, executor: Any) -> Any:
        """The same executor, whose methods are events."""
        return self._at(executor, BACKEND)

    def _at(self, thing: Any, names: tuple[str, ...]) -> Any:
        for name in names:
            setattr(thing, name, self._fused(name, getattr(thing, name)))
        return thing

    def _fused(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.note(f"before {name}")
            result = method(*arguments)
            self.note(f"after {name}")
            return result

        return call
