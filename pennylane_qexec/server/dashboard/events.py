"""Tells browsers of changes of the store, by server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, final

from sqlalchemy import Connection, func, select

from pennylane_qexec.errors import StoreError
from pennylane_qexec.persistence.store.database import Transactions
from pennylane_qexec.persistence.store.tables import experiment_runs, jobs, runs, server_jobs

_PAUSE = 0.5
"""Seconds between two looks at the store, while a browser waits for changes."""

_STILL = 15.0
"""Seconds after which a browser is told that nothing has changed, so that one that has gone is noticed."""


def _circuits(connection: Connection) -> Any:
    """What changes with every circuit of a run that is recorded or changes its state: cheap, however many there are."""
    open_jobs = select(jobs.c.state, func.count()).where(jobs.c.finished.is_(None)).group_by(jobs.c.state)
    return (
        connection.scalar(select(func.max(jobs.c.id))),
        tuple(sorted(tuple(row) for row in connection.execute(open_jobs))),
        tuple(connection.execute(select(func.count(), func.max(runs.c.opened))).one()),
    )


def _jobs(connection: Connection) -> Any:
    """The same for the jobs of a server."""
    pending = select(server_jobs.c.status, func.count()).where(server_jobs.c.finished.is_(None))
    return (
        connection.scalar(select(func.max(server_jobs.c.number))),
        tuple(sorted(tuple(row) for row in connection.execute(pending.group_by(server_jobs.c.status)))),
    )


def _experiments(connection: Connection) -> Any:
    """The same for the runs of experiments."""
    return connection.scalar(select(func.max(experiment_runs.c.id)))


KINDS: dict[str, Callable[[Connection], Any]] = {"circuits": _circuits, "jobs": _jobs, "experiments": _experiments}
"""The names of the events, and what changes with each."""


def _event(kind: str, count: int) -> str:
    return f"event: {kind}\ndata: {count}\n\n"


@final
class Events:
    """Looks at the store while anybody listens, once for all.

    Args:
        reads: the way to the database.
    """

    def __init__(self, reads: Transactions) -> None:
        self._reads = reads
        self._listeners: set[asyncio.Event] = set()
        self._versions: dict[str, Any] = {}
        self._counts = dict.fromkeys(KINDS, 0)
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    async def stream(self, pause: float) -> AsyncIterator[str]:
        """The events for one browser, from now on, until it goes or the application ends.

        It begins with one of each kind: something may have changed since the page was made, or the connection was lost.

        Args:
            pause: at least so many seconds between two events of a kind.
        """
        changed = asyncio.Event()
        self._listeners.add(changed)
        try:
            if self._task is None or self._task.done():
                self._versions = await self._now()
                self._task = asyncio.create_task(self._look())
            yield "retry: 2000\n\n"
            known = dict(self._counts)
            for kind in KINDS:
                yield _event(kind, known[kind])
            while not self._closed:
                try:
                    await asyncio.wait_for(changed.wait(), _STILL)
                except TimeoutError:
                    yield ": nothing new\n\n"
                    continue
                changed.clear()
                for kind in [kind for kind in KINDS if self._counts[kind] != known[kind]]:
                    known[kind] = self._counts[kind]
                    yield _event(kind, known[kind])
                if pause > _PAUSE:
                    await asyncio.sleep(pause)
        finally:
            self._listeners.discard(changed)

    def close(self) -> None:
        """Let all browsers go, so that the application can end."""
        self._closed = True
        for changed in self._listeners:
            changed.set()

    async def _look(self) -> None:
        while self._listeners and not self._closed:
            await asyncio.sleep(_PAUSE)
            now = await self._now()
            changed = [kind for kind in KINDS if now.get(kind) != self._versions.get(kind)]
            self._versions = now
            for kind in changed:
                self._counts[kind] += 1
            for listener in self._listeners if changed else ():
                listener.set()

    async def _now(self) -> dict[str, Any]:
        def look(connection: Connection) -> dict[str, Any]:
            return {kind: version(connection) for kind, version in KINDS.items()}

        try:
            return await asyncio.to_thread(self._reads.read, look)
        except StoreError:
            return self._versions  # it may come back
