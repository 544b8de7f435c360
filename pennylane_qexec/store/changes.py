"""Changes of jobs' states, within a transaction: each is one statement, guarded by the state it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Update, bindparam, func, or_, select, update

from pennylane_qexec.errors import StoreError
from pennylane_qexec.store.base import State, sources
from pennylane_qexec.store.dialects import pieces, plain
from pennylane_qexec.store.records import Ended
from pennylane_qexec.store.tables import jobs

_MINE = jobs.c.worker == bindparam("me")
_OVER = or_(jobs.c.state == State.FAILED, jobs.c.state == State.CANCELLED)


def _guarded(target: State, owned: ColumnElement[bool], *states: State) -> Update:
    """A change to a state, from those that the diagram has, or only some of them."""
    allowed = [jobs.c.state == state for state in sources(target) if not states or state in states]
    return update(jobs).where(jobs.c.id == bindparam("job"), or_(*allowed), owned).values(state=str(target))


def _ends(target: State, owned: ColumnElement[bool]) -> Update:
    """A change to a state in which jobs end. What earlier attempts cost has been paid too."""
    ran: dict[str, Any] = {
        name: func.coalesce(bindparam(f"ran_{name}"), jobs.c[name]) for name in ("executor", "backend", "attempt")
    }
    spent: dict[str, Any] = {name: jobs.c[name] + bindparam(f"more_{name}") for name in ("seconds", "cost")}
    return _guarded(target, owned).values(worker=bindparam("me"), **ran, **spent)


_RELEASE = _guarded(State.WAITING, _MINE, State.CLAIMED).values(worker=None, claim=None)
_SENDING = _guarded(State.SENDING, _MINE)
_SENT = _guarded(State.SENT, _MINE)
_ENDS = {
    State.DONE: _ends(State.DONE, _MINE),
    State.FAILED: _ends(State.FAILED, _MINE),
    State.CANCELLED: _ends(State.CANCELLED, or_(_MINE, jobs.c.worker.is_(None))),
}
_RETRY = _guarded(State.WAITING, or_(_MINE, _OVER)).values(
    worker=None,
    claim=None,
    attempt=jobs.c.attempt + 1,
    remote_id=None,
    remote_index=None,
    started=0.0,
    finished=None,
    error="",
)


def release(connection: Connection, ids: Sequence[int], worker: str) -> list[int]:
    """Claimed jobs wait again."""
    return _change(connection, _RELEASE, State.WAITING, _plain(ids, worker))


def retry(connection: Connection, ids: Sequence[int], worker: str) -> list[int]:
    """Jobs wait for one more attempt."""
    return _change(connection, _RETRY, State.WAITING, _plain(ids, worker))


def sending(connection: Connection, ids: Sequence[int], worker: str) -> list[int]:
    """Jobs are about to be sent."""
    return _change(connection, _SENDING, State.SENDING, _plain(ids, worker))


def sent(connection: Connection, ids: Sequence[int], worker: str, remote_id: str) -> list[int]:
    """Jobs were sent."""
    rows = [{"job": job, "me": worker, "remote_id": remote_id, "remote_index": index} for index, job in enumerate(ids)]
    return _change(connection, _SENT, State.SENT, rows, lambda job: job.remote_id == remote_id)


def ended(connection: Connection, target: State, ends: Sequence[Ended], worker: str, now: float) -> list[int]:
    """Jobs are done, failed or cancelled."""
    rows = [
        {
            "job": end.id,
            "me": worker,
            "result": end.result,
            "error": plain(end.error),
            "started": end.started,
            "finished": end.finished or now,
            "more_seconds": end.seconds,
            "more_cost": end.cost,
            "ran_executor": end.executor,
            "ran_backend": end.backend,
            "ran_attempt": end.attempt,
        }
        for end in ends
    ]
    return _change(connection, _ENDS[target], target, rows)


def _plain(ids: Sequence[int], worker: str) -> list[dict[str, Any]]:
    return [{"job": job, "me": worker} for job in ids]


def _change(
    connection: Connection,
    statement: Update,
    target: State,
    rows: Sequence[Mapping[str, Any]],
    same: Callable[[Any], bool] = lambda job: True,
) -> list[int]:
    """Change jobs, and say which of them are now as they should be.

    Args:
        connection: of the transaction.
        statement: the guarded change.
        target: the state that it leads to.
        rows: for each job, its id as ``"job"``, the worker as ``"me"``, and what the statement writes.
        same: whether a job that had been changed before was changed in the same way.
    """
    ids = [row["job"] for row in rows]
    if not ids:
        return []
    in_one_order = sorted(rows, key=lambda row: row["job"])  # so that two programs never wait for each other
    if connection.execute(statement, in_one_order).rowcount == len(ids):
        return ids
    return _as_asked(connection, target, ids, rows[0]["me"], same)


def _as_asked(
    connection: Connection, target: State, ids: Sequence[int], worker: str, same: Callable[[Any], bool]
) -> list[int]:
    """Those that are as they should be. The others are somebody else's by now, or what was tried makes no sense."""
    found: dict[int, Any] = {}
    for part in pieces(ids):
        query = select(jobs.c.id, jobs.c.state, jobs.c.worker, jobs.c.remote_id).where(jobs.c.id.in_(part))
        found |= {row.id: row for row in connection.execute(query)}
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
