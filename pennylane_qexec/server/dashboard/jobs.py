"""Jobs of a server as pages show them: a user's own, an admin's everybody's; page by page, however many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, or_, select

from pennylane_qexec.persistence.store.database import plain
from pennylane_qexec.persistence.store.tables import server_jobs
from pennylane_qexec.server.records import JobStatus, User

PAGE = 50
STATUSES = tuple(map(str, JobStatus))


@dataclass(frozen=True)
class Wanted:
    """Which jobs are wanted.

    Attributes:
        status: one of :data:`STATUSES`; an empty text for any, as for the others.
        backend: the published name of their backend.
        user: whose they are, where an admin asks.
        text: a part of the id, the tags, the session, the program, the backend or the reason.
        before: only those submitted before the job of this number.
    """

    status: str = ""
    backend: str = ""
    user: str = ""
    text: str = ""
    before: int | None = None


class JobRow(NamedTuple):
    """A job in the list."""

    number: int
    id: str
    user: str
    program: str
    backend: str
    tags: str
    status: str
    created: float
    started: float | None
    finished: float | None
    seconds: float
    attempt: int
    reason: str


_COLUMNS = [server_jobs.c[name] for name in JobRow._fields]


def page(connection: Connection, user: User, wanted: Wanted) -> list[JobRow]:
    """The jobs that are wanted, the last submitted first: one more than :data:`PAGE`, if there are more."""
    columns = server_jobs.c
    found: list[ColumnElement[bool]] = []
    if not user.admin:
        found.append(columns.user == user.name)
    elif wanted.user:
        found.append(columns.user == plain(wanted.user))
    if wanted.before is not None:
        found.append(columns.number < wanted.before)
    if wanted.status:
        found.append(columns.status == wanted.status)
    if wanted.backend:
        found.append(columns.backend == plain(wanted.backend))
    if wanted.text:
        searched = (columns.id, columns.tags, columns.session, columns.program, columns.backend, columns.reason)
        found.append(or_(*(column.icontains(plain(wanted.text), autoescape=True) for column in searched)))
    query = select(*_COLUMNS).where(*found).order_by(columns.number.desc()).limit(PAGE + 1)
    return [JobRow(*row) for row in connection.execute(query)]


class BackendRow(NamedTuple):
    """What a backend has done lately, and does."""

    backend: str
    queued: int
    running: int
    completed: int
    failed: int
    seconds: float
    last: float | None


def backends(connection: Connection, since: float) -> list[BackendRow]:
    """The backends that have jobs, or had some since a time in seconds since 1970."""
    columns = server_jobs.c
    count: Any = func.count()
    lately = (
        select(columns.backend, columns.status, count, func.sum(columns.seconds), func.max(columns.finished))
        .where(columns.finished.is_(None) | (columns.finished >= since))
        .group_by(columns.backend, columns.status)
    )
    rows: dict[str, dict[str, Any]] = {}
    for backend, status, number, seconds, finished in connection.execute(lately):
        row = rows.setdefault(backend, {"seconds": 0.0, "last": None})
        row[status] = number
        row["seconds"] += seconds
        row["last"] = max(filter(None, (row["last"], finished)), default=None)
    return [
        BackendRow(
            name,
            row.get(JobStatus.QUEUED, 0),
            row.get(JobStatus.RUNNING, 0),
            row.get(JobStatus.COMPLETED, 0),
            row.get(JobStatus.FAILED, 0),
            row["seconds"],
            row["last"],
        )
        for name, row in sorted(rows.items())
    ]


def backend_names(connection: Connection, user: User) -> list[str]:
    """The backends of the last jobs, to choose from."""
    last = select(server_jobs.c.backend, server_jobs.c.user).order_by(server_jobs.c.number.desc()).limit(1000)
    return sorted({row.backend for row in connection.execute(last) if user.admin or row.user == user.name})
