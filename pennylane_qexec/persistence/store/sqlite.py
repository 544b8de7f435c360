"""SQLite: one connection for each process, taken in turns by its threads; write-ahead log.

SQLite goes on writing into a file that was deleted, moved or replaced. Whatever is written there is gone when the last
program lets go of it, without a word: so it is looked after whether files that are open are still where the next
program will look for them.
"""

from __future__ import annotations

import itertools
import logging
import os
import sqlite3
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar, final

from sqlalchemy import URL, Connection, Engine, NullPool, create_engine
from sqlalchemy.exc import DBAPIError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from pennylane_qexec.errors import StoreError
from pennylane_qexec.persistence.store.database import LostStoreError, Transactions, execute, is_busy, shown, translated

_BESIDE = ("-wal", "-shm")
_MAGIC = b"SQLite format 3\x00"
_HEADER = 100
_COUNTER = slice(24, 28)  # https://www.sqlite.org/fileformat2.html: the file change counter
_DESCRIPTORS = "/dev/fd"
_MODE = 0o600

_Identity = tuple[int, int]


@final
class OpenFiles:
    """The files that a connection has open.

    Args:
        given: the path of the database, as it was given: it may be a link.
        path: the path of the file itself, beside which SQLite has its other files.

    Attributes:
        path: the same.
    """

    def __init__(self, given: str, path: str) -> None:
        self.path = path
        paths = (given, *(path + end for end in _BESIDE))
        self._open = {each: found for each in paths if (found := _identity(each)) is not None}
        self._given = given
        self._descriptor = _descriptor(self._open.get(given))
        self._counter = 0

    def what_happened(self) -> str | None:
        """What has become of the files, as part of a sentence about the store; ``None`` if nothing has."""
        for path, identity in self._open.items():
            try:
                now = _identity(path)
            except OSError:
                return None  # nobody may look now: what cannot be reached is not replaced by a new store
            if now == identity:
                continue
            if path != self._given:
                return f"has lost its file {path!r}, which was deleted or replaced"
            return "was deleted or moved" if now is None else "was replaced by another file"
        return "was overwritten by another file, such as a backup" if self._was_overwritten() else None

    def _was_overwritten(self) -> bool:
        """Whether the file is the same, but not what is in it: it counts its changes, and never backwards.

        It is read by SQLite's own descriptor, as a process that opens and closes it another time loses its locks.
        """
        if self._descriptor is None or _identity_of(self._descriptor) != self._open[self._given]:
            return False
        header = os.pread(self._descriptor, _HEADER, 0)
        if not header.startswith(_MAGIC):
            return True
        before, self._counter = self._counter, int.from_bytes(header[_COUNTER], "big")
        return self._counter < before


def new_file(path: str) -> Path:
    """An empty file for a copy of another one, beside it, which only its owner may read.

    If the folder is gone too, it is in a new one among the temporary files.
    """
    beside = Path(path)
    folder = beside.parent if beside.parent.is_dir() else Path(tempfile.mkdtemp(prefix="qexec-"))
    for number in itertools.count(1):
        copy = folder / f"{beside.name}.saved-{number}"
        with suppress(FileExistsError):
            os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MODE))
            break
    return copy


