"""What is recorded and read of jobs, within a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter

from sqlalchemy import Connection, bindparam, null, select

from pennylane_qexec.errors import StoreError, StoreMismatchError
from pennylane_qexec.store.base import State
from pennylane_qexec.store.dialects import insert_into, list_of, pieces
from pennylane_qexec.store.records import NewJob, StoredJob
from pennylane_qexec.store.tables import circuits, jobs

COLUMNS = [jobs.c[name] for name in StoredJob._fields]

_PAGE = 1000
_WITHOUT_RESULT = [null() if column is jobs.c.result else column for column in COLUMNS]
_OF_NUMBERS = jobs.c.run == bindparam("of_run"), jobs.c.number.in_(list_of("numbers"))
_NUMBERED = select(*COLUMNS).where(*_OF_NUMBERS)
_IDS_NUMBERED = select(jobs.c.number, jobs.c.id).where(*_OF_NUMBERS)
_BY_ID = select(*COLUMNS).where(jobs.c.id.in_(list_of("ids")))
_TEXTS = select(circuits.c.digest, circuits.c.text).where(circuits.c.digest.in_(list_of("digests")))


def record(connection: Connection, run: int, new: Sequence[NewJob], now: float) -> list[StoredJob]:
    """Record jobs, and give them as they are stored."""
    stored = _numbered(connection, run, new)
    _check(run, new, stored)
    if missing := sorted((job for job in new if job.number not in stored), key=attrgetter("number")):
        stored |= _recorded(connection, run, missing, now)
        _check(run, missing, stored)
    return [stored[job.number] for job in new]


def _recorded(connection: Connection, run: int, new: Sequence[NewJob], now: float) -> dict[int, StoredJob]:
    """Insert jobs, but for those that somebody else has inserted meanwhile, and give them as they are."""
    if _inserted(connection, run, new, now) < len(new):
        return _numbered(connection, run, new)
    ids: dict[int, int] = {}
    for part in pieces([job.number for job in new]):
        ids |= dict(connection.execute(_IDS_NUMBERED, {"of_run": run, "numbers": part}).all())
    return {job.number: _as_inserted(ids[job.number], run, job, now) for job in new}


def _inserted(connection: Connection, run: int, new: Sequence[NewJob], now: float) -> int:
    texts = {job.circuit: job.text for job in new}
    connection.execute(
        insert_into(connection, circuits).on_conflict_do_nothing(),
        [{"digest": digest, "text": texts[digest]} for digest in sorted(texts)],
    )
    rows = [
        {
            "run": run,
            "number": job.number,
            "key": job.key,
            "circuit": job.circuit,
            "executor": job.executor,
            "backend": job.backend,
            "shots": job.shots,
            "submitted": job.submitted or now,
        }
        for job in new
    ]
    return connection.execute(insert_into(connection, jobs).on_conflict_do_nothing(), rows).rowcount


def _as_inserted(number: int, run: int, job: NewJob, now: float) -> StoredJob:
    return StoredJob(
        id=number,
        run=run,
        number=job.number,
        key=job.key,
        circuit=job.circuit,
        executor=job.executor,
        backend=job.backend,
        shots=job.shots,
        submitted=job.submitted or now,
    )


def _numbered(connection: Connection, run: int, new: Sequence[NewJob]) -> dict[int, StoredJob]:
    """The jobs that the run has under these numbers."""
    found: dict[int, StoredJob] = {}
    for part in pieces([job.number for job in new]):
        rows = connection.execute(_NUMBERED, {"of_run": run, "numbers": part})
        found |= {row.number: row for row in map(StoredJob._make, rows)}
    return found


def _check(run: int, new: Sequence[NewJob], stored: dict[int, StoredJob]) -> None:
    for job in sorted(new, key=attrgetter("number")):
        if job.number in stored and stored[job.number].key != job.key:
            raise StoreMismatchError(run, stored[job.number], job)


def by_id(connection: Connection, ids: Sequence[int]) -> list[StoredJob]:
    """Jobs with their results, in the order of the ids."""
    found: dict[int, StoredJob] = {}
    for part in pieces(ids):
        found |= {row.id: row for row in map(StoredJob._make, connection.execute(_BY_ID, {"ids": part}))}
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
    return list(map(StoredJob._make, connection.execute(query)))


def texts(connection: Connection, digests: Sequence[str]) -> dict[str, str]:
    """The texts of circuits."""
    found: dict[str, str] = {}
    for part in pieces(digests):
        found |= dict(connection.execute(_TEXTS, {"digests": part}).all())
    return found
