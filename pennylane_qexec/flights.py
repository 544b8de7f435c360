"""A cache that calls share while they are under way."""

from __future__ import annotations

import threading
from collections.abc import Iterator, MutableMapping
from typing import Any


class FlightCache(MutableMapping[Any, Any]):
    """A user's cache for one call, while other calls that use it may be under way.

    PennyLane notes a circuit in its cache when it begins, and takes for granted that the result is there when it meets
    the circuit again. Here only this call sees its notes; the others see results.

    Args:
        cache: where results are kept.
    """

    _lock = threading.Lock()

    def __init__(self, cache: MutableMapping[Any, Any]) -> None:
        self._cache = cache
        self._noted: set[Any] = set()
        self._found: dict[Any, Any] = {}

    def __contains__(self, key: object) -> bool:
        if key in self._noted:
            return True
        with self._lock:
            value = self._cache.get(key)
        if value is not None:
            self._found[key] = value  # the cache may have let go of it when the call ends
        return value is not None

    def __getitem__(self, key: Any) -> Any:
        if key in self._found:
            return self._found[key]
        with self._lock:
            return self._cache[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        if value is None:
            self._noted.add(key)
            return
        self._found[key] = value
        with self._lock:
            self._cache[key] = value

    def __delitem__(self, key: Any) -> None:
        del self._cache[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cache)

    def __len__(self) -> int:
        return len(self._cache)
