"""Opening a store by its URL, its path or itself."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from pennylane_qexec.errors import ConfigurationError, StoreError
from pennylane_qexec.scrubbing import know_url, veiled
from pennylane_qexec.store.base import Store
from pennylane_qexec.store.gate import Gate
from pennylane_qexec.store.migrating import migrate, revision
from pennylane_qexec.store.postgresql import PostgresGate
from pennylane_qexec.store.sql import SqlStore
from pennylane_qexec.store.sqlite import SqliteGate
from pennylane_qexec.store.tables import REVISION

_SCHEMES = {
    "sqlite": "sqlite+pysqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_TO_LOOK = 5.0  # seconds
_EXAMPLES = "Give a file such as 'vqe.db' or 'sqlite:///vqe.db', or 'postgresql+psycopg://user@host/database'"


@veiled
def open_store(
    store: str | os.PathLike[str] | Store,
    *,
    patience: float = 30.0,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> Store:
    """Open a store; a new one is made, one of an earlier version of this package is brought up to date.

    Args:
        store: the path of a SQLite file, which need not exist; ``"sqlite:///PATH"``; ``"postgresql+psycopg://..."``,
            which needs the extra ``postgresql``; or a store, which is returned.
        patience: for how long to wait while a SQLite file is locked, and to try again while a server is gone, in
            seconds.
        clock: tells the time, in seconds since 1970, where none is given to be recorded.
        monotonic: a clock that never jumps, in seconds; by it, other workers are watched.

    Returns:
        The store. It is to be closed, or used in a ``with`` statement.

    Raises:
        ConfigurationError: this names no store.
        StoreError: it cannot be opened: the message says why, and what to do.
    """
    if isinstance(store, Store):
        return store
    gate = _gate(_url(store), patience)
    try:
        migrate(gate)
    except BaseException:
        gate.close()
        raise
    return SqlStore(gate, clock, monotonic)


def open_to_read(store: str | os.PathLike[str]) -> Store:
    """Open a store to look at it. A file may be where it cannot be written.

    Args:
        store: as for :func:`open_store`.

    Raises:
        ConfigurationError: this names no store.
        StoreError: it cannot be opened, or only an earlier version of this package could read it as it is.
    """
    try:
        return open_store(store)
    except StoreError:
        url = _url(store)
        if not url.drivername.startswith("sqlite") or str(url.database).startswith("file:"):
            raise
        gate = SqliteGate(url, patience=_TO_LOOK, writes=False)
        try:
            if gate.once(revision) == REVISION:
                return SqlStore(gate, time.time, time.monotonic)
        except BaseException:
            gate.close()
            raise
        gate.close()
        raise


def _url(store: str | os.PathLike[str]) -> URL:
    if not isinstance(store, str | os.PathLike):
        raise ConfigurationError(f"store={store!r} names no store. {_EXAMPLES}.")
    given = os.fspath(store)
    know_url(given)
    if "://" not in given:
        return _of_file(given)
    scheme, _, _ = given.partition("://")
    if scheme not in _SCHEMES:
        known = ", ".join(_SCHEMES)
        raise ConfigurationError(f"{scheme!r} is no kind of store. Known: {known}. {_EXAMPLES}.")
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        failure = ConfigurationError(f"the URL of a store that begins with {scheme + '://'!r} is none. {_EXAMPLES}.")
    else:
        url = url.set(drivername=_SCHEMES[scheme])
        return _of_file(url.database, url.query) if scheme.startswith("sqlite") else url
    raise failure  # not from the other: it shows a password


def _of_file(path: str | None, query: Mapping[str, Sequence[str] | str] | None = None) -> URL:
    if not path or ":memory:" in path:
        raise ConfigurationError(f"a store in memory would be lost with its process. {_EXAMPLES}.")
    if not path.startswith("file:"):  # absolute: the working folder may be another one when it is opened again
        path = str(Path(path).expanduser().absolute())
    return URL.create("sqlite+pysqlite", database=path, query=query or {})


def _gate(url: URL, patience: float) -> Gate:
    if url.drivername.startswith("sqlite"):
        return SqliteGate(url, patience)
    try:
        return PostgresGate(url, patience)
    except ModuleNotFoundError:
        raise StoreError(
            "a store in PostgreSQL needs psycopg. Install it with: pip install 'pennylane-qexec[postgresql]'"
        ) from None
