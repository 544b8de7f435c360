"""The cache: where results are kept, and for which circuits; memory stands in front of the store."""

from __future__ import annotations

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pennylane_qexec.concurrency.lifecycle import Closeable
from pennylane_qexec.errors import ConfigurationError, StoreError, coerce
from pennylane_qexec.persistence.cache.keys import size_of
from pennylane_qexec.persistence.cache.location import bytes_of, default_url
from pennylane_qexec.persistence.cache.write_behind import WriteBehindStore
from pennylane_qexec.persistence.store import CacheInfo, Store
from pennylane_qexec.persistence.store.base import check_portable
from pennylane_qexec.redaction import veiled
from pennylane_qexec.redaction.display import even_incomplete

Place = str | os.PathLike[str] | Store
"""What names a store, or is one."""
logger = logging.getLogger("pennylane_qexec")

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


_IN_MEMORY = 64 * 10**6
_PATIENCE = 1.0  # seconds that a circuit waits for a store that is locked, at most


class Cache(Closeable):
    """Answers circuits whose results are known, in place of running them.

    A circuit is known by its content: operations, parameters, measurements and shots, the executor with its options,
    and the versions of what computes. Results are kept in memory, and in a store that other programs may share. A
    cluster that is given a cache asks it before anything is sent; what it answers costs nothing.

    Args:
        url: a store, or what :func:`~pennylane_qexec.persistence.store.open_store` opens; default: what the
            environment variable ``QEXEC_CACHE`` names, else a file in the user's cache folder.
        shots: whether circuits with shots are answered too if the executor has no seed: asked again, they get the very
            samples that they got before, and not new ones. Those of an executor with a seed are always answered.
        size: the most that the store keeps, in bytes or as ``"500 MB"``; what was not used for longest is forgotten.

    Attributes:
        shots: as given.

    Raises:
        ConfigurationError: ``size`` or ``shots`` makes no sense.
    """

    @veiled
    def __init__(self, url: Place | None = None, shots: bool = False, size: int | str = "1 GB") -> None:
        if not isinstance(shots, bool):
            raise ConfigurationError(f"shots={shots!r} must be True or False: whether samples are cached too.")
        if url is not None and not isinstance(url, str | os.PathLike | Store):
            raise ConfigurationError(f"url={url!r} names no store: give a file, a URL, or None for the user's cache.")
        self._arguments = (url, shots, size)
        self.shots = shots
        self._most_bytes = bytes_of(size)
        self._memory = Memory(_IN_MEMORY)
        self._lock = threading.Lock()
        self._backing: WriteBehindStore | None = None
        self._open = False

    @property
    def url(self) -> str:
        """The store's URL, with ``***`` for a password; ``""`` where results are kept in memory only."""
        backing = self._opened()
        return "" if backing is None else backing.store.url

    def open(self) -> None:
        """Open the store, if it is not open. If it cannot be opened, that is logged, and memory has to do.

        Raises:
            ConfigurationError: the URL names no store.
        """
        self._opened()

    def get(self, keys: Sequence[str], may_be: Callable[[str, Any], bool] | None = None) -> dict[str, Any]:
        """The results under some of the keys, from memory, then from the store in one query. Nobody may change them.

        Args:
            keys: the keys.
            may_be: says of a key and what the store has there whether that can be the result; default: anything can.
        """
        backing, found = self._opened(), self._memory.get(keys)
        missing = [key for key in keys if key not in found]
        if missing and backing is not None:
            stored = {key: one for key, one in backing.get(missing).items() if may_be is None or may_be(key, one)}
            found |= stored
            self._memory.put(list(stored.items()))
        return found

    def put(self, items: Sequence[tuple[str, Any]]) -> None:
        """Keep results under their keys; returns at once. Nobody may change them any more."""
        self._memory.put(items)
        if (backing := self._opened()) is not None:
            backing.put(items)

    def info(self) -> CacheInfo:
        """How much the store has, from all programs; nothing of what is in memory only.

        Raises:
            StoreError: the store fails.
        """
        self.flush()
        backing = self._opened()
        return CacheInfo(0, 0, 0, 0.0) if backing is None else backing.store.cache_info()

    def clear(self) -> int:
        """Forget everything, in memory and in the store. Returns how many results there were in the store.

        Raises:
            StoreError: the store fails.
        """
        self.flush()
        self._memory.clear()
        backing = self._opened()
        return 0 if backing is None else backing.store.cache_clear()

    def flush(self) -> None:
        """Wait until what is kept is in the store."""
        if self._backing is not None:
            self._backing.flush()

    def close(self) -> None:
        """Write what is kept, and close the store. Used again, the cache opens it again."""
        with self._lock:
            backing, self._backing, self._open = self._backing, None, False
        if backing is None:
            return
        backing.flush()
        if not isinstance(self._arguments[0], Store):
            backing.store.close()

    def _opened(self) -> WriteBehindStore | None:
        if not self._open:
            with self._lock:
                if not self._open:
                    self._backing = self._new_backing()
                    self._open = True
        return self._backing

    def _new_backing(self) -> WriteBehindStore | None:
        from pennylane_qexec.persistence.store import open_store

        url = self._arguments[0]
        try:
            store = open_store(default_url() if url is None else url, patience=_PATIENCE)
            return WriteBehindStore(store, self._most_bytes)
        except (StoreError, OSError) as error:
            logger.warning("the cache keeps results in memory only: %s", error)
            return None

    def __reduce__(self) -> tuple[Any, ...]:
        check_portable(self._arguments[0])
        return Cache, self._arguments

    @even_incomplete
    def __repr__(self) -> str:
        kept = "results, also sampled ones" if self.shots else "results"
        return f"<Cache of {kept}>"


def cache_of(given: Any) -> Cache | None:
    """The cache that a user's value means.

    Args:
        given: ``None`` or ``False`` for none; ``True`` for the user's own; ``"shots"`` for that, with samples; a
            mapping for the arguments of :class:`Cache`; a file, a URL or a store for a cache there; or a cache.

    Raises:
        ConfigurationError: it means none.
    """
    if given is None or given is False:
        return None
    if given is True or given == "shots":
        return Cache(shots=given == "shots")
    if isinstance(given, str) and given.isalpha() and get_close_matches(given.lower(), ["shots", "true"], cutoff=0.7):
        raise ConfigurationError(
            f"cache={given!r}: did you mean 'shots', or True? A file needs a suffix, as 'cache.db'."
        )
    if isinstance(given, str | os.PathLike | Store):
        return Cache(given)
    return coerce(Cache, given, f"cache={given!r} is no cache: give True, 'shots', a URL, or qexec.Cache(...).")


GivenCache = bool | Place | Cache | Mapping[str, Any] | None
"""What :func:`cache_of` takes."""
