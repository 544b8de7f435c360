"""What is done to sessions, within a transaction."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, select, update

from pennylane_qexec.persistence.store.database import PreparedStatement, insert_into, plain
from pennylane_qexec.persistence.store.tables import server_jobs, server_sessions
from pennylane_qexec.persistence.store.validation import refused, shown
from pennylane_qexec.server.records.jobs import cancel_where
from pennylane_qexec.server.records.lists import is_visible
from pennylane_qexec.server.records.types import (
    JobStatus,
    NewServerJob,
    NewServerSession,
    ServerSession,
    SessionMode,
    SessionRefusedError,
    User,
)

_OF_SESSION = server_jobs.c.session == server_sessions.c.id
_UNFINISHED = (
    select(func.count()).where(_OF_SESSION, server_jobs.c.finished.is_(None)).scalar_subquery().label("unfinished")
)
_COLUMNS = [
    _UNFINISHED if field.name == "unfinished" else server_sessions.c[field.name] for field in fields(ServerSession)
]
_MODE = [field.name for field in fields(ServerSession)].index("mode")
_WANTED = select(*_COLUMNS).where(server_sessions.c.id == bindparam("session"))
_ONE = PreparedStatement(lambda _: _WANTED, ["session"])
# In PostgreSQL: who wants to close it waits, and then sees the job that it has got.
_UNCHANGED = PreparedStatement(lambda _: _WANTED.with_for_update(read=True, of=server_sessions), ["session"])
_NEW = ("id", "user", "backend", "mode", "max_ttl", "interactive_ttl", "instance", "created")
_INSERT = PreparedStatement(lambda c: insert_into(c, server_sessions).on_conflict_do_nothing(), _NEW)


def _session_of(row: Any) -> ServerSession:
    values = list(row)
    try:
        values[_MODE] = SessionMode(row.mode)
    except ValueError:
        raise refused(f"the server's session {shown(row.id)}", "mode", row.mode) from None
    return ServerSession(*values)


def add(connection: Connection, session: NewServerSession, now: float) -> None:
    """Record a session; nothing, if it was recorded."""
    values = (
        *(session.id, session.user, session.backend, str(session.mode), session.max_ttl, session.interactive_ttl),
        *(session.instance, now),
    )
    _INSERT.change(connection, [tuple(plain(v) if isinstance(v, str) else v for v in values)])


def one(connection: Connection, session: str, user: User) -> ServerSession | None:
    """A session that is a user's to see."""
    row = _ONE.select(connection, (plain(session),)).first()
    return _session_of(row) if row is not None and is_visible(row, user) else None


def several(connection: Connection, user: User, limit: int, offset: int) -> list[ServerSession]:
    """Sessions that are a user's to see, the newest first."""
    query = select(*_COLUMNS).order_by(server_sessions.c.created.desc(), server_sessions.c.id)
    if not user.admin:
        query = query.where(server_sessions.c.user == user.name)
    return [_session_of(row) for row in connection.execute(query.limit(limit).offset(offset))]


def check(connection: Connection, job: NewServerJob, now: float) -> None:
    """See that the session of a new job takes it.

    Raises:
        SessionRefusedError: it does not.
    """
    if job.session is None:
        return
    row = _UNCHANGED.select(connection, (plain(job.session),)).first()
    if row is None or row.user != plain(job.user):
        raise SessionRefusedError(job.session, "does not exist. Open another one, or submit the job without it.")
    found = _session_of(row)
    if not found.accepting_jobs(now):
        raise SessionRefusedError(job.session, "is closed and takes no more jobs. Open another one.")
    if found.backend != job.backend:
        raise SessionRefusedError(
            job.session, f"is of the backend {found.backend!r}, not {job.backend!r}. Open another one for it."
        )


def set_accepting(connection: Connection, session: str, user: User, accepting: bool, now: float) -> bool:
    """Let a session take no more jobs, or take some again while it is not closed. Returns whether there is one."""
    found = one(connection, session, user)
    if found is None:
        return False
    if found.accepting_jobs(now) is not accepting and (not accepting or found.closed_at(now) is None):
        stopped = None if accepting else now
        connection.execute(update(server_sessions).where(server_sessions.c.id == found.id).values(stopped=stopped))
    return True


def close(connection: Connection, session: str, user: User, now: float) -> list[str] | None:
    """Close a session, and cancel its jobs that wait. Gives their ids; ``None`` if there is no such session."""
    found = one(connection, session, user)
    return None if found is None else _close(connection, found, found.closed_at(now) or now, now)


def expire(connection: Connection, now: float) -> list[str]:
    """Close the sessions whose time is over, or that had their last job. Gives the ids of jobs cancelled with it."""
    is_open = select(*_COLUMNS).where(server_sessions.c.closed.is_(None))
    cancelled = []
    for found in map(_session_of, connection.execute(is_open).all()):
        closed = found.closed_at(now)
        if closed is not None:
            cancelled += _close(connection, found, closed, now)
    return cancelled


def _close(connection: Connection, session: ServerSession, at: float, now: float) -> list[str]:
    waiting = and_(server_jobs.c.session == session.id, server_jobs.c.status == JobStatus.QUEUED)
    cancelled = cancel_where(connection, waiting, now)  # first the jobs, as in a claim: or each waits for the other
    noted = {"closed": at, "stopped": func.coalesce(server_sessions.c.stopped, at)}
    still_open = and_(server_sessions.c.id == session.id, server_sessions.c.closed.is_(None))
    connection.execute(update(server_sessions).where(still_open).values(noted))
    return cancelled + cancel_where(connection, waiting, now)  # those that came meanwhile


def forget(connection: Connection, before: float) -> None:
    """Delete the sessions that were closed before a time and have no job left."""
    has_jobs = select(server_jobs.c.id).where(_OF_SESSION).exists()
    connection.execute(delete(server_sessions).where(server_sessions.c.closed < before, ~has_jobs))
