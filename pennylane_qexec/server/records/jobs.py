"""What is recorded and changed of jobs, within a transaction.

Each change of a job's status is one statement, guarded by the status it comes from; of a running job, also by the
server that has it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, func, insert, select, true, update

from pennylane_qexec.persistence.store.database import PreparedStatement, insert_into, list_of, plain
from pennylane_qexec.persistence.store.tables import (
    server_jobs,
    server_params,
    server_results,
    server_sessions,
    server_tags,
    workers,
)
from pennylane_qexec.persistence.store.validation import heartbeat_of
from pennylane_qexec.persistence.store.workers import Heartbeats
from pennylane_qexec.redaction import scrub
from pennylane_qexec.server.records import accounts
from pennylane_qexec.server.records.lists import COLUMNS, job_of
from pennylane_qexec.server.records.types import JobStatus, NewServerJob, QueueFullError, ServerJob, User

_ID = server_jobs.c.id == bindparam("job")
_IDS = server_jobs.c.id.in_(list_of("ids"))
_QUEUED = server_jobs.c.status == JobStatus.QUEUED
_RUNNING = server_jobs.c.status == JobStatus.RUNNING
_MINE = and_(_RUNNING, server_jobs.c.server == bindparam("me"))


def _is(job: str, user: User) -> ColumnElement[bool]:
    """Whether a row is that of a job, and a user's to see."""
    is_theirs = true() if user.admin else server_jobs.c.user == user.name
    return and_(server_jobs.c.id == plain(job), is_theirs)


# New jobs

_WAITING = select(func.count()).select_from(server_jobs).where(_QUEUED)
_HOW_MANY_WAIT = PreparedStatement(lambda _: _WAITING, [])
_NEW = (
    *("id", "user", "program", "backend", "session", "tags", "log_level", "max_seconds", "private", "runtime"),
    *("calibration_id", "key", "queue", "status", "created"),
)
_INSERT = PreparedStatement(
    lambda c: insert_into(c, server_jobs).on_conflict_do_nothing().returning(server_jobs.c.number), _NEW
)
_INSERT_PARAMS = PreparedStatement(lambda _: insert(server_params), ["job", "params"])
_INSERT_TAGS = PreparedStatement(lambda c: insert_into(c, server_tags).on_conflict_do_nothing(), ["job", "tag"])


def add(connection: Connection, job: NewServerJob, params: bytes, most_queued: int, now: float) -> None:
    """Record a job that waits; nothing, if it was recorded.

    Raises:
        QueueFullError: as many jobs wait as may.
    """
    if _HOW_MANY_WAIT.select(connection, ()).scalar_one() >= most_queued:
        raise QueueFullError(most_queued)
    tags = [plain(tag) for tag in dict.fromkeys(job.tags)]
    owner = f"user {job.user}" if job.session is None else f"session {job.session}"
    values: list[Any] = [
        *(job.id, job.user, job.program, job.backend, job.session, json.dumps(tags), job.log_level, job.max_seconds),
        *(job.private, job.runtime, job.calibration_id, job.key, f"{owner} at {job.backend}"),
        *(str(JobStatus.QUEUED), now),
    ]
    number = _INSERT.select(connection, tuple(plain(v) if isinstance(v, str) else v for v in values)).scalar()
    if number is not None:
        _INSERT_PARAMS.change(connection, [(number, params)])
        if tags:
            _INSERT_TAGS.change(connection, [(number, tag) for tag in tags])


def set_tags(connection: Connection, job: str, user: User, tags: Sequence[str]) -> bool:
    """Replace the tags of a job. Returns whether there is such a job."""
    texts = [plain(tag) for tag in dict.fromkeys(tags)]
    changed = update(server_jobs).where(_is(job, user)).values(tags=json.dumps(texts)).returning(server_jobs.c.number)
    number = connection.scalar(changed)
    if number is None:
        return False
    connection.execute(delete(server_tags).where(server_tags.c.job == number))
    if texts:
        _INSERT_TAGS.change(connection, [(number, tag) for tag in texts])
    return True


# Claims

