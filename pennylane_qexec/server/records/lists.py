"""Jobs as they are looked for, within a transaction: one, many by their ids, pages of those wanted, the queue."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, bindparam, func, literal, or_, select

from pennylane_qexec.persistence.store.database import PreparedStatement, list_of, plain, rows_of
from pennylane_qexec.persistence.store.tables import server_jobs, server_params, server_results, server_tags
from pennylane_qexec.persistence.store.validation import refused, shown
from pennylane_qexec.server.records.types import JobFilter, JobStatus, ServerJob, User

COLUMNS = [server_jobs.c[field.name] for field in fields(ServerJob)]
_PLACES = {field.name: place for place, field in enumerate(fields(ServerJob))}
_TAGS, _STATUS = _PLACES["tags"], _PLACES["status"]
_BOOLEAN = _PLACES["private"], _PLACES["cancel_requested"]
_STATUSES = {str(status): status for status in JobStatus}


def job_of(row: Any) -> ServerJob:
    """A job of a row, which has :data:`COLUMNS`.

    Raises:
        StoreError: somebody else has changed it, to what cannot be.
    """
    values = list(row)
    try:
        values[_STATUS] = _STATUSES[values[_STATUS]]
        values[_TAGS] = tuple(map(str, json.loads(values[_TAGS])))
    except (KeyError, ValueError, TypeError):
        raise refused(f"the server's job {shown(row.id)}", "status' or 'tags", (row.status, row.tags)) from None
    for place in _BOOLEAN:
        values[place] = bool(values[place])
    return ServerJob(*values)


# One job

_ID = server_jobs.c.id == bindparam("job")
_ONE = PreparedStatement(lambda _: select(*COLUMNS).where(_ID), ["job"])
_PARAMS = PreparedStatement(
    lambda _: select(server_jobs.c.user, server_params.c.params).join_from(server_jobs, server_params).where(_ID),
    ["job"],
)
_RESULT = PreparedStatement(
    lambda _: (
        select(
            server_jobs.c.user,
            server_jobs.c.number,
            server_jobs.c.private,
            server_results.c.result,
            server_results.c.log,
        )
        .join_from(server_jobs, server_results)
        .where(_ID)
    ),
    ["job"],
)


def is_visible(row: Any, user: User) -> bool:
    """Whether a row, which has a user, is a user's to see: one of their own, or any if they are an admin."""
    return bool(user.admin or row.user == user.name)


def one(connection: Connection, job: str, user: User) -> ServerJob | None:
    """A job that is a user's to see."""
    row = _ONE.select(connection, (plain(job),)).first()
    return job_of(row) if row is not None and is_visible(row, user) else None


def params(connection: Connection, job: str, user: User) -> bytes | None:
    """The payload of a job that is a user's to see; ``None`` if it is not, or was forgotten."""
    row = _PARAMS.select(connection, (plain(job),)).first()
    return bytes(row.params) if row is not None and is_visible(row, user) else None


def result(connection: Connection, job: str, user: User) -> Any:
    """The row with result and log of a job that is a user's to see."""
    row = _RESULT.select(connection, (plain(job),)).first()
    return row if row is not None and is_visible(row, user) else None


# Many jobs

_PAYLOADS = (
    select(server_jobs.c.id, server_params.c.params)
    .join_from(server_jobs, server_params)
    .where(server_jobs.c.id.in_(list_of("ids")), server_jobs.c.server == bindparam("me"))
)
_WATCHED = select(server_jobs.c.id, server_jobs.c.status, server_jobs.c.cancel_requested).where(
    server_jobs.c.id.in_(list_of("ids"))
)


_HELD = PreparedStatement(
    lambda _: select(server_jobs.c.id, server_jobs.c.cancel_requested).where(
        server_jobs.c.status == JobStatus.RUNNING, server_jobs.c.server == bindparam("me")
    ),
    ["me"],
)


def payloads(connection: Connection, ids: Sequence[str], server: str) -> dict[str, bytes]:
    """The payloads of jobs that a server has."""
    return {row.id: bytes(row.params) for row in rows_of(connection, _PAYLOADS, "ids", ids, me=server)}


