"""The very end of the program: what still runs at backends is cancelled there, as nobody can wait for it any more."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from concurrent.futures import Future, wait
from typing import Protocol

from pennylane_qexec import interrupts
from pennylane_qexec.engine import leaving
from pennylane_qexec.engine.withdrawals import PATIENCE

_MORE = 2.0  # seconds


class Ends(Protocol):
    """What has jobs at backends. It is not kept alive."""

    def let_go(self) -> Future[None] | None:
        """Begin to cancel what it has at backends; ``None`` if there is nothing to wait for."""

    def say_what_is_left(self) -> None:
        """Say what could not be cancelled until now."""


_lock = threading.Lock()
_owners: dict[int, weakref.WeakSet[Ends]] = {}


def cancel_at_exit(owner: Ends) -> None:
    """Have an owner let go of what it has at backends when all threads of the program have ended."""
    with _lock:
        if os.getpid() not in _owners:
            _owners[os.getpid()] = weakref.WeakSet()
            # Not with the pools, as what is submitted is waited for: the program's own threads may still ask for more.
            atexit.register(_end)
        _owners[os.getpid()].add(owner)


def _end() -> None:
    # A process forked from one with clusters has its list, but none of the threads that would cancel anything.
    owners = list(_owners.get(os.getpid(), ()))
    if leaving.interrupted():
        interrupts.give_up()
    try:
        begun = [future for owner in owners if (future := owner.let_go()) is not None]
        # They end by themselves, unless something that is called when a job ends hangs in an engine's thread.
        interrupts.wait(lambda seconds: not wait(begun, seconds).not_done, PATIENCE + _MORE)
    except KeyboardInterrupt:
        interrupts.give_up()
    for owner in owners:
        owner.say_what_is_left()
