"""What a batch waits for that asks for circuits itself, as one does that runs on a cluster inside."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any


class Awaited:
    """The futures that a batch waits for: if nobody waits for the batch any more, nobody waits for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._futures: list[Sequence[Future[Any]]] = []
        self._given_up = False

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note what is waited for inside of this."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

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


_current: ContextVar[Awaited | None] = ContextVar("pennylane_qexec_awaited", default=None)


@contextmanager
def waiting_for(futures: Sequence[Future[Any]]) -> Iterator[None]:
    """While this lasts, whoever calls it waits for futures."""
    awaited = _current.get()
    if awaited is None:
        yield
        return
    with awaited.waiting_for(futures):
        yield
