"""Calls made from inside a running batch: how deep they are, and locks that belong to a chain of calls."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

from pennylane_qexec import interrupts

_depth: ContextVar[int] = ContextVar("pennylane_qexec_depth", default=0)
_recorded: ContextVar[bool] = ContextVar("pennylane_qexec_recorded", default=False)


def depth() -> int:
    """How many batches the code that asks is running inside of, of whatever clusters; 0 outside of all."""
    return _depth.get()


def recorded() -> bool:
    """Whether the code that asks is running inside of a batch that a durable run records."""
    return _recorded.get()


@contextmanager
def inside(batch_depth: int, recorded: bool = False) -> Iterator[None]:
    """Mark what is called as running inside a batch.

    Args:
        batch_depth: the depth of the batch itself.
        recorded: whether a durable run records the batch, so that what is asked for inside of it need not be.
    """
    token = _depth.set(batch_depth + 1)
    mark = _recorded.set(recorded or _recorded.get())
    try:
        yield
    finally:
        _recorded.reset(mark)
        _depth.reset(token)


class ChainLock:
    """A lock that belongs to a chain of calls, not to a thread.

    What is called while it is held may enter it again, also in another thread, as jobs take the context variables of
    their caller with them: there the caller waits, and waiting for it would never end.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def held(self) -> AbstractContextManager[Any]:
        """Hold the lock."""
        if any(hold.lock is self and not hold.over for hold in _holds.get()):
            return _HELD_ALREADY
        return _Hold(self, self._lock)


class _Hold:
    """One time that a lock is held; contexts copied meanwhile see when it is over."""

    __slots__ = ("_inner", "_token", "lock", "over")

    def __init__(self, lock: ChainLock, inner: threading.Lock) -> None:
        self.lock = lock
        self.over = False
        self._inner = inner

    def __enter__(self) -> None:
        interrupts.acquire(self._inner)
        self._token = _holds.set((*_holds.get(), self))

    def __exit__(self, *error: object) -> None:
        self.over = True
        _holds.reset(self._token)
        self._inner.release()


_HELD_ALREADY: AbstractContextManager[Any] = nullcontext()


_holds: ContextVar[tuple[_Hold, ...]] = ContextVar("pennylane_qexec_holds", default=())