def _identity(path: str) -> _Identity | None:
    """What tells a file from others; ``None`` if there is none at this path."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _identity_of(descriptor: int) -> _Identity | None:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _descriptor(identity: _Identity | None) -> int | None:
    """The number under which this process has a file open; ``None`` where that cannot be seen."""
    try:
        numbers = [int(name) for name in os.listdir(_DESCRIPTORS)]
    except OSError:
        return None
    return next((number for number in numbers if _identity_of(number) == identity), None)


logger = logging.getLogger("pennylane_qexec")

T = TypeVar("T")

_OLDEST = (3, 35)  # the first with RETURNING
_AT_FIRST = ("foreign_keys=ON", "synchronous=NORMAL", "cache_size=-16000", "wal_autocheckpoint=4000")


@final
class SqliteTransactions(Transactions):
    """A SQLite database in a file.

    Args:
        url: of the file.
        patience: how long to wait while another program has it locked, in seconds.
        writes: whether it is written too; else it may be where nobody can.

    Raises:
        StoreError: it cannot be opened.
    """

    def __init__(self, url: URL, patience: float, writes: bool = True) -> None:
        if sqlite3.sqlite_version_info < _OLDEST:
            raise StoreError(f"this Python has SQLite {sqlite3.sqlite_version}; at least 3.35 is needed. Update it.")
        self.url = shown(url)
        self._writes = writes
        self._url = url
        self._patience = patience
        self._inherited: list[Any] = []
        self._closed = False
        self._saved: Path | None = None
        self._changed = True  # since it was saved
        self._connect()

    def write(self, work: Callable[[Connection], T], *, durable: bool = False) -> T:
        with self._connected() as connection:
            self._changed = True
            if not durable:
                return _in_transaction(connection, "BEGIN IMMEDIATE", work)
            _set(connection, "synchronous=FULL")
            try:
                return _in_transaction(connection, "BEGIN IMMEDIATE", work)
            finally:
                _set(connection, "synchronous=NORMAL")

    def read(self, work: Callable[[Connection], T]) -> T:
        with self._connected() as connection:
            return _in_transaction(connection, "BEGIN", work)

    def once(self, work: Callable[[Connection], T]) -> T:
        return self.write(work) if self._writes else self.read(work)

    def check(self) -> None:
        self._check_open()
        if (happened := self._files.what_happened()) is not None:
            self._lose(happened)

    def close(self) -> None:
        if os.getpid() != self._pid:
            self._closed = True
            return
        with self._lock:
            if not self._closed:
                self._closed = True
                if self._saved is not None and self._changed:
                    self._save()
                self._connection.close()

    def _lose(self, happened: str) -> NoReturn:
        """Save what is open, as long as it is, and say so."""
        said = f"the store {self.url} {happened}, while this program had it open: nothing else is begun."
        if os.getpid() != self._pid:
            raise LostStoreError(f"{said} The process that this one was forked from tells where its records are.")
        if happened.startswith("was overwritten"):
            raise LostStoreError(
                f"{said} End all programs that use it, delete the files -wal and -shm beside it, and copy the backup "
                "once more. What was recorded since that was made is lost, and runs again."
            )
        with self._lock:
            if self._changed:
                self._save()
        if self._saved is None:
            raise LostStoreError(f"{said} What is recorded in it could not be saved, and ends with this program.")
        raise LostStoreError(
            f"{said} What is recorded in it is saved in {str(self._saved)!r}. End all programs that use it, put that "
            "file in its place, delete the files -wal and -shm beside it, and run the program again."
        )

    def _save(self) -> None:
        """Copy what is open into a file, which is replaced if it was saved before."""
        try:
            new = new_file(self._files.path)
            self._connection.exec_driver_sql("VACUUM INTO ?", (str(new),))
            if self._saved is not None:
                os.replace(new, self._saved)
        except (DBAPIError, OSError) as error:
            logger.warning("what is recorded in the store %s could not be saved beside it: %s", self.url, error)
            return
        self._saved, self._changed = self._saved or new, False

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        self._check_open()
        if os.getpid() != self._pid:
            # SQLite's connections are not to be used, nor closed, in a forked process: it keeps this one, untouched.
            self.check()  # or a new one would be made in its place
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
        url = self._url if self._writes else _to_read(self._url)
        return create_engine(
            url, isolation_level="AUTOCOMMIT", poolclass=NullPool, hide_parameters=True, connect_args=options
        )

    def _opened(self, engine: Engine) -> Connection:
        connection = engine.connect()
        try:
            for setting in _AT_FIRST:
                _set(connection, setting)
            if self._writes:
                self._use_write_ahead_log(connection)
            self._files = self._opened_files(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _opened_files(self, connection: Connection) -> OpenFiles:
        connection.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar()  # so that the log is opened
        path = str(connection.exec_driver_sql("PRAGMA database_list").one()[2])
        given = str(self._url.database)
        return OpenFiles(path if given.startswith("file:") else given, path)

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
        patiently(_set, connection, "journal_mode=WAL")


def _to_read(url: URL) -> URL:
    """The URL of a file that is only read: without a log, SQLite is told that nobody writes, or it would make one."""
    path = Path(str(url.database))
    log = path.with_name(f"{path.name}-wal")
    how = {"mode": "ro"} if log.exists() and log.stat().st_size else {"immutable": "1"}
    return url.set(database=path.as_uri(), query={**how, "uri": "true"})


def _set(connection: Connection, setting: str) -> None:
    """Change a setting, to the end of the statement.

    Some settings answer with a row. Until that is closed the statement is under way, and with it what it has locked;
    and of a connection that has locked anything, SQLite refuses to begin a transaction at once, without patience, while
    another program writes. To wait until the answer is forgotten is not enough: errors of earlier tries hold it.
    """
    connection.exec_driver_sql(f"PRAGMA {setting}").close()


def _in_transaction(connection: Connection, begin: str, work: Callable[[Connection], T]) -> T:
    within_another = connection.connection.driver_connection.in_transaction  # type: ignore[union-attr]
    try:
        execute(connection, begin)
        found = work(connection)
        execute(connection, "COMMIT")
    except BaseException:  # Ctrl-C too, also where it comes when the transaction has just begun
        with suppress(Exception):  # where SQLite has rolled back by itself
            if not within_another:
                execute(connection, "ROLLBACK")
        raise
    return found
