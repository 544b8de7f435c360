"""The context of a call: how deep it is inside running batches, what it waits for, and who notes its outcomes."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any

from pennylane_qexec.concurrency import interrupts


class AwaitedFutures:
    """The futures that a batch waits for: if nobody waits for the batch any more, nobody waits for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._futures: list[Sequence[Future[Any]]] = []
        self._given_up = False

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note what is waited for inside of this."""
        token = _awaited_now.set(self)
        try:
            yield
        finally:
            _awaited_now.reset(token)

    def give_up(self) -> None:
        """Cancel what is waited for, now and from now on."""
        with self._lock:
            self._given_up = True
            futures = [future for several in self._futures for future in several]
        for future in futures:
            future.cancel()

    @contextmanager
    def waiting_for(self, futures: Sequence[Future[Any]]) -> Iterator[None]:
        """While this lasts, the batch waits for futures."""
        with self._lock:
            self._futures.append(futures)
            given_up = self._given_up
        if given_up:
            for future in futures:
                future.cancel()
        try:
            yield
        finally:
            with self._lock:
                self._futures.remove(futures)


_awaited_now: ContextVar[AwaitedFutures | None] = ContextVar("pennylane_qexec_awaited", default=None)


@contextmanager
def waiting_for(futures: Sequence[Future[Any]]) -> Iterator[None]:
    """While this lasts, whoever calls it waits for futures."""
    awaited = _awaited_now.get()
    if awaited is None:
        yield
        return
    with awaited.waiting_for(futures):
        yield


_depth: ContextVar[int] = ContextVar("pennylane_qexec_depth", default=0)
_recorded: ContextVar[bool] = ContextVar("pennylane_qexec_recorded", default=False)


def depth() -> int:
    """How many batches the code that asks is running inside of, of whatever clusters; 0 outside of all."""
    return _depth.get()


def recorded() -> bool:
    """Whether the code that asks is running inside of a batch that a durable run records."""
    return _recorded.get()


@contextmanager
def inside(batch_depth: int | None = None, recorded: bool = False) -> Iterator[None]:
    """Mark what is called as running inside a batch.

    Args:
        batch_depth: the depth of the batch itself; default: that of the code that asks.
        recorded: whether a durable run records the batch, so that what is asked for inside of it need not be.
    """
    token = _depth.set((_depth.get() if batch_depth is None else batch_depth) + 1)
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


class OutcomeLog:
    """Collects the outcomes of circuits run in a context, and passes them on to the log around it.

    Attributes:
        outcomes: the outcomes, in the order in which they came.
    """

    def __init__(self) -> None:
        self.outcomes: list[Any] = []
        self._around = current()

    def open(self) -> None:
        """Collect from now on, in the current context and in those copied from it."""
        _current.set(self)

    def note(self, outcomes: Sequence[Any]) -> None:
        """Add outcomes."""
        self.outcomes.extend(outcomes)
        if self._around is not None:
            self._around.note(outcomes)


_current: contextvars.ContextVar[OutcomeLog | None] = contextvars.ContextVar("qexec_ledger", default=None)


def note(outcomes: Sequence[Any]) -> None:
    """Add outcomes to the log of the current context, if there is one; inside of a batch they are part of it."""
    log = _current.get()
    if log is not None and not _depth.get():
        log.note(outcomes)


def current() -> OutcomeLog | None:
    """The log of the current context, if there is one."""
    return _current.get()
