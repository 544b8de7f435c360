"""Rows of the tables as they come out, which others may have changed: what cannot be is refused by its name."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Boolean, Column, Connection, Double, Integer, Text, select

from pennylane_qexec.errors import StoreError
from pennylane_qexec.persistence.store.base import State
from pennylane_qexec.persistence.store.records import CacheInfo, Run, StoredJob, WorkerHeartbeat
from pennylane_qexec.persistence.store.tables import cache, jobs, runs, workers

_Test = Callable[[Any], bool]

_LARGEST = 2**63 - 1
_TIMES = (-62135596800, 253402300799)  # the years 1 to 9999, in seconds since 1970
_SHOWN = 80
_ENDED = frozenset(map(str, (State.DONE, State.FAILED, State.CANCELLED)))
_ADVICE = (
    "Somebody has changed the database, or it is damaged. Restore it from a backup, or correct it; or begin a run with "
    "another name."
)


def _is_amount(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0


_OF_TYPE: Mapping[type, _Test] = {
    Text: lambda value: isinstance(value, str),
    Integer: lambda value: type(value) is int and 0 <= value <= _LARGEST,
    Double: lambda value: type(value) in (int, float) and _TIMES[0] <= value <= _TIMES[1],
    Boolean: lambda value: isinstance(value, bool),
}
"""Whether a value can be in a column of a type: whole numbers count, and others are times, but for those below."""

_OF_NAME: Mapping[str, _Test] = {
    **dict.fromkeys(("seconds", "cost", "lease"), _is_amount),
    **dict.fromkeys(("attempt", "rows"), lambda value: type(value) is int and 1 <= value <= _LARGEST),
    "state": frozenset(map(str, State)).__contains__,
}


def test_of(column: Column[Any]) -> _Test:
    """What tells whether a value can be in a column."""
    of_type = next(test for kind, test in _OF_TYPE.items() if isinstance(column.type, kind))
    test = _OF_NAME.get(column.name, of_type)
    return (lambda value: value is None or test(value)) if column.nullable else test


_OF_JOB = {name: test_of(jobs.c[name]) for name in StoredJob._fields}
_OF_RUN = {column.name: test_of(column) for column in runs.c}
_OF_WORKER = {column.name: test_of(column) for column in workers.c}
_OF_CACHE = {column.name: test_of(column) for column in cache.c}
_TESTS_OF_JOB = list(_OF_JOB.values())


def job_of(connection: Connection, row: Any) -> StoredJob:
    """A job of a row.

    Args:
        connection: to find out the name of its run.
        row: the columns of :class:`StoredJob`, in their order.

    Raises:
        StoreError: one of them cannot be.
    """
    job = StoredJob._make(row)
    for test, value in zip(_TESTS_OF_JOB, job, strict=True):
        if not test(value):
            raise _refused_job(connection, job)
    if (job.finished is None) is (job.state in _ENDED):
        raise _refused_job(connection, job, "finished")
    return job


def run_of(row: Any) -> Run:
    """A run of a row.

    Raises:
        StoreError: one of its columns cannot be.
    """
    columns = row._mapping
    for name, test in _OF_RUN.items():
        if not test(columns[name]):
            raise refused(f"the run {shown(columns['name'])}", name, columns[name])
    try:
        argv = json.loads(row.argv)
    except (ValueError, RecursionError):
        argv = None
    if not isinstance(argv, list) or not all(isinstance(word, str) for word in argv):
        raise refused(f"the run {shown(row.name)}", "argv", row.argv)
    return Run(**{name: columns[name] for name in _OF_RUN if name != "argv"}, argv=tuple(argv))


def state_of(connection: Connection, run: int, text: Any) -> State:
    """A state of jobs of a run.

    Raises:
        StoreError: there is no such state.
    """
    if not _OF_JOB["state"](text):
        raise refused(f"a circuit of the run {_name_of(connection, run)}", "state", text)
    return State(text)


def heartbeat_of(row: Any) -> WorkerHeartbeat:
    """The last heartbeat of a worker.

    Raises:
        StoreError: what is recorded of it cannot be.
    """
    last = WorkerHeartbeat(*row)
    for name in ("beat", "lease"):
        if not _OF_WORKER[name](getattr(last, name)):
            raise refused(f"the worker {shown(last.worker)}", name, getattr(last, name))
    return last


def cache_info_of(row: Any) -> CacheInfo:
    """How much is cached.

    Raises:
        StoreError: what is recorded of it cannot be.
    """
    entries, size, uses, oldest = row
    for name, value in {"bytes": size, "uses": uses, "created": oldest}.items():
        if not _OF_CACHE[name](value):
            raise refused("the cache", name, value)
    return CacheInfo(entries, size, uses, float(oldest))


def refused(of: str, column: str, value: Any) -> StoreError:
    """What is said of a value that cannot be.

    Args:
        of: what it is a property of.
        column: its name in the database.
        value: the value.
    """
    return StoreError(f"{of} has {shown(value)} as its {column!r} in the store, which cannot be. {_ADVICE}")


def shown(value: Any) -> str:
    """A value, as errors show it: on one line, in printable characters, and not too long."""
    text = ascii(value[: 2 * _SHOWN] if isinstance(value, str | bytes) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _refused_job(connection: Connection, job: StoredJob, name: str = "") -> StoreError:
    name = name or next(name for name in StoredJob._fields if not _OF_JOB[name](getattr(job, name)))
    value = getattr(job, name)
    number = job.number + 1 if _OF_JOB["number"](job.number) else shown(job.number)
    return refused(f"circuit {number} of the run {_name_of(connection, job.run)}", name, value)


def _name_of(connection: Connection, run: Any) -> str:
    name = connection.scalar(select(runs.c.name).where(runs.c.id == run)) if _OF_JOB["run"](run) else None
    return shown(run if name is None else name)
