"""What is done to the tables of the cache and of runs, within a transaction."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, cast, delete, func, select, update

from pennylane_qexec.errors import ConfigurationError, StoreError, unknown
from pennylane_qexec.persistence.store.base import State
from pennylane_qexec.persistence.store.database import PreparedStatement, insert_into, pieces
from pennylane_qexec.persistence.store.records import Cached, CacheInfo, Run
from pennylane_qexec.persistence.store.tables import cache, jobs, runs
from pennylane_qexec.persistence.store.validation import cache_info_of, run_of, shown, state_of
from pennylane_qexec.redaction import has_secret, scrub, scrub_argv

# The cache

_NEXT_TURN = select(func.coalesce(func.max(cache.c.turn), 0) + 1).scalar_subquery()
_PAGE = 500
_COLUMNS = ("key", "result", "bytes", "created", "used", "uses", "turn")


def _put(connection: Connection) -> Any:
    new = insert_into(connection, cache).values({name: bindparam(name) for name in _COLUMNS})
    replaced = {name: new.excluded[name] for name in ("result", "bytes", "created", "used", "turn")}
    return new.on_conflict_do_update(index_elements=["key"], set_=replaced)


_PUT = PreparedStatement(_put, _COLUMNS)


def get(connection: Connection, keys: Sequence[str]) -> dict[str, str]:
    """The results under some of the keys."""
    found: dict[str, str] = {}
    for part in pieces(keys):
        size = 1 << (len(part) - 1).bit_length()
        padded = (*part, *[part[-1]] * (size - len(part)))
        found.update(_get(size).values(connection, padded))
    return found


@lru_cache
def _get(size: int) -> PreparedStatement:
    """Looks for so many keys; some may be there twice, so that there are few such statements."""
    names = [f"key{place}" for place in range(size)]
    query = select(cache.c.key, cache.c.result).where(cache.c.key.in_([bindparam(name) for name in names]))
    return PreparedStatement(lambda _: query, names)


def touch(connection: Connection, keys: Sequence[str], now: float) -> None:
    """Note that results were used."""
    used = {"used": now, "uses": cache.c.uses + 1, "turn": connection.scalar(select(_NEXT_TURN))}
    for part in pieces(sorted(keys)):
        connection.execute(update(cache).where(cache.c.key.in_(part)).values(used))


def put(connection: Connection, items: Sequence[Cached], now: float) -> None:
    """Store results, in place of those that are there under the same keys."""
    turn = connection.scalar(select(_NEXT_TURN))
    _PUT.change(connection, [(item.key, item.result, size(item), now, now, 0, turn) for item in sorted(items)])


def shrink(connection: Connection, most_bytes: int) -> None:
    """Forget what was not used for longest, until the rest is no larger than it may be."""
    excess = int(connection.scalar(select(func.coalesce(func.sum(cache.c.bytes), 0))) or 0) - most_bytes
    while excess > 0:
        oldest = select(cache.c.key, cache.c.bytes).order_by(cache.c.turn, cache.c.key).limit(_PAGE)
        forgotten = []
        for key, its_bytes in connection.execute(oldest).all():
            if excess <= 0:
                break
            forgotten.append(key)
            excess -= its_bytes
        connection.execute(delete(cache).where(cache.c.key.in_(forgotten)))
        if not forgotten:
            break


def info(connection: Connection) -> CacheInfo:
    """How much is cached."""
    total = [cast(func.coalesce(func.sum(column), 0), BigInteger) for column in (cache.c.bytes, cache.c.uses)]
    query = select(func.count(), *total, func.coalesce(func.min(cache.c.created), 0.0)).select_from(cache)
    return cache_info_of(connection.execute(query).one())


def clear(connection: Connection) -> int:
    """Forget everything."""
    return connection.execute(delete(cache)).rowcount


def size(item: Cached) -> int:
    """Bytes of an entry, but for what the database adds."""
    return len(item.key.encode()) + len(item.result.encode())


# Runs

_LONGEST = 200
_SEED_BITS = 63
_SEED = PreparedStatement(lambda _: select(runs.c.seed).where(runs.c.id == bindparam("of_run")), ["of_run"])


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
    if not has_run(connection, name):
        refuse_secrets(name)
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
    run = one(connection, name)
    if run.argv or not argv:
        return run
    change(connection, name, argv=values["argv"])  # it was forked, and this is the first program of its own
    return one(connection, name)


def has_run(connection: Connection, name: str) -> bool:
    """Whether there is a run of a name."""
    return connection.execute(select(runs.c.id).where(runs.c.name == name)).first() is not None


def refuse_secrets(name: str) -> None:
    """Refuse a name for a run that has a secret in it.

    Raises:
        ConfigurationError: it has.
    """
    if has_secret(name):
        raise ConfigurationError(
            f"the name of the run, {scrub(name)!r}, has a secret in it, and names are stored and shown: give another."
        )


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
