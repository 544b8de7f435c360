"""What took long to make and is kept: made once for each key, however many threads ask for it at once."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Generic, TypeVar

V = TypeVar("V")


class Kept(Generic[V]):
    """Values by key; of too many, those that have not been used for longest are forgotten.

    Args:
        size: how many to keep.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._futures: OrderedDict[Hashable, Future[V]] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        """The value of a key, made if it is not there. Threads that ask meanwhile wait for it.

        Args:
            key: the key; ``None`` for something that is like nothing else, and is not kept.
            make: makes the value. What it raises goes to everybody who waits; the next to ask tries again.
        """
        if key is None:
            return make()
        with self._lock:
            future = self._futures.get(key)
            mine = future is None
            if future is None:
                future = self._futures[key] = Future()
                while len(self._futures) > self._size:
                    self._futures.popitem(last=False)
            else:
                self._futures.move_to_end(key)
        if mine:
            self._fill(key, future, make)
        return future.result()

    def _fill(self, key: Hashable, future: Future[V], make: Callable[[], V]) -> None:
        try:
            future.set_result(make())
        except BaseException as error:
            with self._lock:
                if self._futures.get(key) is future:
                    del self._futures[key]
            future.set_exception(error)

    def __len__(self) -> int:
        return len(self._futures)
