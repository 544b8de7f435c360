"""What a database says when it fails, as errors that say what to do."""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy.exc import DBAPIError, IntegrityError

from pennylane_qexec.errors import QExecError, StoreError
from pennylane_qexec.redaction import scrub, without_secrets

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
