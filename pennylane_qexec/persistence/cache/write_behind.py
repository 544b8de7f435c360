"""Results in a store, which outlive the process: read when they are asked for, written by a thread behind."""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any

from pennylane_qexec.circuits.serialization import result_of, result_text
from pennylane_qexec.concurrency import interrupts
from pennylane_qexec.concurrency.lifecycle import ExitPhase, at_exit, wait_at_exit
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.persistence.store import Cached, Store

logger = logging.getLogger("pennylane_qexec")

_LINGER = 1.0  # seconds that the thread waits for more to write
_TOGETHER = 0.1  # seconds that results wait for others, to be written together: a step of an optimiser has few
_REST = 60.0  # seconds for which a store that failed is left alone
_AT_LEAVING = 30.0  # seconds that the end of a program waits for a server that does not answer
_AT_ONCE = 500  # results that are written together: who reads waits meanwhile
_MOST_WAITING = 50_000  # results that wait to be written; more are not kept for other processes

_AT_READING = 1.0  # seconds that who reads waits for what others in this program are writing

_stores: set[weakref.ref[WriteBehindStore]] = set()


class WriteBehindStore:
    """Results in a store. Whatever happens to the store, nothing is raised: what is not found is run.

    Args:
        store: the store.
        most_bytes: the most bytes of results that it keeps.
    """

    def __init__(self, store: Store, most_bytes: int) -> None:
        self.store = store
        self._most_bytes = most_bytes
        self._complained = False
        self._rests_until = 0.0
        self._start()
        _stores.add(weakref.ref(self, _stores.discard))

    def _start(self) -> None:
        self._process = os.getpid()
        self._changed = threading.Condition()
        self._waiting: list[tuple[str, Any]] = []
        self._given = 0  # how many results were ever to be written
        self._done = 0  # how many of them are written, or given up
        self._urgent = 0  # how many of them somebody waits for
        self._thread: threading.Thread | None = None
        wait_at_exit(_flush_all)
        at_exit(ExitPhase.RESULTS, _flush_all)  # those of threads that have gone on

    def get(self, keys: Sequence[str]) -> dict[str, Any]:
        """The results under some of the keys, in one query. Texts that are damaged count as not there."""
        if time.monotonic() < self._rests_until:
            return {}
        for other in _living():
            if other is not self and other.is_behind and other.store.url == self.store.url:
                other.wait(_AT_READING)  # what this program knows already is not run again
        try:
            texts = self.store.cache_get(keys)
        except Exception as error:  # a store of the user's own may raise what it likes: the circuit can still run
            self._rest(error)
            return {}
        found = {}
        for key, text in texts.items():
            try:
                found[key] = result_of(text)
            except ConfigurationError as error:
                logger.info("a cached result is damaged, and the circuit runs again: %s", error)
        return found

    def put(self, items: Sequence[tuple[str, Any]]) -> None:
        """Have results written, which nobody may change any more; returns at once if there can be a thread for it."""
        if self._process != os.getpid():
            self._start()  # forked: the thread has stayed where it was
        with self._changed:
            if time.monotonic() < self._rests_until or len(self._waiting) > _MOST_WAITING:
                return
            is_first = not self._waiting
            self._waiting += items
            self._given += len(items)
            if self._thread is not None:
                if is_first or self._is_due():
                    self._changed.notify_all()
                return
            self._thread = threading.Thread(target=self._write_all, name="qexec-cache", daemon=True)
            try:
                self._thread.start()
                return
            except RuntimeError:  # the program ends, or has too many threads
                self._thread, left, self._waiting = None, self._waiting, []
        self._write(left)
        with self._changed:
            self._done += len(left)
            self._changed.notify_all()

    @property
    def is_behind(self) -> bool:
        """Whether there are results that are not written yet."""
        return self._process == os.getpid() and self._done < self._given

    def flush(self) -> bool:
        """Wait until everything is written that was given until now; says whether there was anything to wait for."""
        if not self.is_behind:
            return False
        if self.wait(_AT_LEAVING):
            return True
        with self._changed:
            left, self._waiting = len(self._waiting), []
            self._done += left
        logger.warning("the cache %s does not answer: %d results are not kept", self.store.url, left)
        return False

    def wait(self, seconds: float) -> bool:
        """Wait until everything is written that was given until now, but no longer; says whether it is."""
        with self._changed:
            wanted = self._urgent = self._given
            self._changed.notify_all()
            return interrupts.wait(lambda most: self._changed.wait_for(lambda: self._done >= wanted, most), seconds)

    def _is_due(self) -> bool:
        return self._done < self._urgent or len(self._waiting) >= _AT_ONCE

    def _write_all(self) -> None:
        while True:
            with self._changed:
                if not self._waiting:
                    self._changed.wait(_LINGER)
                if self._waiting:
                    self._changed.wait_for(self._is_due, _TOGETHER)
                items, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
                if not items:
                    self._thread = None
                    return
            try:
                self._write(items)
            finally:
                with self._changed:
                    self._done += len(items)
                    self._changed.notify_all()

    def _write(self, items: Sequence[tuple[str, Any]]) -> None:
        written = []
        for key, value in items:
            try:
                written.append(Cached(key, result_text(value)))
            except Exception as error:  # whatever an executor of the user's own returns: the thread goes on
                logger.debug("a result stays in memory: %s", error)
        try:
            self.store.cache_put(written, self._most_bytes)
        except Exception as error:  # likewise, and the thread goes on
            self._rest(error)

    def _rest(self, error: Exception) -> None:
        """Leave a store that failed alone for some time; said once."""
        self._rests_until = time.monotonic() + _REST
        if not self._complained:
            self._complained = True
            logger.warning("the cache goes on in memory: %s", error)


def _living() -> list[WriteBehindStore]:
    return [store for reference in tuple(_stores) if (store := reference()) is not None]


def _flush_all() -> bool:
    waited = [store.flush() for store in _living()]
    return any(waited)
