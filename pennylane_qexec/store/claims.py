"""Who has which job, within a transaction: claims, beating hearts, and the jobs of the dead."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Insert, and_, bindparam, case, delete, or_, select, update

from pennylane_qexec.store.base import State
from pennylane_qexec.store.dialects import insert_into, list_of, pieces
from pennylane_qexec.store.job_rows import COLUMNS
from pennylane_qexec.store.prepared import Prepared
from pennylane_qexec.store.records import StoredJob
from pennylane_qexec.store.sound import heart_of, job_of
from pennylane_qexec.store.tables import jobs, workers
from pennylane_qexec.store.workers import Heart, Watch

_WAITING = jobs.c.state == State.WAITING
_LEFT_AT_A_BACKEND = and_(jobs.c.state.in_([State.SENDING, State.SENT]), jobs.c.worker.is_(None))
_AFTER_CLAIMING = case((_WAITING, str(State.CLAIMED)), else_=jobs.c.state)
_FREE = (
    select(jobs.c.id)
    .where(jobs.c.id.in_(list_of("ids")), or_(_WAITING, _LEFT_AT_A_BACKEND))
    .with_for_update(skip_locked=True)  # in PostgreSQL: what another one claims right now is not free
)
_TAKE = (
    update(jobs)
    .where(jobs.c.id.in_(_FREE))
    .values(state=_AFTER_CLAIMING, worker=bindparam("me"), claim=bindparam("token"))
    .returning(*COLUMNS)
)
_TAKEN = select(*COLUMNS).where(jobs.c.id.in_(list_of("ids")), jobs.c.claim == bindparam("token"))
_HOLDERS = (
    select(workers.c.id, workers.c.beat, workers.c.lease)
    .join(jobs, jobs.c.worker == workers.c.id)
    .where(jobs.c.id.in_(list_of("ids")), jobs.c.finished.is_(None), workers.c.id != bindparam("me"))
    .distinct()
)
_UNKNOWN_HOLDERS = (
    select(jobs.c.worker)
    .outerjoin(workers, jobs.c.worker == workers.c.id)
    .where(
        jobs.c.id.in_(list_of("ids")),
        jobs.c.state.in_([State.CLAIMED, State.SENDING, State.SENT]),
        jobs.c.finished.is_(None),
        workers.c.id.is_(None),
        or_(jobs.c.worker.is_not(None), jobs.c.state == State.CLAIMED),
    )
    .distinct()
)
_LIVES = Prepared(
    # In PostgreSQL: who wants to bury it waits for us, and then sees the jobs that it has got.
    lambda _: select(workers.c.id).where(workers.c.id == bindparam("me")).with_for_update(read=True, key_share=True),
    ["me"],
)
_AFTER_LEAVING = case((jobs.c.state == State.CLAIMED, str(State.WAITING)), else_=jobs.c.state)


def _beat(connection: Connection) -> Insert:
    """The next beat of a heart, or its first one."""
    first = insert_into(connection, workers)
    again = {"beat": workers.c.beat + 1, "lease": first.excluded.lease}
    beat: Insert = first.on_conflict_do_update(index_elements=["id"], set_=again)
    return beat


_BEAT = Prepared(_beat, ["id", "beat", "lease"])


def claim(connection: Connection, ids: Sequence[int], worker: str, token: str, watch: Watch) -> list[StoredJob]:
    """Claim jobs that nobody has, or that a dead worker had, for a worker that was shown to live.

    Args:
        connection: of the transaction.
        ids: of the jobs.
        worker: who claims them.
        token: the same if the same claim is made again.
        watch: knows who is dead.
    """
    taken = _take(connection, ids, worker, token)
    if len(taken) < len(ids):
        for heart in watch.stopped(_holders(connection, ids, worker)):
            bury(connection, heart)
        for unknown in _unknown_holders(connection, ids):
            _leave_jobs(connection, unknown)
        _take(connection, ids, worker, token)
        taken = _taken(connection, ids, token)
    return [taken[job] for job in ids if job in taken]


def show(connection: Connection, worker: str, lease: float, lately: bool) -> bool:
    """Show that a worker lives, before it gets jobs: nobody takes it for dead until the transaction ends.

    Args:
        connection: of the transaction.
        worker: the worker.
        lease: of the worker, in seconds.
        lately: whether its heart has beaten not long ago, so that it need not, unless it was taken for dead since.

    Returns:
        Whether it is there, and its heart has beaten lately.
    """
    if lately and _LIVES.select(connection, (worker,)).first():
        return True
    _BEAT.change(connection, [(worker, 1, lease)])
    return False


def renew(connection: Connection, worker: str) -> bool:
    """Let a heart beat, if it has not been taken for dead."""
    beat = update(workers).where(workers.c.id == worker).values(beat=workers.c.beat + 1)
    return connection.execute(beat).rowcount == 1


def leave(connection: Connection, worker: str) -> None:
    """A worker goes, and leaves its jobs to others."""
    connection.execute(delete(workers).where(workers.c.id == worker))
    _leave_jobs(connection, worker)


def bury(connection: Connection, heart: Heart) -> None:
    """Leave the jobs of a dead worker to others, unless it has beaten meanwhile."""
    still = delete(workers).where(workers.c.id == heart.worker, workers.c.beat == heart.beat)
    if connection.execute(still).rowcount == 1:
        _leave_jobs(connection, heart.worker)


def _take(connection: Connection, ids: Sequence[int], worker: str, token: str) -> dict[int, StoredJob]:
    """Take what is free."""
    found: dict[int, StoredJob] = {}
    for part in pieces(ids):
        rows = connection.execute(_TAKE, {"ids": part, "me": worker, "token": token}).all()
        found |= {row.id: row for row in (job_of(connection, row) for row in rows)}
    return found


def _taken(connection: Connection, ids: Sequence[int], token: str) -> dict[int, StoredJob]:
    """What this claim has taken, also when it was made before and nobody heard how it went."""
    found: dict[int, StoredJob] = {}
    for part in pieces(ids):
        rows = connection.execute(_TAKEN, {"ids": part, "token": token}).all()
        found |= {row.id: row for row in (job_of(connection, row) for row in rows)}
    return found


def _holders(connection: Connection, ids: Sequence[int], worker: str) -> list[Heart]:
    found: set[Heart] = set()
    for part in pieces(ids):
        found |= {heart_of(row) for row in connection.execute(_HOLDERS, {"ids": part, "me": worker}).all()}
    return sorted(found)


def _unknown_holders(connection: Connection, ids: Sequence[int]) -> list[str | None]:
    """Those who have jobs, and are not among the workers: the database was changed, and nobody would ever bury them."""
    found: set[str | None] = set()
    for part in pieces(ids):
        found |= set(connection.execute(_UNKNOWN_HOLDERS, {"ids": part}).scalars())
    return sorted(found, key=str)


def _leave_jobs(connection: Connection, worker: str | None) -> None:
    whose = jobs.c.worker.is_(None) if worker is None else jobs.c.worker == worker
    mine = and_(whose, jobs.c.finished.is_(None))
    connection.execute(update(jobs).where(mine).values(state=_AFTER_LEAVING, worker=None, claim=None))
