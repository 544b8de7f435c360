"""The store in an SQL database."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar, final

from sqlalchemy import Connection

from pennylane_qexec.shown import even_incomplete
from pennylane_qexec.store import cache_rows, changes, claims, job_rows, run_rows
from pennylane_qexec.store.base import State, Store, check_portable
from pennylane_qexec.store.gate import Gate, LostStoreError
from pennylane_qexec.store.job_rows import Fresh
from pennylane_qexec.store.records import Cached, CacheInfo, Ended, NewJob, Run, StoredJob
from pennylane_qexec.store.workers import Beats, Watch, new_worker

T = TypeVar("T")

_SLACK = 64  # the cache is measured when it may have grown by this part of its size: measuring looks at all of it


@final
class SqlStore(Store):
    """A store in SQLite or PostgreSQL; :func:`~pennylane_qexec.store.open_store` opens one.

    Args:
        gate: the way to the database.
        clock: tells the time, in seconds since 1970.
        monotonic: a clock that never jumps, in seconds.
    """

    def __init__(self, gate: Gate, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._gate = gate
        self._clock = clock
        self._monotonic = monotonic
        self._watch = Watch(monotonic)
        self._beats = Beats(monotonic)
        self._worker = (os.getpid(), new_worker())
        self._lock = threading.Lock()
        self._unmeasured: int | None = None
        self._runs: dict[int, Run] = {}  # those opened
        self._run_of: dict[str, int] = {}  # of each worker
        self._beyond: int | None = None  # the run that was recorded in last, if it is past what it had before

    @property
    def url(self) -> str:
        return self._gate.url

    @property
    def worker(self) -> str:
        if self._worker[0] != os.getpid():
            self._worker = (os.getpid(), new_worker())
        return self._worker[1]

    def open_run(self, name: str, argv: Sequence[str] = (), versions: str = "") -> Run:
        run_rows.checked_name(name)
        self._gate.check()
        run = self._gate.write(lambda c: run_rows.open_run(c, name, argv, versions, self._clock()))
        self._runs[run.id] = run
        return run

    def run(self, name: str) -> Run:
        return self._gate.read(lambda c: run_rows.one(c, name))

    def runs(self) -> list[Run]:
        return self._gate.read(run_rows.every)

    def finish_run(self, name: str) -> None:
        self.run(name)
        self._gate.write(lambda c: run_rows.change(c, name, finished=True))

    def counts(self, run: int) -> dict[State, int]:
        found = self._gate.read(lambda c: run_rows.counts(c, run))
        return {state: found[state] for state in State if state in found}

    def note_concurrent(self, run: int) -> None:
        self._gate.write(lambda c: run_rows.note_concurrent(c, run))

    def record(
        self, run: int, jobs: Sequence[NewJob], worker: str | None = None, lease: float = 60.0
    ) -> list[StoredJob]:
        if not jobs:
            return []
        self._gate.check()
        how = () if worker is None else (str(State.CLAIMED), worker, secrets.token_hex(8))
        beyond = self._beyond == run

        def recorded(connection: Connection) -> list[StoredJob]:
            return job_rows.record(connection, run, jobs, Fresh(self._clock(), *how), beyond=beyond)

        if worker is None:
            found = self._gate.write(recorded)
        else:
            self._run_of[worker] = run
            found = self._alive(worker, lease, recorded)
        # Where a run has jobs that have not ended, it was interrupted: those that come next are likely new.
        self._beyond = run if all(job.finished is None for job in found) else None
        return found

    def claim(self, ids: Sequence[int], worker: str, lease: float) -> list[StoredJob]:
        if not ids:
            return []
        self._gate.check()
        wanted, token = list(dict.fromkeys(ids)), secrets.token_hex(8)
        found = self._alive(worker, lease, lambda c: claims.claim(c, wanted, worker, token, self._watch))
        if found:
            self._run_of[worker] = found[-1].run
        return found

    def _alive(self, worker: str, lease: float, work: Callable[[Connection], T]) -> T:
        """Give jobs to a worker, whose heart beats in the same transaction if it has not lately."""
        now, lately = self._monotonic(), self._beats.lately(worker, lease)

        def shown(connection: Connection) -> T:
            if not claims.show(connection, worker, lease, lately):
                self._check_run(connection, worker)
            return work(connection)

        found = self._gate.write(shown)
        if not lately:
            self._beats.note(worker, lease, now)
        return found

    def _check_run(self, connection: Connection, worker: str) -> None:
        """See that the run of a worker is the one that was opened: the database may have been restored meanwhile."""
        run = self._runs.get(self._run_of.get(worker, -1))
        if run is not None and not run_rows.is_there(connection, run):
            raise LostStoreError(
                f"the store {self.url} has the run {run.name!r} no more, which this program has open: it was deleted, "
                "or the database was replaced or restored from a backup. Nothing else is begun. Restore the database "
                "with the records of that run, and run the program again; otherwise all of it is run once more."
            )

    def renew(self, worker: str) -> bool:
        self._gate.check()

        def renewed(connection: Connection) -> bool:
            self._check_run(connection, worker)
            return claims.renew(connection, worker)

        return self._gate.write(renewed)

    def leave(self, worker: str) -> None:
        self._run_of.pop(worker, None)
        self._gate.write(lambda c: claims.leave(c, worker))

    def release(self, ids: Sequence[int], worker: str) -> list[int]:
        return self._gate.write(lambda c: changes.release(c, ids, worker))

    def sending(self, ids: Sequence[int], worker: str, label: str, executor: str = "", backend: str = "") -> list[int]:
        self._gate.check()

        def noted(connection: Connection) -> list[int]:
            self._check_run(connection, worker)
            return changes.sending(connection, ids, worker, label, executor, backend)

        return self._gate.write(noted, durable=True)

    def sent(self, ids: Sequence[int], worker: str, remote_id: str) -> list[int]:
        return self._gate.write(lambda c: changes.sent(c, ids, worker, remote_id), durable=True)

    def done(self, ended: Sequence[Ended], worker: str) -> list[int]:
        return self._ended(State.DONE, ended, worker)

    def failed(self, ended: Sequence[Ended], worker: str) -> list[int]:
        return self._ended(State.FAILED, ended, worker)

    def cancelled(self, ended: Sequence[Ended], worker: str) -> list[int]:
        return self._ended(State.CANCELLED, ended, worker)

    def _ended(self, target: State, ended: Sequence[Ended], worker: str) -> list[int]:
        return self._gate.write(lambda c: changes.ended(c, target, ended, worker, self._clock()))

    def retry(self, ids: Sequence[int], worker: str) -> list[int]:
        return self._gate.write(lambda c: changes.retry(c, ids, worker))

    def refresh(self, ids: Sequence[int]) -> list[StoredJob]:
        return self._gate.read(lambda c: job_rows.by_id(c, ids)) if ids else []

    def jobs(self, run: int | None = None, states: Sequence[State] = ()) -> Iterator[StoredJob]:
        page = self._page(None, run, states)
        while page:
            yield from page
            page = self._page(page[-1], run, states)

    def _page(self, after: StoredJob | None, run: int | None, states: Sequence[State]) -> list[StoredJob]:
        return self._gate.read(lambda c: job_rows.page(c, after, run, states))

    def circuits(self, digests: Sequence[str]) -> dict[str, str]:
        return self._gate.read(lambda c: job_rows.texts(c, digests))

    def cache_get(self, keys: Sequence[str]) -> dict[str, str]:
        if found := self._gate.read(lambda c: cache_rows.get(c, keys)):
            self._gate.write(lambda c: cache_rows.touch(c, list(found), self._clock()))
        return found

    def cache_put(self, items: Sequence[Cached], most_bytes: int) -> None:
        fitting = list({item.key: item for item in items if cache_rows.size(item) <= most_bytes}.values())
        if not fitting:
            return
        self._gate.check()
        self._gate.write(lambda c: cache_rows.put(c, fitting, self._clock()))
        if self._may_be_full(sum(map(cache_rows.size, fitting)), most_bytes):
            self._gate.write(lambda c: cache_rows.shrink(c, most_bytes))

    def _may_be_full(self, added: int, most_bytes: int) -> bool:
        with self._lock:
            first, self._unmeasured = self._unmeasured is None, (self._unmeasured or 0) + added
            if not first and self._unmeasured * _SLACK < most_bytes:
                return False
            self._unmeasured = 0
            return True

    def cache_info(self) -> CacheInfo:
        return self._gate.read(cache_rows.info)

    def cache_clear(self) -> int:
        return self._gate.write(cache_rows.clear)

    def close(self) -> None:
        self._gate.close()

    def __reduce__(self) -> Any:
        check_portable(self.url)
        return _opened, (self.url,)

    @even_incomplete
    def __repr__(self) -> str:
        return f"<Store {self.url}>"


def _opened(url: str) -> Store:
    from pennylane_qexec.store.opening import open_store

    return open_store(url)
