"""Recorded circuits of runs as pages show them: found page by page, whatever their number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, or_, select

from pennylane_qexec.persistence.store import State
from pennylane_qexec.persistence.store.database import plain
from pennylane_qexec.persistence.store.tables import circuits, jobs, runs

PAGE = 50

STATES = tuple(dict.fromkeys(state.in_words for state in State))
"""What circuits are told to be."""


@dataclass(frozen=True)
class Wanted:
    """Which circuits are wanted.

    Attributes:
        run: name of their run; an empty text for any, as for the others.
        state: one of :data:`STATES`.
        executor: name of the executor.
        text: a part of the error, the fingerprint, the id at the backend, or the name of executor, backend or run.
        before: only those recorded before the job of this id.
    """

    run: str = ""
    state: str = ""
    executor: str = ""
    text: str = ""
    before: int | None = None


class CircuitRow(NamedTuple):
    """A recorded job of a run, with the name of that."""

    id: int
    run: int
    run_name: str
    number: int
    circuit: str
    executor: str
    backend: str
    shots: int
    rows: int
    state: str
    attempt: int
    worker: str | None
    remote_id: str | None
    submitted: float
    started: float
    finished: float | None
    seconds: float
    cost: float
    error: str
    copied_from: int | None


_COLUMNS = [runs.c.name.label("run_name") if name == "run_name" else jobs.c[name] for name in CircuitRow._fields]
_ALL = select(*_COLUMNS).join_from(jobs, runs, jobs.c.run == runs.c.id)


def page(connection: Connection, wanted: Wanted) -> list[CircuitRow]:
    """The circuits that are wanted, the last recorded first: one more than :data:`PAGE`, if there are more."""
    query = _ALL.where(*_conditions(wanted)).order_by(jobs.c.id.desc()).limit(PAGE + 1)
    return [CircuitRow(*row) for row in connection.execute(query)]


def _conditions(wanted: Wanted) -> Sequence[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.before is not None:
        found.append(jobs.c.id < wanted.before)
    if wanted.run:
        found.append(runs.c.name == plain(wanted.run))
    if wanted.state:
        found.append(jobs.c.state.in_([str(state) for state in State if state.in_words == wanted.state]))
    if wanted.executor:
        found.append(jobs.c.executor == plain(wanted.executor))
    if wanted.text:
        columns = (jobs.c.error, jobs.c.circuit, jobs.c.remote_id, jobs.c.executor, jobs.c.backend, runs.c.name)
        found.append(or_(*(column.icontains(plain(wanted.text), autoescape=True) for column in columns)))
    return found


def one(connection: Connection, job: int) -> CircuitRow | None:
    """A circuit by the id of its job."""
    row = connection.execute(_ALL.where(jobs.c.id == job)).one_or_none()
    return None if row is None else CircuitRow(*row)


def content(connection: Connection, job: int) -> tuple[str, str | None] | None:
    """The text of a circuit, and that of its result."""
    query = select(circuits.c.text, jobs.c.result).join_from(jobs, circuits, jobs.c.circuit == circuits.c.digest)
    row: Any = connection.execute(query.where(jobs.c.id == job)).one_or_none()
    return None if row is None else (row.text, row.result)


def names(connection: Connection) -> tuple[list[str], list[str]]:
    """The names of the runs opened last, and of the executors that have circuits, for lists to choose from."""
    last = select(runs.c.name).order_by(runs.c.opened.desc()).limit(PAGE)
    executors = select(jobs.c.executor).distinct().order_by(jobs.c.executor).limit(PAGE)
    return list(connection.scalars(last)), [name for name in connection.scalars(executors) if name]
