"""Who has which job, within a transaction: claims, beats that show who lives, and the jobs of the dead.

Whether a worker lives is told by beats that change, never by comparing the times of two clocks.
"""

from __future__ import annotations

import math
import os
import secrets
import sys
import threading
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from sqlalchemy import Connection, Insert, and_, bindparam, case, delete, or_, select, update

from pennylane_qexec.persistence.store.base import State
from pennylane_qexec.persistence.store.database import PreparedStatement, insert_into, list_of, rows_of
from pennylane_qexec.persistence.store.jobs import COLUMNS, found
from pennylane_qexec.persistence.store.records import StoredJob, WorkerHeartbeat
from pennylane_qexec.persistence.store.tables import jobs, workers
from pennylane_qexec.persistence.store.validation import heartbeat_of

# Who lives

_LINUX = sys.platform == "linux"
_GONE = ("Z", "X")  # a killed process that nobody has waited for is still listed


class Heartbeats:
    """The heartbeats of other workers, as this process has seen them, and when its own workers have last shown theirs.

    Args:
        monotonic: a clock that never jumps, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._seen: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()
        self._own: dict[str, tuple[float, float]] = {}

    def stopped(self, found: Iterable[WorkerHeartbeat]) -> list[WorkerHeartbeat]:
        """Those that have not changed for as long as their lease while we watched, or whose process is no more."""
        now = self._monotonic()
        with self._lock:
            return [one for one in found if surely_dead(one.worker) or self._unchanged_for(one, now) >= one.lease]

    def _unchanged_for(self, found: WorkerHeartbeat, now: float) -> float:
        beat, since = self._seen.get(found.worker, (None, now))
        if beat != found.beat:
            since = now
        self._seen[found.worker] = (found.beat, since)
        return now - since

    def lately(self, worker: str, lease: float) -> bool:
        """Whether an own worker has shown that it lives less than a quarter of this lease ago."""
        at, its_lease = self._own.get(worker, (-math.inf, lease))
        return its_lease == lease and self._monotonic() - at < lease / 4

    def note(self, worker: str, lease: float, at: float) -> None:
        """Note that an own worker has shown that it lives, at a time of the clock."""
        self._own[worker] = (at, lease)


def new_worker() -> str:
    """A name for this process, unlike that of any other: its machine, its number, when it began, and chance."""
    pid = os.getpid()
    return f"{_machine()}/{pid}/{_begun(pid)}/{secrets.token_hex(8)}"


def surely_dead(worker: str) -> bool:
    """Whether a worker was a process of this machine that is there no more. If in doubt, it is not."""
    machine, pid, begun, *_ = (*worker.split("/"), "", "", "")
    if machine != _machine() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except OSError:
        pass
    now = _begun(int(pid))
    return bool(begun and now) and begun != now


def _machine() -> str:
    """What processes have in common that see each other by their numbers."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}-{os.readlink('/proc/self/ns/pid').strip('pid:[]')}"
    except OSError:
        return f"{uuid.getnode():x}"  # drawn at random, unlike any other, where it cannot be found out


def _begun(pid: int) -> str:
    """When a process began; ``"gone"`` of a dead one; ``""`` if nobody says."""
    return _begun_on_linux(pid) if _LINUX else _begun_elsewhere(pid)


def _begun_on_linux(pid: int) -> str:
    """In ticks since the machine did, which no change of its clock moves."""
    try:
        said = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    state, *fields = said[said.rindex(")") + 2 :].split()
    return "gone" if state in _GONE else fields[18]


def _begun_elsewhere(pid: int) -> str:
    """In microseconds since 1970."""
    import psutil

    try:
        process = psutil.Process(pid)
        return (
            "gone"
            if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
            else str(round(process.create_time() * 1e6))
        )
    except psutil.NoSuchProcess:
        return "gone"
    except psutil.Error:
        return ""


# Who has which job

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
_LIVES = PreparedStatement(
    # In PostgreSQL: who wants to declare it dead waits for us, and then sees the jobs that it has got.
    lambda _: select(workers.c.id).where(workers.c.id == bindparam("me")).with_for_update(read=True, key_share=True),
    ["me"],
)
_AFTER_LEAVING = case((jobs.c.state == State.CLAIMED, str(State.WAITING)), else_=jobs.c.state)


def _beat(connection: Connection) -> Insert:
    """The next heartbeat of a worker, or its first one."""
    first = insert_into(connection, workers)
    again = {"beat": workers.c.beat + 1, "lease": first.excluded.lease}
    beat: Insert = first.on_conflict_do_update(index_elements=["id"], set_=again)
    return beat


_BEAT = PreparedStatement(_beat, ["id", "beat", "lease"])


def claim(connection: Connection, ids: Sequence[int], worker: str, token: str, seen: Heartbeats) -> list[StoredJob]:
    """Claim jobs that nobody has, or that a dead worker had, for a worker that was shown to live.

    Args:
        connection: of the transaction.
        ids: of the jobs.
        worker: who claims them.
        token: the same if the same claim is made again.
        seen: the heartbeats of others, which tell who is dead.
    """
    taken = found(connection, _TAKE, ids, me=worker, token=token)
    if len(taken) < len(ids):
        holders = {heartbeat_of(row) for row in rows_of(connection, _HOLDERS, "ids", ids, me=worker)}
        for last in seen.stopped(sorted(holders)):
            _declare_dead(connection, last)
        # Those who have jobs, and are not among the workers: the database was changed, and they would keep them.
        for unknown in sorted({row.worker for row in rows_of(connection, _UNKNOWN_HOLDERS, "ids", ids)}, key=str):
            _leave_jobs(connection, unknown)
        found(connection, _TAKE, ids, me=worker, token=token)
        taken = found(connection, _TAKEN, ids, token=token)  # also when it was made before and nobody heard how it went
    return [taken[job] for job in ids if job in taken]


def show(connection: Connection, worker: str, lease: float, lately: bool) -> bool:
    """Show that a worker lives, before it gets jobs: nobody takes it for dead until the transaction ends.

    Args:
        connection: of the transaction.
        worker: the worker.
        lease: of the worker, in seconds.
        lately: whether it has done so not long ago, so that it need not, unless it was taken for dead since.

    Returns:
        Whether it is there, and has done so lately.
    """
    if lately and _LIVES.values(connection, (worker,)):
        return True
    _BEAT.change(connection, [(worker, 1, lease)])
    return False


def renew(connection: Connection, worker: str) -> bool:
    """Show that a worker lives, if it has not been taken for dead."""
    beat = update(workers).where(workers.c.id == worker).values(beat=workers.c.beat + 1)
    return connection.execute(beat).rowcount == 1


def leave(connection: Connection, worker: str) -> None:
    """A worker goes, and leaves its jobs to others."""
    connection.execute(delete(workers).where(workers.c.id == worker))
    _leave_jobs(connection, worker)


def _declare_dead(connection: Connection, last: WorkerHeartbeat) -> None:
    """Leave the jobs of a dead worker to others, unless it has beaten meanwhile."""
    still = delete(workers).where(workers.c.id == last.worker, workers.c.beat == last.beat)
    if connection.execute(still).rowcount == 1:
        _leave_jobs(connection, last.worker)


def _leave_jobs(connection: Connection, worker: str | None) -> None:
    whose = jobs.c.worker.is_(None) if worker is None else jobs.c.worker == worker
    mine = and_(whose, jobs.c.finished.is_(None))
    connection.execute(update(jobs).where(mine).values(state=_AFTER_LEAVING, worker=None, claim=None))
