"""Results in memory, in front of the store."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

from pennylane_qexec.cache.values import size_of

_OVERHEAD = 300
"""Bytes of an entry besides its value: the key and its places in the table."""


class Memory:
    """Results by key; of too many, those that were not used for longest are forgotten.

    Args:
        most_bytes: about how many bytes they may take.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._bytes = 0
        self._values: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, keys: Iterable[str]) -> dict[str, Any]:
        """The results under some of the keys, which nobody may change."""
        found = {}
        with self._lock:
            for key in keys:
                if (entry := self._values.get(key)) is not None:
                    self._values.move_to_end(key)
                    found[key] = entry[0]
        return found

    def put(self, items: Iterable[tuple[str, Any]]) -> None:
        """Keep results, which nobody may change any more."""
        sized = [(key, value, size_of(value) + _OVERHEAD) for key, value in items]
        with self._lock:
            for key, value, size in sized:
                self._bytes += size - self._values.pop(key, (None, 0))[1]
                self._values[key] = (value, size)
            while self._bytes > self._most_bytes:
                _, (_, size) = self._values.popitem(last=False)
                self._bytes -= size

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._values.clear()
            self._bytes = 0