_FREE = select(server_jobs.c.id).where(_IDS, _QUEUED).with_for_update(skip_locked=True)
_TAKE = (
    update(server_jobs)
    .where(server_jobs.c.id.in_(_FREE))
    .values(status=str(JobStatus.RUNNING), server=bindparam("me"), claim=bindparam("token"), started=bindparam("began"))
)
_TAKEN = select(*COLUMNS).where(_IDS, server_jobs.c.claim == bindparam("token"), _RUNNING)
_SESSION_BEGINS = (
    update(server_sessions)
    .where(server_sessions.c.id.in_(list_of("sessions")))
    .values(
        activated=func.coalesce(server_sessions.c.activated, bindparam("began")), last_job_started=bindparam("began")
    )
)


def claim(connection: Connection, ids: Sequence[str], server: str, token: str, now: float) -> list[ServerJob]:
    """Claim jobs that wait, for a server that was shown to live. Gives those that it got, in the order asked.

    Args:
        connection: of the transaction.
        ids: of the jobs.
        server: who claims them.
        token: the same if the same claim is made again.
        now: when they begin to run.
    """
    connection.execute(_TAKE, {"ids": ids, "me": server, "token": token, "began": now})
    taken = {job.id: job for job in map(job_of, connection.execute(_TAKEN, {"ids": ids, "token": token}))}
    if sessions := sorted({job.session for job in taken.values() if job.session is not None}):
        connection.execute(_SESSION_BEGINS, {"sessions": sessions, "began": now})
    return [taken[job] for job in ids if job in taken]


def requeue(connection: Connection, server: str, ids: Sequence[str] | None, now: float, *, failed: bool) -> list[str]:
    """Let jobs of a server wait again; those that were to be cancelled are cancelled.

    Args:
        connection: of the transaction.
        server: who has them.
        ids: of the jobs; ``None`` for all that it has.
        now: when.
        failed: whether an attempt was made.

    Returns:
        The ids of those that wait.
    """
    mine = and_(_RUNNING, server_jobs.c.server == server)
    if ids is not None:
        mine = and_(mine, server_jobs.c.id.in_(ids))
    cancel_where(connection, and_(mine, server_jobs.c.cancel_requested), now)
    again = {"status": str(JobStatus.QUEUED), "server": None, "claim": None, "started": None}
    attempt = server_jobs.c.attempt + int(failed)
    found = connection.scalars(
        update(server_jobs).where(mine).values(again | {"attempt": attempt}).returning(server_jobs.c.id)
    )
    return sorted(found)


_HOLDERS = (
    select(workers.c.id, workers.c.beat, workers.c.lease)
    .join(server_jobs, server_jobs.c.server == workers.c.id)
    .where(_RUNNING, workers.c.id != bindparam("me"))
    .distinct()
)
_UNKNOWN_HOLDERS = (
    select(server_jobs.c.server)
    .outerjoin(workers, server_jobs.c.server == workers.c.id)
    .where(_RUNNING, workers.c.id.is_(None), server_jobs.c.server != bindparam("me"))
    .distinct()
)


def recover(connection: Connection, server: str, seen: Heartbeats, now: float) -> list[str]:
    """Let the jobs of dead servers wait again. Gives their ids."""
    alone = {"me": server}
    holders = sorted({heartbeat_of(row) for row in connection.execute(_HOLDERS, alone)})
    dead = [str(found) for found in connection.scalars(_UNKNOWN_HOLDERS, alone)]
    for last in seen.stopped(holders):
        still = delete(workers).where(workers.c.id == last.worker, workers.c.beat == last.beat)
        if connection.execute(still).rowcount == 1:
            dead.append(last.worker)
    return [job for one in dead for job in requeue(connection, one, None, now, failed=True)]


# Ends

