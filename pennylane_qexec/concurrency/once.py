"""What took long to make and is kept: made once for each key, however many threads ask for it at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, wait
from functools import partial
from typing import Any, Generic, TypeVar

from pennylane_qexec.concurrency import interrupts

V = TypeVar("V")


class _Made(Future[tuple[V] | None]):
    """A value in a tuple, once it is made; ``None`` if it could not be.

    Attributes:
        maker: the thread that makes it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.maker = threading.get_ident()


def _is_made(made: _Made[Any], timeout: float | None) -> bool:
    return bool(wait([made], timeout).done)


class OnceCache(Generic[V]):
    """Values by key; of too many, those that have not been used for longest are forgotten.

    Args:
        size: how many to keep.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._futures: OrderedDict[Hashable, _Made[V]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """The value of a key, made if it is not there. Threads that ask meanwhile wait for it.

        Args:
            key: the key; ``None`` for something that is like nothing else, and is not kept.
            make: makes the value. What it raises goes to whoever asked first; those who wait try again, one by one.
                If it asks for the same key itself, the value is made again for it.
        """
        if key is None:
            return make()
        while True:
            with self._lock:
                made = self._futures.get(key)
                mine = made is None
                if made is None:
                    made = self._futures[key] = _Made()
                    while len(self._futures) > self._size:
                        self._futures.popitem(last=False)
                else:
                    self._futures.move_to_end(key)
            if mine:
                return self._fill(key, made, make)
            if made.maker == threading.get_ident() and not made.done():
                return make()
            if not made.done():
                interrupts.wait(partial(_is_made, made))
            value = made.result()
            if value is not None:
                return value[0]

    def _fill(self, key: Hashable, made: _Made[V], make: Callable[[], V]) -> V:
        value: tuple[V] | None = None
        try:
            value = (make(),)
            return value[0]
        finally:
            if value is None:
                with self._lock:
                    if self._futures.get(key) is made:
                        del self._futures[key]
            made.set_result(value)

    def __len__(self) -> int:
        return len(self._futures)
