"""What is done to the cache, within a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, cast, delete, func, select, update

from pennylane_qexec.store.dialects import insert_into, pieces
from pennylane_qexec.store.prepared import Prepared
from pennylane_qexec.store.records import Cached, CacheInfo
from pennylane_qexec.store.sound import cache_info_of
from pennylane_qexec.store.tables import cache

_NEXT_TURN = select(func.coalesce(func.max(cache.c.turn), 0) + 1).scalar_subquery()
_PAGE = 500
_COLUMNS = ("key", "result", "bytes", "created", "used", "uses", "turn")


def _put(connection: Connection) -> Any:
    new = insert_into(connection, cache).values({name: bindparam(name) for name in _COLUMNS})
    replaced = {name: new.excluded[name] for name in ("result", "bytes", "created", "used", "turn")}
    return new.on_conflict_do_update(index_elements=["key"], set_=replaced)


_PUT = Prepared(_put, _COLUMNS)


def get(connection: Connection, keys: Sequence[str]) -> dict[str, str]:
    """The results under some of the keys."""
    found: dict[str, str] = {}
    for part in pieces(keys):
        query = select(cache.c.key, cache.c.result).where(cache.c.key.in_(part))
        found |= dict(connection.execute(query).all())
    return found


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
