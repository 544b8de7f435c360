"""PostgreSQL: a pool of connections, and patience with a server that goes away and comes back."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar, final

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from pennylane_qexec.errors import StoreError
from pennylane_qexec.persistence.store.database import Transactions, is_passing, shown, told

T = TypeVar("T")

_LOCK = 0x71657865  # any number, the same in all processes: "qexe"
_ABANDONED = 10.0  # seconds after which the server ends a transaction that was cut off from its program
_OPTIONS = {"connect_timeout": 10, "application_name": "qexec"}


@final
class PostgresTransactions(Transactions):
    """A PostgreSQL database.

    Args:
        url: of the database.
        patience: for how long to try again when the server is gone, in seconds.
    """

    def __init__(self, url: URL, patience: float) -> None:
        self.url = shown(url)
        self._url = url
        self._patience = patience
        self._lock = threading.Lock()
        self._inherited: list[Any] = []
        self._closed = False
        self._connect()

    def write(self, work: Callable[[Connection], T], *, durable: bool = False) -> T:
        def commit(connection: Connection) -> T:
            if durable:
                connection.execute(text("SET LOCAL synchronous_commit = on"))  # whatever the server's default is
            return work(connection)

        return self._patiently(commit)

    def read(self, work: Callable[[Connection], T]) -> T:
        return self._patiently(work)

    def once(self, work: Callable[[Connection], T]) -> T:
        def alone(connection: Connection) -> T:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            return work(connection)

        try:
            return self._run(alone)
        except Exception as error:
            failure = told(error, self.url)
        raise failure

    def close(self) -> None:
        self._closed = True
        if os.getpid() == self._pid:
            self._engine.dispose()

    def _patiently(self, work: Callable[[Connection], T]) -> T:
        again = Retrying(
            retry=retry_if_exception(is_passing),
            stop=stop_after_delay(self._patience),
            wait=wait_random_exponential(multiplier=0.1, max=5.0),
            reraise=True,
        )
        try:
            found: T = again(self._run, work)
        except Exception as error:
            failure = told(error, self.url)
        else:
            return found
        raise failure

    def _run(self, work: Callable[[Connection], T]) -> T:
        with self._current().begin() as connection:
            return work(connection)

    def _current(self) -> Engine:
        if self._closed:
            raise StoreError(f"the store {self.url} is closed. Open it again with open_store().")
        if os.getpid() != self._pid:
            # The parent goes on using the connections: a forked process leaves them alone.
            self._inherited.append(self._engine)
            self._connect()
        return self._engine

    def _connect(self) -> None:
        self._pid = os.getpid()
        options = {name: value for name, value in _OPTIONS.items() if name not in self._url.query}
        self._engine = create_engine(self._url, hide_parameters=True, connect_args=options)
        event.listen(self._engine, "connect", self._set)

    def _set(self, connection: Any, _record: object) -> None:
        """Let nobody wait for ever for a lock, nor for one of ours."""
        limits = {"lock_timeout": self._patience, "idle_in_transaction_session_timeout": _ABANDONED}
        for name, seconds in limits.items():
            connection.execute(f"SET {name} = {max(1, round(1000 * seconds))}")
        connection.commit()