def watch(connection: Connection, ids: Sequence[str]) -> dict[str, tuple[JobStatus, bool]]:
    """Status of jobs, and whether they are to be cancelled; nothing of those that are no more."""
    rows = rows_of(connection, _WATCHED, "ids", ids)
    return {row.id: (JobStatus(row.status), bool(row.cancel_requested)) for row in rows}


def held(connection: Connection, server: str) -> dict[str, bool]:
    """The jobs that a server has, and whether they are to be cancelled."""
    return {row.id: bool(row.cancel_requested) for row in _HELD.select(connection, (server,))}


def page(connection: Connection, user: User, wanted: JobFilter) -> tuple[list[ServerJob], int]:
    """A page of the jobs that are wanted and a user's to see, and how many there are in all."""
    conditions = list(_conditions(user, wanted))
    number = connection.scalar(select(func.count()).select_from(server_jobs).where(*conditions)) or 0
    order = (server_jobs.c.created, server_jobs.c.number)
    query = select(*COLUMNS).where(*conditions).limit(wanted.limit).offset(wanted.offset)
    query = query.order_by(*(order if wanted.ascending else [column.desc() for column in order]))
    return [job_of(row) for row in connection.execute(query)], number


def newest(connection: Connection) -> int:
    """The number of the last job that was recorded."""
    return connection.scalar(select(func.max(server_jobs.c.number))) or 0


def _conditions(user: User, wanted: JobFilter) -> Iterator[ColumnElement[bool]]:
    columns = server_jobs.c
    if not user.admin:
        yield columns.user == user.name
    for name in ("user", "backend", "program", "status", "session"):
        if (value := getattr(wanted, name)) is not None:
            yield columns[name] == plain(str(value))
    if wanted.pending is not None:
        yield _pending(wanted.as_of) if wanted.pending else _ended(wanted.as_of)
    if wanted.newest is not None:
        yield columns.number <= wanted.newest
    if wanted.created_after is not None:
        yield columns.created >= wanted.created_after
    if wanted.created_before is not None:
        yield columns.created <= wanted.created_before
    for tag in wanted.tags:
        yield columns.number.in_(select(server_tags.c.job).where(server_tags.c.tag == plain(tag)))


def _pending(as_of: float | None) -> ColumnElement[bool]:
    pending = server_jobs.c.finished.is_(None)
    return pending if as_of is None else or_(pending, server_jobs.c.finished > as_of)


def _ended(as_of: float | None) -> ColumnElement[bool]:
    return server_jobs.c.finished.is_not(None) if as_of is None else server_jobs.c.finished <= as_of


# The queue

_QUEUED = server_jobs.c.status == JobStatus.QUEUED
_LENGTHS = select(server_jobs.c.backend, func.count()).where(_QUEUED).group_by(server_jobs.c.backend)
_FIRST_QUEUE = select(func.min(server_jobs.c.queue).label("queue")).where(_QUEUED)


def _oldest() -> Any:
    """The oldest jobs of each queue: the queues are found by skipping from one to the next in their index."""
    queues = _FIRST_QUEUE.cte("queues", recursive=True)
    following = _FIRST_QUEUE.where(server_jobs.c.queue > queues.c.queue).scalar_subquery()
    queues = queues.union_all(select(following).where(queues.c.queue.is_not(None)))
    others = server_jobs.alias()
    last = (
        select(others.c.number)
        .where(others.c.queue == queues.c.queue, others.c.status == JobStatus.QUEUED)
        .order_by(others.c.number)
        .offset(bindparam("each"))
        .limit(1)
        .scalar_subquery()
    )
    first_left_out = func.coalesce(last, literal(2**63 - 1))
    return (
        select(*COLUMNS)
        .join_from(queues, server_jobs, server_jobs.c.queue == queues.c.queue)
        .where(_QUEUED, server_jobs.c.number < first_left_out)
        .order_by(server_jobs.c.number)
    )


_OLDEST = _oldest()


def queued(connection: Connection, each: int) -> list[ServerJob]:
    """The oldest jobs that wait in each queue, at most so many of each, oldest first."""
    return [job_of(row) for row in connection.execute(_OLDEST, {"each": each})]


def queue_lengths(connection: Connection) -> dict[str, int]:
    """How many jobs wait at each backend."""
    return {row[0]: row[1] for row in connection.execute(_LENGTHS)}
