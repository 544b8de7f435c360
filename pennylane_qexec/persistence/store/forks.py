"""Marks in runs, and runs that begin with what others had recorded, within a transaction."""

from __future__ import annotations

import json
import math
from typing import Any

from sqlalchemy import Connection, and_, case, func, insert, literal, null, or_, select

from pennylane_qexec.errors import ConfigurationError, StoreError, unknown
from pennylane_qexec.persistence.store import rows
from pennylane_qexec.persistence.store.base import State
from pennylane_qexec.persistence.store.database import insert_into
from pennylane_qexec.persistence.store.records import Mark, Run
from pennylane_qexec.persistence.store.tables import jobs, marks, runs

# Marks

_LONGEST = 200


def check_mark(name: object) -> None:
    """Refuse a name for a mark that could not be printed, typed, or told from a number of circuits.

    Raises:
        ConfigurationError: it could not.
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > _LONGEST:
        raise ConfigurationError(f"{name!r} cannot be the name of a mark. Give a text of one line, such as 'step 40'.")
    if name.strip().isdecimal():
        raise ConfigurationError(f"the mark {name!r} looks like a number of circuits. Add a word, as in 'step {name}'.")


def add_mark(connection: Connection, run: int, mark: Mark) -> None:
    """Name a place in a run, unless it has the name already."""
    new = insert_into(connection, marks).values(run=run, **mark._asdict())
    connection.execute(new.on_conflict_do_nothing())


def marks_of(connection: Connection, run: int) -> list[Mark]:
    """The marks of a run, in the order of their places."""
    columns = [marks.c[name] for name in Mark._fields]
    query = select(*columns).where(marks.c.run == run).order_by(marks.c.number, marks.c.name)
    return [Mark(*row) for row in connection.execute(query)]


# Forks

_AT_A_BACKEND = (State.SENDING, State.SENT)
_COPIED = and_(jobs.c.state == State.DONE, jobs.c.result.is_not(None))
_ANEW: dict[str, Any] = {
    "state": literal(str(State.WAITING)),
    "attempt": literal(1),
    "started": literal(0.0),
    "finished": null(),
    "seconds": literal(0.0),
    "cost": literal(0.0),
    "error": literal(""),
    "result": null(),
    "remote_id": null(),
    "remote_index": null(),
}
"""What circuits without a result are set to; those with one are copied as they are."""


def fork(connection: Connection, name: str, new: str, at: int | str | None, now: float) -> Run:
    """Begin a run with what another one had recorded up to some place.

    Args:
        connection: of the transaction.
        name: of the run.
        new: name of the new one.
        at: a number of circuits, or a mark; ``None`` for all.
        now: when, in seconds since 1970.

    Raises:
        ConfigurationError: there is nothing that could come along, or the new name has a secret in it.
        StoreError: there is no such run or mark; there is a run of the new name; or circuits are at a backend.
    """
    parent = rows.one(connection, name)
    if rows.has_run(connection, new):
        raise StoreError(f"there is a run {new!r} already: give the fork another name.")
    rows.refuse_secrets(new)
    point = _point(connection, parent, _wanted(connection, parent, at))
    values = {
        "name": new,
        "created": now,
        "opened": now,
        "seed": parent.seed,  # so that the policies, and executors with seeds, draw what they drew there
        "argv": json.dumps([]),
        "versions": parent.versions,
        "finished": False,
        "concurrent": parent.concurrent,
        "parent": parent.id,
        "fork_point": point,
    }
    connection.execute(insert(runs).values(values))
    run = rows.one(connection, new)
    _copy_jobs(connection, parent.id, run.id, point)
    columns = [marks.c[name] for name in Mark._fields]
    before = select(literal(run.id), *columns).where(marks.c.run == parent.id, marks.c.number <= point)
    connection.execute(insert(marks).from_select(["run", *Mark._fields], before))
    return run


def _wanted(connection: Connection, parent: Run, at: int | str | None) -> float:
    """How many circuits are wanted at the most."""
    if at is None:
        return math.inf
    if isinstance(at, str) and not at.strip().isdecimal():
        known = {mark.name: mark.number for mark in marks_of(connection, parent.id)}
        if at not in known:
            raise StoreError(unknown("mark", at, known))
        return known[at]
    if isinstance(at, bool) or not isinstance(at, int | str) or int(at) < 1:
        raise ConfigurationError(f"at={at!r} must be a number of circuits of at least 1, or the name of a mark.")
    recorded = connection.scalar(select(func.max(jobs.c.number + jobs.c.rows)).where(jobs.c.run == parent.id)) or 0
    if int(at) > recorded:
        raise ConfigurationError(f"the run {parent.name!r} has recorded {recorded:,} circuits, and not {int(at):,}.")
    return int(at)


def _point(connection: Connection, parent: Run, wanted: float) -> int:
    """How many circuits come along: those that were recorded together, together."""
    of_parent = jobs.c.run == parent.id
    if wanted != math.inf:
        of_parent = and_(of_parent, jobs.c.number + jobs.c.rows <= int(wanted))
    point = connection.scalar(select(func.max(jobs.c.number + jobs.c.rows)).where(of_parent))
    if point is None:
        first = connection.scalar(select(func.min(jobs.c.number + jobs.c.rows)).where(jobs.c.run == parent.id))
        together = f" Its first {first:,} circuits were recorded together." if first else ""
        raise ConfigurationError(f"the run {parent.name!r} has nothing that could come along.{together}")
    sent = or_(*(jobs.c.state == state for state in _AT_A_BACKEND))
    at_backends = connection.scalar(
        select(func.sum(jobs.c.rows)).where(jobs.c.run == parent.id, jobs.c.number < point, sent)
    )
    if at_backends:
        raise StoreError(
            f"{at_backends:,} of the first {point:,} circuits of the run {parent.name!r} are at a backend: run its "
            "program until they have ended, or fork it at an earlier place."
        )
    return int(point)


def _copy_jobs(connection: Connection, parent: int, run: int, point: int) -> None:
    columns: dict[str, Any] = {column.name: column for column in jobs.c if column.name != "id"}
    columns |= {name: case((_COPIED, jobs.c[name]), else_=other) for name, other in _ANEW.items()}
    columns |= {"run": literal(run), "worker": null(), "claim": null()}
    columns["copied_from"] = case((_COPIED, func.coalesce(jobs.c.copied_from, jobs.c.id)), else_=null())
    recorded = select(*columns.values()).where(jobs.c.run == parent, jobs.c.number < point).order_by(jobs.c.number)
    connection.execute(insert(jobs).from_select(list(columns), recorded))
