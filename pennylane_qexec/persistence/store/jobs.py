"""What is recorded, read and changed of jobs, within a transaction.

Each change of a job's state is one statement, guarded by the state it comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter, itemgetter
from typing import Any, NoReturn, final

from sqlalchemy import Column, ColumnElement, Connection, Update, bindparam, func, null, or_, select, update

from pennylane_qexec.errors import StoreError, StoreMismatchError
from pennylane_qexec.persistence.store.base import State, sources
from pennylane_qexec.persistence.store.database import PreparedStatement, Values, insert_into, list_of, plain, rows_of
from pennylane_qexec.persistence.store.records import Ended, NewJob, StoredJob
from pennylane_qexec.persistence.store.tables import circuits, jobs
from pennylane_qexec.persistence.store.validation import job_of, refused, shown
from pennylane_qexec.redaction import scrub

# Changes

_MINE = jobs.c.worker == bindparam("me")
_OVER = or_(jobs.c.state == State.FAILED, jobs.c.state == State.CANCELLED)

_JOB = ("job", "me")
_REMOTE = (*_JOB, "remote_id", "remote_index")
_END = (*_JOB, "result", "error", "started", "finished")
_RAN = ("executor", "backend", "attempt", "shots", "circuits")
_SPENT = ("seconds", "cost")


_STATES = select(jobs.c.id, jobs.c.state, jobs.c.worker, jobs.c.remote_id).where(jobs.c.id.in_(list_of("ids")))


def _guarded(target: State, owned: ColumnElement[bool], *states: State) -> Update:
    """A change to a state, from those that the diagram has, or only some of them."""
    allowed = [jobs.c.state == state for state in sources(target) if not states or state in states]
    return update(jobs).where(jobs.c.id == bindparam("job"), or_(*allowed), owned).values(state=str(target))


def _prepared(statement: Update, *names: str) -> PreparedStatement:
    return PreparedStatement(lambda _: statement, names)


def _ends(target: State, owned: ColumnElement[bool]) -> PreparedStatement:
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
    statement: PreparedStatement,
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
    rows = {row.id: row for row in rows_of(connection, _STATES, "ids", ids)}
    owner = None if target is State.WAITING else worker
    changed = []
    for job in ids:
        row = rows[job] if job in rows else _no_job(job)
        if row.worker == owner and row.state == target and same(row):
            changed.append(job)
        elif row.worker == worker:
            raise StoreError(_not_in_the_diagram(row, target))
    return changed


def _no_job(job: int) -> NoReturn:
    raise StoreError(f"no job has the id {job}. Give ids that record() or jobs() have given.")


def _not_in_the_diagram(row: Any, target: State) -> str:
    sent = f" as {row.remote_id!r}" if row.remote_id else ""
    return (
        f"job {row.id} is {row.state}{sent} and cannot become {target}. From there a job can become: "
        f"{', '.join(sorted(State(row.state).next)) or 'nothing else'}."
    )


# Records

COLUMNS = [jobs.c[name] for name in StoredJob._fields]


@final
class Numbered:
    """Looks for jobs of a run by their numbers: by the first and the last where none is left out, which is faster."""

    def __init__(self, columns: Sequence[Column[Any]]) -> None:
        of_run = select(*columns).where(jobs.c.run == bindparam("of_run"))
        self._some = of_run.where(jobs.c.number.in_(list_of("numbers")))
        in_a_row = of_run.where(jobs.c.number.between(bindparam("first"), bindparam("last")))
        self._in_a_row = PreparedStatement(lambda _: in_a_row, ["of_run", "first", "last"])

    def rows(self, connection: Connection, run: int, numbers: Sequence[int]) -> list[Any]:
        """The rows found, in any order."""
        first, last = min(numbers), max(numbers)
        if last - first < len(numbers):
            return list(self._in_a_row.select(connection, (run, first, last)).all())
        return list(rows_of(connection, self._some, "numbers", numbers, of_run=run))


_PAGE = 1000
_WITHOUT_RESULT = [null() if column is jobs.c.result else column for column in COLUMNS]
_NUMBERED = Numbered(COLUMNS)
_IDS_NUMBERED = Numbered([jobs.c.number, jobs.c.id])
_INSERT = PreparedStatement(
    lambda connection: insert_into(connection, jobs).on_conflict_do_nothing(),
    [*StoredJob._fields[1:10], "worker", "circuits", "rows", "claim"],  # from "run" to "state"
)
_INSERT_TEXTS = PreparedStatement(
    lambda connection: insert_into(connection, circuits).on_conflict_do_nothing(), ["digest", "text"]
)
_BY_ID = select(*COLUMNS).where(jobs.c.id.in_(list_of("ids")))
_TEXTS = select(circuits.c.digest, circuits.c.text).where(circuits.c.digest.in_(list_of("digests")))


def record(
    connection: Connection,
    run: int,
    new: Sequence[NewJob],
    now: float,
    worker: str | None = None,
    claim: str | None = None,
    *,
    beyond: bool = False,
) -> list[StoredJob]:
    """Record jobs, and give them as they are stored.

    Args:
        connection: of the transaction.
        run: id of the run.
        new: the jobs.
        now: when, in seconds since 1970.
        worker: who claims those that are new; ``None`` if they wait.
        claim: of the worker; the same if the same call is made again.
        beyond: whether the run most likely has none of them, so that it is not looked for them first.
    """
    stored = {} if beyond else _numbered(connection, run, new)
    if missing := sorted((job for job in new if job.number not in stored), key=attrgetter("number")):
        state = str(State.WAITING if worker is None else State.CLAIMED)
        rows = [(_row(run, job, now, state), (job.circuits, job.rows)) for job in missing]
        _INSERT_TEXTS.change(connection, sorted({job.circuit: job.text for job in missing}.items()))
        values = [(*row, worker, *numbers, claim) for row, numbers in rows]
        if _INSERT.change(connection, values) < len(rows):  # somebody else has inserted some meanwhile
            stored |= _numbered(connection, run, missing)
        else:
            ids = dict(_IDS_NUMBERED.rows(connection, run, [job.number for job in missing]))
            stored |= {
                row[1]: StoredJob(ids[row[1]], *row, worker=worker, circuits=circuits, rows=asked)
                for row, (circuits, asked) in rows
            }
    return [stored[job.number] for job in new]


def _row(run: int, job: NewJob, now: float, state: str) -> tuple[int, int, str, str, str, str, int, float, str]:
    """The first columns of a new job, but for its id."""
    asked = (job.key, job.circuit, job.executor, job.backend, job.shots, job.submitted or now)
    return run, job.number, *asked, state


def _numbered(connection: Connection, run: int, new: Sequence[NewJob]) -> dict[int, StoredJob]:
    """The jobs that the run has under these numbers.

    Raises:
        StoreMismatchError: one of them has another key.
    """
    rows = _NUMBERED.rows(connection, run, [job.number for job in new])
    stored = {row.number: row for row in (job_of(connection, row) for row in rows)}
    for job in sorted(new, key=attrgetter("number")):
        if job.number in stored and stored[job.number].key != job.key:
            raise StoreMismatchError(run, stored[job.number], job)
    return stored


def found(connection: Connection, statement: Any, ids: Sequence[int], **values: Any) -> dict[int, StoredJob]:
    """The jobs that a statement finds for a list of ids, by their ids."""
    rows = rows_of(connection, statement, "ids", ids, **values)
    return {row.id: row for row in (job_of(connection, row) for row in rows)}


def by_id(connection: Connection, ids: Sequence[int]) -> list[StoredJob]:
    """Jobs with their results, in the order of the ids."""
    stored = found(connection, _BY_ID, ids)
    return [stored[job] if job in stored else _no_job(job) for job in ids]


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
    stored = dict(rows_of(connection, _TEXTS, "digests", digests))
    for digest, text in stored.items():
        if not isinstance(text, str):
            raise refused(f"the circuit {shown(digest)}", "text", text)
    return stored