_FINISH = PreparedStatement(
    lambda _: (
        update(server_jobs)
        .where(_ID, _MINE)
        .values({name: bindparam(f"to_{name}") for name in ("status", "reason", "reason_code", "finished", "seconds")})
        .returning(server_jobs.c.number, server_jobs.c.user, server_jobs.c.session, server_jobs.c.private)
    ),
    ["job", "me", "to_status", "to_reason", "to_reason_code", "to_finished", "to_seconds"],
)
_INSERT_RESULT = PreparedStatement(
    lambda c: insert_into(c, server_results).on_conflict_do_nothing(), ["job", "result", "log"]
)
_SAME_END = PreparedStatement(
    lambda _: select(server_jobs.c.id).where(
        _ID, server_jobs.c.server == bindparam("me"), server_jobs.c.finished == bindparam("at")
    ),
    ["job", "me", "at"],
)
_SESSION_GOES_ON = PreparedStatement(
    lambda _: (
        update(server_sessions)
        .where(server_sessions.c.id == bindparam("session"))
        .values(last_job_completed=bindparam("at"), seconds=server_sessions.c.seconds + bindparam("more"))
    ),
    ["session", "at", "more"],
)


def finish(
    connection: Connection,
    job: str,
    server: str,
    status: JobStatus,
    result: str | None,
    reason: str,
    code: int | None,
    seconds: float,
    log: str,
    now: float,
) -> bool:
    """Record how a running job of a server has ended. Returns whether it was one, or this was recorded before."""
    values = (job, server, str(status), plain(scrub(reason)), code, now, seconds)
    row = _FINISH.select(connection, values).first()
    if row is None:
        return _SAME_END.select(connection, (job, server, now)).first() is not None
    if result is not None or log:
        _INSERT_RESULT.change(connection, [(row.number, None if result is None else plain(result), plain(log))])
    if row.private:
        connection.execute(delete(server_params).where(server_params.c.job == row.number))
    accounts.add_usage(connection, row.user, seconds, now)
    if row.session is not None:
        _SESSION_GOES_ON.change(connection, [(row.session, now, seconds)])
    return True


def cancel(connection: Connection, job: str, user: User, now: float) -> JobStatus | None:
    """Cancel a job that waits; of one that runs, record that it is to be. Gives the status that it had."""
    status = _locked_status(connection, job, user)
    if status is JobStatus.QUEUED:
        cancel_where(connection, and_(server_jobs.c.id == job, _QUEUED), now)
    elif status is JobStatus.RUNNING:
        connection.execute(update(server_jobs).where(server_jobs.c.id == job, _RUNNING).values(cancel_requested=True))
    return status


def cancel_where(connection: Connection, which: ColumnElement[bool], now: float) -> list[str]:
    """Cancel jobs that have not ended. Gives their ids."""
    values = {"status": str(JobStatus.CANCELLED), "finished": now}
    ended = update(server_jobs).where(which).values(values)
    rows = connection.execute(ended.returning(server_jobs.c.id, server_jobs.c.number, server_jobs.c.private)).all()
    if private := [row.number for row in rows if row.private]:
        connection.execute(delete(server_params).where(server_params.c.job.in_(private)))
    return sorted(row.id for row in rows)


def remove(connection: Connection, job: str, user: User) -> JobStatus | None:
    """Delete a job that does not run, with all that is recorded of it. Gives the status that it had."""
    status = _locked_status(connection, job, user)
    if status is not None and status is not JobStatus.RUNNING:
        connection.execute(delete(server_jobs).where(server_jobs.c.id == job))
    return status


def leave(connection: Connection, server: str, now: float) -> None:
    """A server goes, and leaves its jobs to others."""
    connection.execute(delete(workers).where(workers.c.id == server))
    requeue(connection, server, None, now, failed=False)


def _locked_status(connection: Connection, job: str, user: User) -> JobStatus | None:
    """The status of a job of a user, which nobody changes until the transaction ends."""
    query = select(server_jobs.c.status).where(_is(job, user))
    status = connection.scalar(query.with_for_update())
    return None if status is None else JobStatus(status)


def forget_result(connection: Connection, number: int) -> bool:
    """Forget the result of a job. Returns whether there was one."""
    there = and_(server_results.c.job == number, server_results.c.result.is_not(None))
    return connection.execute(update(server_results).where(there).values(result=None)).rowcount == 1


_AT_ONCE = 1000


def forget(connection: Connection, before: float) -> int:
    """Delete some of the jobs that ended before a time. Returns how many; 0 if there are no more."""
    old = select(server_jobs.c.number).where(server_jobs.c.finished < before).limit(_AT_ONCE)
    return connection.execute(delete(server_jobs).where(server_jobs.c.number.in_(old))).rowcount
