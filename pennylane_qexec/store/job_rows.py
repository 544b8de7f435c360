"""What is recorded and read of jobs, within a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple, final

from sqlalchemy import Column, Connection, bindparam, null, select

from pennylane_qexec.errors import StoreError, StoreMismatchError
from pennylane_qexec.store.base import State
from pennylane_qexec.store.dialects import insert_into, list_of, pieces
from pennylane_qexec.store.prepared import Prepared
from pennylane_qexec.store.records import NewJob, StoredJob
from pennylane_qexec.store.sound import job_of, refused, shown
from pennylane_qexec.store.tables import circuits, jobs

COLUMNS = [jobs.c[name] for name in StoredJob._fields]


@final
class Numbered:
    """Looks for jobs of a run by their numbers: by the first and the last where none is left out, which is faster."""

    def __init__(self, columns: Sequence[Column[Any]]) -> None:
        of_run = select(*columns).where(jobs.c.run == bindparam("of_run"))
        self._some = of_run.where(jobs.c.number.in_(list_of("numbers")))
        in_a_row = of_run.where(jobs.c.number.between(bindparam("first"), bindparam("last")))
        self._in_a_row = Prepared(lambda _: in_a_row, ["of_run", "first", "last"])

    def rows(self, connection: Connection, run: int, numbers: Sequence[int]) -> list[Any]:
        """The rows found, in any order."""
        first, last = min(numbers), max(numbers)
        if last - first < len(numbers):
            return list(self._in_a_row.select(connection, (run, first, last)).all())
        found: list[Any] = []
        for part in pieces(numbers):
            found += connection.execute(self._some, {"of_run": run, "numbers": part}).all()
        return found


_PAGE = 1000
_WITHOUT_RESULT = [null() if column is jobs.c.result else column for column in COLUMNS]
_NUMBERED = Numbered(COLUMNS)
_IDS_NUMBERED = Numbered([jobs.c.number, jobs.c.id])
_NEW = (
    "run",
    "number",
    "key",
    "circuit",
    "executor",
    "backend",
    "shots",
    "submitted",
    "state",
    "worker",
    "claim",
    "circuits",
)
_INSERT = Prepared(lambda connection: insert_into(connection, jobs).on_conflict_do_nothing(), _NEW)
_INSERT_TEXTS = Prepared(
    lambda connection: insert_into(connection, circuits).on_conflict_do_nothing(), ["digest", "text"]
)
_BY_ID = select(*COLUMNS).where(jobs.c.id.in_(list_of("ids")))
_TEXTS = select(circuits.c.digest, circuits.c.text).where(circuits.c.digest.in_(list_of("digests")))


class Fresh(NamedTuple):
    """What jobs are recorded with that are new.

    Attributes:
        now: when, in seconds since 1970.
        state: in which state.
        worker: who has them.
        claim: with which claim; the same if the same call is made again.
    """

    now: float
    state: str = str(State.WAITING)
    worker: str | None = None
    claim: str | None = None


def record(
    connection: Connection, run: int, new: Sequence[NewJob], fresh: Fresh, *, beyond: bool = False
) -> list[StoredJob]:
    """Record jobs, and give them as they are stored.

    Args:
        connection: of the transaction.
        run: id of the run.
        new: the jobs.
        fresh: what they are recorded with.
        beyond: whether the run most likely has none of them, so that it is not looked for them first.
    """
    stored = {}
    if not beyond:
        stored = _numbered(connection, run, new)
        _check(run, new, stored)
    if missing := sorted((job for job in new if job.number not in stored), key=attrgetter("number")):
        stored |= _recorded(connection, run, missing, fresh)
    return [stored[job.number] for job in new]


def _recorded(connection: Connection, run: int, new: Sequence[NewJob], fresh: Fresh) -> dict[int, StoredJob]:
    """Insert jobs, but for those that somebody else has inserted meanwhile, and give them as they are."""
    if _inserted(connection, run, new, fresh) < len(new):
        stored = _numbered(connection, run, new)
        _check(run, new, stored)
        return stored
    ids = dict(_IDS_NUMBERED.rows(connection, run, [job.number for job in new]))
    return {job.number: _as_inserted(ids[job.number], run, job, fresh) for job in new}


def _inserted(connection: Connection, run: int, new: Sequence[NewJob], fresh: Fresh) -> int:
    texts = {job.circuit: job.text for job in new}
    _INSERT_TEXTS.change(connection, sorted(texts.items()))
    rows = [(run, job.number, *_asked(job, fresh), fresh.state, fresh.worker, fresh.claim, job.circuits) for job in new]
    return _INSERT.change(connection, rows)


def _as_inserted(number: int, run: int, job: NewJob, fresh: Fresh) -> StoredJob:
    return StoredJob(number, run, job.number, *_asked(job, fresh), fresh.state, 1, fresh.worker, circuits=job.circuits)


def _asked(job: NewJob, fresh: Fresh) -> tuple[str, str, str, str, int, float]:
    return job.key, job.circuit, job.executor, job.backend, job.shots, job.submitted or fresh.now


def _numbered(connection: Connection, run: int, new: Sequence[NewJob]) -> dict[int, StoredJob]:
    """The jobs that the run has under these numbers."""
    rows = _NUMBERED.rows(connection, run, [job.number for job in new])
    return {row.number: row for row in (job_of(connection, row) for row in rows)}


def _check(run: int, new: Sequence[NewJob], stored: dict[int, StoredJob]) -> None:
    for job in sorted(new, key=attrgetter("number")):
        if job.number in stored and stored[job.number].key != job.key:
            raise StoreMismatchError(run, stored[job.number], job)


def by_id(connection: Connection, ids: Sequence[int]) -> list[StoredJob]:
    """Jobs with their results, in the order of the ids."""
    found: dict[int, StoredJob] = {}
    for part in pieces(ids):
        rows = connection.execute(_BY_ID, {"ids": part}).all()
        found |= {row.id: row for row in (job_of(connection, row) for row in rows)}
    for job in ids:
        if job not in found:
            raise StoreError(f"no job has the id {job}. Give ids that record() or jobs() have given.")
    return [found[job] for job in ids]


def page(connection: Connection, after: StoredJob | None, run: int | None, states: Sequence[State]) -> list[StoredJob]:
    """The next jobs after another one, without results; none at the end."""
    place = jobs.c.id if run is None else jobs.c.number  # each has an index, so that no page is looked for
    query = select(*_WITHOUT_RESULT).order_by(place).limit(_PAGE)
    if run is not None:
        query = query.where(jobs.c.run == run)
    if after is not None:
        query = query.where(place > getattr(after, place.name))
    if states:
        query = query.where(jobs.c.state.in_([str(state) for state in states]))
    return [job_of(connection, row) for row in connection.execute(query).all()]


def texts(connection: Connection, digests: Sequence[str]) -> dict[str, str]:
    """The texts of circuits."""
    found: dict[str, str] = {}
    for part in pieces(digests):
        found |= dict(connection.execute(_TEXTS, {"digests": part}).all())
    for digest, text in found.items():
        if not isinstance(text, str):
            raise refused(f"the circuit {shown(digest)}", "text", text)
    return found
