"""SQLite: one connection for each process, taken in turns by its threads; write-ahead log."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar, final

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from pennylane_qexec.errors import StoreError
from pennylane_qexec.store.faults import is_busy, translated
from pennylane_qexec.store.gate import Gate

T = TypeVar("T")

_OLDEST = (3, 35)  # the first with RETURNING
_AT_FIRST = ("foreign_keys=ON", "synchronous=NORMAL", "cache_size=-16000", "wal_autocheckpoint=4000")


@final
class SqliteGate(Gate):
    """A SQLite database in a file.

    Args:
        url: of the file.
        patience: how long to wait while another program has it locked, in seconds.

    Raises:
        StoreError: it cannot be opened.
    """

    def __init__(self, url: URL, patience: float) -> None:
        if sqlite3.sqlite_version_info < _OLDEST:
            raise StoreError(f"this Python has SQLite {sqlite3.sqlite_version}; at least 3.35 is needed. Update it.")
        self.url = url.render_as_string(hide_password=True)
        self._url = url
        self._patience = patience
        self._inherited: list[Any] = []
        self._closed = False
        self._connect()

    def write(self, work: Callable[[Connection], T], *, durable: bool = False) -> T:
        with self._connected() as connection:
            if not durable:
                return _in_transaction(connection, "BEGIN IMMEDIATE", work)
            connection.exec_driver_sql("PRAGMA synchronous=FULL")
            try:
                return _in_transaction(connection, "BEGIN IMMEDIATE", work)
            finally:
                connection.exec_driver_sql("PRAGMA synchronous=NORMAL")

    def read(self, work: Callable[[Connection], T]) -> T:
        with self._connected() as connection:
            return _in_transaction(connection, "BEGIN", work)

    def once(self, work: Callable[[Connection], T]) -> T:
        return self.write(work)

    def close(self) -> None:
        if os.getpid() != self._pid:
            self._closed = True
            return
        with self._lock:
            if not self._closed:
                self._closed = True
                self._connection.close()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        self._check_open()
        if os.getpid() != self._pid:
            # SQLite's connections are not to be used, nor closed, in a forked process: it keeps this one, untouched.
            self._inherited.append(self._connection)
            self._connect()
        with self._lock:
            self._check_open()  # it may have been closed while this thread waited
            try:
                yield self._connection
            except Exception as error:
                raise translated(error, self.url) from error

    def _check_open(self) -> None:
        if self._closed:
            raise StoreError(f"the store {self.url} is closed. Open it again with open_store().")

    def _connect(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.RLock()
        try:
            self._connection = self._opened(self._engine())
        except Exception as error:
            raise translated(error, self.url) from error

    def _engine(self) -> Engine:
        # Transactions are begun and ended below: SQLite's driver would begin them late, and not as IMMEDIATE.
        options = {"check_same_thread": False, "timeout": self._patience}
        return create_engine(
            self._url, isolation_level="AUTOCOMMIT", poolclass=NullPool, hide_parameters=True, connect_args=options
        )

    def _opened(self, engine: Engine) -> Connection:
        connection = engine.connect()
        try:
            for setting in _AT_FIRST:
                connection.exec_driver_sql(f"PRAGMA {setting}")
            self._use_write_ahead_log(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _use_write_ahead_log(self, connection: Connection) -> None:
        """SQLite does not wait for others by itself where the kind of the log is changed."""
        if connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal":
            return
        patiently = Retrying(
            retry=retry_if_exception(is_busy),
            stop=stop_after_delay(self._patience),
            wait=wait_random(0.005, 0.05),
            reraise=True,
        )
        patiently(connection.exec_driver_sql, "PRAGMA journal_mode=WAL")


def _in_transaction(connection: Connection, begin: str, work: Callable[[Connection], T]) -> T:
    connection.exec_driver_sql(begin)
    try:
        found = work(connection)
        connection.exec_driver_sql("COMMIT")
    except BaseException:
        with suppress(Exception):  # where SQLite has rolled back by itself
            connection.exec_driver_sql("ROLLBACK")
        raise
    return found
