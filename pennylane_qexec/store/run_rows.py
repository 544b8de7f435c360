"""What is done to the table of runs, within a transaction."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from pennylane_qexec.errors import ConfigurationError, StoreError, unknown
from pennylane_qexec.scrubbing import has_secret, scrub, scrub_argv
from pennylane_qexec.store.base import State
from pennylane_qexec.store.dialects import insert_into
from pennylane_qexec.store.prepared import Prepared
from pennylane_qexec.store.records import Run
from pennylane_qexec.store.sound import run_of, shown, state_of
from pennylane_qexec.store.tables import jobs, runs

_LONGEST = 200
_SEED_BITS = 63
_SEED = Prepared(lambda _: select(runs.c.seed).where(runs.c.id == bindparam("of_run")), ["of_run"])


def checked_name(name: object) -> str:
    """A name for a run that can be printed and typed.

    Raises:
        ConfigurationError: it is none.
    """
    if not isinstance(name, str) or not name.strip() or not name.isprintable() or len(name) > _LONGEST:
        raise ConfigurationError(f"{name!r} cannot be the name of a run. Give a text of one line, such as 'h2-vqe'.")
    return name


def open_run(connection: Connection, name: str, argv: Sequence[str], versions: str, now: float) -> Run:
    """Begin a run or take it up.

    Raises:
        ConfigurationError: a new one has a secret in its name, which is shown and cannot be changed.
    """
    if has_secret(name) and connection.execute(select(runs.c.id).where(runs.c.name == name)).first() is None:
        raise ConfigurationError(
            f"the name of the run, {scrub(name)!r}, has a secret in it, and names are stored and shown: give another."
        )
    values = {
        "name": name,
        "created": now,
        "opened": now,
        "seed": secrets.randbits(_SEED_BITS),
        "argv": json.dumps(scrub_argv(argv)),
        "versions": versions,
        "finished": False,
    }
    connection.execute(insert_into(connection, runs).values(values).on_conflict_do_nothing(index_elements=["name"]))
    change(connection, name, opened=now, finished=False)
    return one(connection, name)


def change(connection: Connection, name: str, **values: Any) -> None:
    """Change a run, if there is one of this name."""
    connection.execute(update(runs).where(runs.c.name == name).values(**values))


def note_concurrent(connection: Connection, run: int) -> None:
    """Mark a run whose jobs were asked for by several threads."""
    if connection.execute(update(runs).where(runs.c.id == run).values(concurrent=True)).rowcount == 0:
        raise StoreError(f"no run has the id {run}. Give the id of a run that open_run() has given.")


def one(connection: Connection, name: str) -> Run:
    """The run of a name."""
    row = connection.execute(select(runs).where(runs.c.name == name)).one_or_none()
    if row is None:
        raise StoreError(unknown("run", name, map(_said, connection.scalars(select(runs.c.name)))))
    return run_of(row)


def _said(name: Any) -> str:
    """A name as errors say it: somebody may have put something else in its place."""
    return name if isinstance(name, str) and name.isprintable() else shown(name)


def is_there(connection: Connection, run: Run) -> bool:
    """Whether a run that was opened is still there, and no other one has its place."""
    found = _SEED.select(connection, (run.id,)).first()
    return found is not None and found.seed == run.seed


def every(connection: Connection) -> list[Run]:
    """All runs, the one opened last first."""
    query = select(runs).order_by(runs.c.opened.desc(), runs.c.id.desc())
    return [run_of(row) for row in connection.execute(query).all()]


def counts(connection: Connection, run: int) -> dict[State, int]:
    """How many jobs a run has in each state."""
    query = select(jobs.c.state, func.count()).where(jobs.c.run == run).group_by(jobs.c.state)
    return {state_of(connection, run, text): number for text, number in connection.execute(query).all()}
