"""Changes of jobs' states, within a transaction: each is one statement, guarded by the state it comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Update, bindparam, func, or_, select, update

from pennylane_qexec.errors import StoreError
from pennylane_qexec.scrubbing import scrub
from pennylane_qexec.store.base import State, sources
from pennylane_qexec.store.dialects import pieces, plain
from pennylane_qexec.store.prepared import Prepared, Values
from pennylane_qexec.store.records import Ended
from pennylane_qexec.store.tables import jobs

_MINE = jobs.c.worker == bindparam("me")
_OVER = or_(jobs.c.state == State.FAILED, jobs.c.state == State.CANCELLED)

_JOB = ("job", "me")
_REMOTE = (*_JOB, "remote_id", "remote_index")
_END = (*_JOB, "result", "error", "started", "finished")
_RAN = ("executor", "backend", "attempt", "shots", "circuits")
_SPENT = ("seconds", "cost")


def _guarded(target: State, owned: ColumnElement[bool], *states: State) -> Update:
    """A change to a state, from those that the diagram has, or only some of them."""
    allowed = [jobs.c.state == state for state in sources(target) if not states or state in states]
    return update(jobs).where(jobs.c.id == bindparam("job"), or_(*allowed), owned).values(state=str(target))


def _prepared(statement: Update, *names: str) -> Prepared:
    return Prepared(lambda _: statement, names)


def _ends(target: State, owned: ColumnElement[bool]) -> Prepared:
    """A change to a state in which jobs end. What earlier attempts cost has been paid too."""
    ran: dict[str, Any] = {name: func.coalesce(bindparam(f"ran_{name}"), jobs.c[name]) for name in _RAN}
    spent: dict[str, Any] = {name: jobs.c[name] + bindparam(f"more_{name}") for name in _SPENT}
    statement = _guarded(target, owned).values(worker=bindparam("me"), **ran, **spent)
    return _prepared(statement, *_END, *(f"ran_{name}" for name in _RAN), *(f"more_{name}" for name in _SPENT))


_RELEASE = _prepared(_guarded(State.WAITING, _MINE, State.CLAIMED).values(worker=None, claim=None), *_JOB)
_TO: dict[str, Any] = {name: func.coalesce(bindparam(f"to_{name}"), jobs.c[name]) for name in ("executor", "backend")}
_SENDING = _prepared(_guarded(State.SENDING, _MINE).values(_TO), *_REMOTE, "to_executor", "to_backend")
_SENT = _prepared(_guarded(State.SENT, _MINE), *_REMOTE)
_ENDS = {
    State.DONE: _ends(State.DONE, _MINE),
    State.FAILED: _ends(State.FAILED, _MINE),
    State.CANCELLED: _ends(State.CANCELLED, or_(_MINE, jobs.c.worker.is_(None))),
}
_AGAIN = {"worker": None, "claim": None, "remote_id": None, "remote_index": None, "finished": None}
_RETRY = _prepared(
    _guarded(State.WAITING, or_(_MINE, _OVER)).values(attempt=jobs.c.attempt + 1, started=0.0, error="", **_AGAIN),
    *_JOB,
)


def release(connection: Connection, ids: Sequence[int], worker: str) -> list[int]:
    """Claimed jobs wait again."""
    return _change(connection, _RELEASE, State.WAITING, _plain(ids, worker))


def retry(connection: Connection, ids: Sequence[int], worker: str) -> list[int]:
    """Jobs wait for one more attempt."""
    return _change(connection, _RETRY, State.WAITING, _plain(ids, worker))


def sending(
    connection: Connection, ids: Sequence[int], worker: str, label: str, executor: str, backend: str
) -> list[int]:
    """Jobs are about to be sent."""
    rows = [(*row, executor or None, backend or None) for row in _remote(ids, worker, label)]
    return _change(connection, _SENDING, State.SENDING, rows, lambda job: job.remote_id == label)


def sent(connection: Connection, ids: Sequence[int], worker: str, remote_id: str) -> list[int]:
    """Jobs were sent."""
    rows = _remote(ids, worker, remote_id)
    return _change(connection, _SENT, State.SENT, rows, lambda job: job.remote_id == remote_id)


def ended(connection: Connection, target: State, ends: Sequence[Ended], worker: str, now: float) -> list[int]:
    """Jobs are done, failed or cancelled."""
    rows = [
        (
            *(end.id, worker, end.result, _said(end), end.started, end.finished or now),
            *(end.executor, end.backend, end.attempt, end.shots, end.circuits),
            *(end.seconds, end.cost),
        )
        for end in ends
    ]
    return _change(connection, _ENDS[target], target, rows)


def _said(end: Ended) -> str:
    return plain(scrub(end.error)) if end.error else ""


def _plain(ids: Sequence[int], worker: str) -> list[Values]:
    return [(job, worker) for job in ids]


def _remote(ids: Sequence[int], worker: str, remote_id: str) -> list[Values]:
    return [(job, worker, remote_id, place) for place, job in enumerate(ids)]


def _change(
    connection: Connection,
    statement: Prepared,
    target: State,
    rows: Sequence[Values],
    same: Callable[[Any], bool] = lambda job: True,
) -> list[int]:
    """Change jobs, and say which of them are now as they should be.

    Args:
        connection: of the transaction.
        statement: the guarded change.
        target: the state that it leads to.
        rows: for each job, its id, the worker, and what the statement writes.
        same: whether a job that had been changed before was changed in the same way.
    """
    ids = [row[0] for row in rows]
    if not ids:
        return []
    in_one_order = sorted(rows, key=itemgetter(0))  # so that two programs never wait for each other
    if statement.change(connection, in_one_order) == len(ids):
        return ids
    return _as_asked(connection, target, ids, rows[0][1], same)


def _as_asked(
    connection: Connection, target: State, ids: Sequence[int], worker: str, same: Callable[[Any], bool]
) -> list[int]:
    """Those that are as they should be. The others are somebody else's by now, or what was tried makes no sense."""
    found: dict[int, Any] = {}
    for part in pieces(ids):
        query = select(jobs.c.id, jobs.c.state, jobs.c.worker, jobs.c.remote_id).where(jobs.c.id.in_(part))
        found |= {row.id: row for row in connection.execute(query).all()}
    owner = None if target is State.WAITING else worker
    changed = []
    for job in ids:
        if job not in found:
            raise StoreError(f"no job has the id {job}. Give ids that record() or jobs() have given.")
        row = found[job]
        if row.worker == owner and row.state == target and same(row):
            changed.append(job)
        elif row.worker == worker:
            raise StoreError(_not_in_the_diagram(row, target))
    return changed


def _not_in_the_diagram(row: Any, target: State) -> str:
    sent = f" as {row.remote_id!r}" if row.remote_id else ""
    return (
        f"job {row.id} is {row.state}{sent} and cannot become {target}. From there a job can become: "
        f"{', '.join(sorted(State(row.state).next)) or 'nothing else'}."
    )
