"""What executors have done lately, as pages show it: of the circuits recorded last, however many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from pennylane_qexec.persistence.store import State
from pennylane_qexec.persistence.store.tables import jobs, server_jobs

LAST = 20_000
"""How many of the jobs that were recorded last are looked at."""

HOUR = 3600.0

MOST_BARS = 1500
"""Of a timeline."""


@dataclass
class ExecutorRow:
    """What an executor does, and has done lately.

    Attributes:
        executor: its name.
        backend: the name of its backend.
        waiting: circuits that wait for it, or run in a program.
        at_backend: circuits that are at its backend.
        done: circuits that were done within the last hour.
        failed: circuits that failed within the last hour.
        shots: of those that were done within the last hour.
        seconds: running time of those.
        cost: US dollars of those.
        last: when it was last done with a circuit.
        error: the last error, and the id of its circuit.
    """

    executor: str
    backend: str
    waiting: int = 0
    at_backend: int = 0
    done: int = 0
    failed: int = 0
    shots: int = 0
    seconds: float = 0.0
    cost: float = 0.0
    last: float | None = None
    error: tuple[int, str] | None = None

    @property
    def state(self) -> str:
        """What it does, in a word."""
        if self.waiting or self.at_backend:
            return "running"
        return "failed" if self.failed and not self.done else "ready"


def executors(connection: Connection, now: float) -> list[ExecutorRow]:
    """The executors of the circuits that were recorded last."""
    recent = select(jobs).where(jobs.c.copied_from.is_(None)).order_by(jobs.c.id.desc()).limit(LAST).subquery()
    rows: dict[tuple[str, str], ExecutorRow] = {}
    lately = recent.c.finished >= now - HOUR
    query = select(
        recent.c.executor,
        recent.c.backend,
        recent.c.state,
        lately.label("lately"),
        func.sum(recent.c.rows).label("circuits"),
        func.sum(recent.c.shots).label("shots"),
        func.sum(recent.c.seconds).label("seconds"),
        func.sum(recent.c.cost).label("cost"),
        func.max(recent.c.finished).label("last"),
    ).group_by(recent.c.executor, recent.c.backend, recent.c.state, lately)
    for row in connection.execute(query):
        found = rows.setdefault((row.executor, row.backend), ExecutorRow(row.executor, row.backend))
        if row.state in (State.WAITING, State.CLAIMED):
            found.waiting += row.circuits
        elif row.state in (State.SENDING, State.SENT):
            found.at_backend += row.circuits
        elif row.state == State.DONE:
            found.last = max(found.last or 0.0, row.last)
            if row.lately:
                found.done += row.circuits
                found.shots += row.shots
                found.seconds += row.seconds
                found.cost += row.cost
        elif row.state == State.FAILED and row.lately:
            found.failed += row.circuits
    failed = select(recent.c.id, recent.c.executor, recent.c.backend, recent.c.error)
    for row in connection.execute(failed.where(recent.c.state == State.FAILED).order_by(recent.c.id).limit(LAST)):
        if (row.executor, row.backend) in rows:
            rows[row.executor, row.backend].error = (row.id, row.error)
    return sorted(rows.values(), key=lambda one: (one.executor, one.backend))


# Timeline


class Bar(NamedTuple):
    """A job on the timeline; times in seconds since 1970."""

    address: str
    label: str
    state: str
    started: float
    finished: float


@dataclass
class Lane:
    """The jobs of one executor on the timeline."""

    name: str
    bars: list[Bar] = field(default_factory=list)


def timeline(connection: Connection, since: float, now: float, server: bool) -> list[Lane]:
    """What ran since a time, by executors or, of a server, by backends: what ran last, if it is too much.

    Args:
        connection: of the transaction.
        since: in seconds since 1970.
        now: what runs, runs until now.
        server: whether jobs of a server are wanted, and not circuits of runs.
    """
    lanes: dict[str, Lane] = {}
    for name, bar in _server_bars(connection, since, now) if server else _bars(connection, since, now):
        lanes.setdefault(name, Lane(name)).bars.append(bar)
    return sorted(lanes.values(), key=lambda lane: lane.name)


def _bars(connection: Connection, since: float, now: float) -> Sequence[tuple[str, Bar]]:
    columns = (jobs.c.id, jobs.c.executor, jobs.c.state, jobs.c.started, jobs.c.finished, jobs.c.copied_from)
    recent = select(*columns).order_by(jobs.c.id.desc()).limit(LAST).subquery()
    query = select(recent).where(recent.c.started >= since, recent.c.copied_from.is_(None))
    rows = connection.execute(query.order_by(recent.c.id.desc()).limit(MOST_BARS)).all()
    return [
        (
            row.executor,
            Bar(f"/dashboard/circuits/{row.id}", f"circuit {row.id}", row.state, row.started, row.finished or now),
        )
        for row in rows
    ]


def _server_bars(connection: Connection, since: float, now: float) -> Sequence[tuple[str, Bar]]:
    columns = server_jobs.c
    query = select(columns.id, columns.backend, columns.status, columns.started, columns.finished)
    query = query.where(columns.started >= since).order_by(columns.number.desc()).limit(MOST_BARS)
    return [
        (
            row.backend,
            Bar(f"/dashboard/jobs/{row.id}", f"job {row.id}", row.status.lower(), row.started, row.finished or now),
        )
        for row in connection.execute(query)
    ]
