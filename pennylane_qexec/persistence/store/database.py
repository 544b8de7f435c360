"""The way to a database: transactions, what the databases do not do alike, and their failures as clear errors.

Statements that run for many rows are compiled once for each kind of database.
"""

from __future__ import annotations

import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple, TypeVar, cast, final
from urllib.parse import quote

from sqlalchemy import URL, BindParameter, Connection, CursorResult, Table, bindparam
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.compiler import SQLCompiler

from pennylane_qexec.concurrency.lifecycle import Closeable
from pennylane_qexec.errors import QExecError, StoreError
from pennylane_qexec.redaction import SHOWN, is_secret_option, scrub, without_secrets

Values = tuple[Any, ...]

T = TypeVar("T")

_MOST = 1000  # SQLite takes 32766 values in one statement, PostgreSQL 65535


# Dialects


def insert_into(connection: Connection, table: Table) -> Any:
    """An insertion that can say what to do about rows that are there already."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def list_of(name: str) -> BindParameter[Any]:
    """A list to be given to a statement, which is written once, under a name."""
    return bindparam(name, expanding=True)


def pieces(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """A sequence, in parts that fit into a statement."""
    return (items[start : start + _MOST] for start in range(0, len(items), _MOST))


def rows_of(connection: Connection, statement: Any, name: str, items: Sequence[Any], **values: Any) -> Iterator[Any]:
    """The rows that a statement finds for a list of any length, which it has under a name: see :func:`list_of`."""
    for part in pieces(items):
        yield from connection.execute(statement, {name: part, **values}).all()


def plain(text: str) -> str:
    """A text that every database stores: without the zero character and halves of characters."""
    if text.isascii() and "\x00" not in text:
        return text
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")


# Transactions


def shown(url: URL) -> str:
    """A URL as it may be shown: ``***`` in place of its password, and of parameters that are named like secrets."""
    parameters = {name: SHOWN if is_secret_option(name) else value for name, value in url.query.items()}
    return url.set(query=parameters).render_as_string(hide_password=True).replace(quote(SHOWN), SHOWN)


class LostStoreError(StoreError):
    """What is open is not the store any more that the next program would find."""


class Transactions(Closeable, ABC):
    """Runs functions in transactions, from any thread, and in a process that was forked too.

    What a function does in a transaction may have to be done again, if nobody knows whether it was done: it must do no
    harm to do it twice. A database's own errors come out as :class:`~pennylane_qexec.StoreError`.
    """

    url: str
    """Where the database is, without secrets."""

    @abstractmethod
    def write(self, work: Callable[[Connection], T], *, durable: bool = False) -> T:
        """Run a function that changes something.

        Args:
            work: the function.
            durable: whether what it changed must be safe from a power cut before this returns.
        """

    @abstractmethod
    def read(self, work: Callable[[Connection], T]) -> T:
        """Run a function that changes nothing."""

    @abstractmethod
    def once(self, work: Callable[[Connection], T]) -> T:
        """Run a function that changes tables, while nobody else does, and without trying again."""

    def check(self) -> None:
        """See that what is open is what the next program would find.

        Raises:
            LostStoreError: it was deleted, moved or replaced. What is written now is lost with this process.
        """


# Statements for many rows


def execute(connection: Connection, text: str, values: Any = (), many: bool = False) -> Any:
    """Run a statement as its driver takes it, and give a cursor.

    SQLite itself is asked: with all that SQLAlchemy notes of a statement, that takes as long as what SQLite does.

    Args:
        connection: of the transaction.
        text: the statement.
        values: as the driver takes them.
        many: whether there are values for several rows.
    """
    if connection.dialect.name != "sqlite":
        return connection.exec_driver_sql(text, values or None)
    driver: Any = connection.connection.driver_connection
    try:
        return (driver.executemany if many else driver.execute)(text, values)
    except sqlite3.Error as error:
        raise DBAPIError.instance(text, None, error, sqlite3.Error, hide_parameters=True) from error


class _Ready(NamedTuple):
    """A statement as a driver takes it."""

    text: str
    constants: Values
    """Values that are the same for all rows."""
    arranged: Callable[[Values], Any]
    """Arranges the values of a row, followed by the constants, as the statement has them."""


@final
class PreparedStatement:
    """A statement to which each row gives values.

    SQLAlchemy keeps what it has compiled too, but handles each value of each row by itself, which takes it longer than
    it takes the database. Here the driver gets them as they are: numbers, texts and ``None``, nothing that needs
    a conversion.

    Args:
        statement: makes the statement for a connection.
        names: of the values of a row, in their order.
    """

    def __init__(self, statement: Callable[[Connection], ClauseElement], names: Sequence[str]) -> None:
        self._statement = statement
        self._names = names
        self._ready: dict[str, _Ready] = {}

    def change(self, connection: Connection, rows: Sequence[Values]) -> int:
        """Run it once for each row. Returns how many rows of the table were changed."""
        text, constants, arranged = self._for(connection)
        given = [arranged(row + constants) for row in rows]
        many = len(given) > 1
        changed: int = execute(connection, text, given if many else given[0], many).rowcount
        return changed

    def select(self, connection: Connection, values: Values) -> CursorResult[Any]:
        """Run it once, and give what it finds."""
        text, constants, arranged = self._for(connection)
        return connection.exec_driver_sql(text, arranged(values + constants))

    def values(self, connection: Connection, values: Values) -> list[Values]:
        """Run it once, and give the values of the rows that it finds, without their names, which takes less long."""
        text, constants, arranged = self._for(connection)
        found: list[Values] = execute(connection, text, arranged(values + constants)).fetchall()
        return found

    def _for(self, connection: Connection) -> _Ready:
        name = connection.dialect.name
        if name not in self._ready:
            self._ready[name] = self._compiled(connection)
        return self._ready[name]

    def _compiled(self, connection: Connection) -> _Ready:
        statement = self._statement(connection)
        options: dict[str, Any] = {"column_keys": list(self._names), "for_executemany": True}
        compiled = cast(SQLCompiler, statement.compile(dialect=connection.dialect, **options))
        constants = {key: bind.value for key, bind in compiled.binds.items() if key not in self._names}
        arranged = _arranged([*self._names, *constants], compiled.positiontup)
        return _Ready(str(compiled), tuple(constants.values()), arranged)


def _arranged(names: Sequence[str], order: Sequence[str] | None) -> Callable[[Values], Any]:
    """Arranges values, by the order in which the statement has them; by their names if it has none."""
    if order is None:
        return lambda values: dict(zip(names, values, strict=True))
    places = [names.index(name) for name in order]
    if len(places) < 2:  # of a single place, an itemgetter gives the bare value
        return lambda values: tuple(values[place] for place in places)
    return itemgetter(*places)


_SQLITE = {
    "NOTADB": "is not a SQLite database. Give another file",
    "CORRUPT": (
        "is damaged. Keep a copy of it, with the files -wal and -shm beside it, then restore it from a backup, or "
        "save what can be read with: sqlite3 FILE .recover | sqlite3 NEW"
    ),
    "FULL": "cannot grow: the disk is full. Make room and run the program again; what was recorded is there",
    "BUSY": "is locked by another program. End that program or let it finish, or open the store with more patience",
    "LOCKED": "is locked by another program. End that program or let it finish, or open the store with more patience",
    "READONLY": "cannot be written. Give a file and a folder that you may write to",
    "PERM": "cannot be written. Give a file and a folder that you may write to",
    "CANTOPEN": "cannot be opened. Its folder must exist, and you must be allowed to write there",
    "ERROR": "has other tables than this package has made. Restore it from a backup, or give another file",
    "IOERR": "could not be read or written. Look at the disk; what was recorded until now is there once it works",
}
_POSTGRES = {
    "53100": "cannot grow: the server's disk is full. Make room and run the program again; what was recorded is there",
    "53300": "takes no more connections. End programs that use it, or raise max_connections",
    "42501": "does not let this user do that. Grant rights to create and write tables in it",
    "25006": "cannot be written: the server is read-only. Give the primary server",
    "55P03": "is locked by another program. End that program or let it finish",
    "XX001": "is damaged. Restore it from a backup",
    "XX002": "has a damaged index. Run REINDEX on it",
}
_GONE = "cannot be reached. Start the server, or correct the URL; what was recorded is there once it answers"
_WRONG = "does not let us in. Correct the name of the database, the user or the password in the URL"
_REFUSED = re.compile(r"authentication failed|does not exist|no password supplied|no pg_hba.conf entry")
_TRIED_AGAIN = ("08", "57P", "25P03", "40001", "40P01")  # connections, shutting down and starting, deadlocks


def is_busy(error: BaseException) -> bool:
    """Whether SQLite says that somebody else has the database now."""
    return _sqlite_name(error).startswith(("BUSY", "LOCKED"))


def is_passing(error: BaseException) -> bool:
    """Whether PostgreSQL may take the same transaction in a moment."""
    if not isinstance(error, DBAPIError):
        return False
    state = _state(error)
    if state:
        return state.startswith(_TRIED_AGAIN)
    return _connection_failed(error) and not _REFUSED.search(str(error.orig))


def translated(error: Exception, url: str) -> Exception:
    """An error as users see it; errors that are not a database's stay as they are.

    Args:
        error: what was raised.
        url: of the database, without a password.
    """
    if isinstance(error, QExecError) or not isinstance(error, DBAPIError):
        return error
    said = scrub(" ".join(str(error.orig).split()).rstrip("."))
    return StoreError(f"the store {url} {_advice(error)}. It said: {said}{'' if said.endswith('?') else '.'}")


def told(error: Exception, url: str) -> Exception:
    """An error as users see it, with what it came from, of which no traceback shows the password that was sent.

    It is to be raised outside of the handler of the other one, which it would remember else.
    """
    failure, safe = translated(error, url), without_secrets(error)
    if failure is error:
        return safe
    failure.__cause__ = safe
    return failure


def _advice(error: DBAPIError) -> str:
    if isinstance(error, IntegrityError):
        return "was asked for something that contradicts what is there, such as a job of a run that does not exist"
    name = _sqlite_name(error)
    for start, advice in _SQLITE.items():
        if name.startswith(start):
            return advice
    if _state(error) in _POSTGRES:
        return _POSTGRES[_state(error)]
    if _connection_failed(error) or is_passing(error):
        return _WRONG if _REFUSED.search(str(error.orig)) else _GONE
    return "failed. Look at what the database said"


def _connection_failed(error: DBAPIError) -> bool:
    return not _state(error) and type(error.orig).__name__ in ("OperationalError", "InterfaceError")


def _sqlite_name(error: BaseException) -> str:
    orig: Any = getattr(error, "orig", error)
    return str(getattr(orig, "sqlite_errorname", "")).removeprefix("SQLITE_")


def _state(error: DBAPIError) -> str:
    orig: Any = error.orig
    return getattr(orig, "sqlstate", None) or ""
