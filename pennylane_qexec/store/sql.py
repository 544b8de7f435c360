"""The store in an SQL database."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import final

from pennylane_qexec.store import cache_rows, changes, claims, job_rows, run_rows
from pennylane_qexec.store.base import State, Store
from pennylane_qexec.store.gate import Gate
from pennylane_qexec.store.records import Cached, CacheInfo, Ended, NewJob, Run, StoredJob
from pennylane_qexec.store.workers import Watch, new_worker

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
        self._watch = Watch(monotonic)
        self._worker = (os.getpid(), new_worker())
        self._lock = threading.Lock()
        self._unmeasured: int | None = None

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
        return self._gate.write(lambda c: run_rows.open_run(c, name, argv, versions, self._clock()))

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

    def record(self, run: int, jobs: Sequence[NewJob]) -> list[StoredJob]:
        return self._gate.write(lambda c: job_rows.record(c, run, jobs, self._clock())) if jobs else []

    def claim(self, ids: Sequence[int], worker: str, lease: float) -> list[StoredJob]:
        wanted, token = list(dict.fromkeys(ids)), secrets.token_hex(8)
        return self._gate.write(lambda c: claims.claim(c, wanted, worker, lease, token, self._watch)) if ids else []

    def renew(self, worker: str) -> bool:
        return self._gate.write(lambda c: claims.renew(c, worker))

    def leave(self, worker: str) -> None:
        self._gate.write(lambda c: claims.leave(c, worker))

    def release(self, ids: Sequence[int], worker: str) -> list[int]:
        return self._gate.write(lambda c: changes.release(c, ids, worker))

    def sending(self, ids: Sequence[int], worker: str) -> list[int]:
        return self._gate.write(lambda c: changes.sending(c, ids, worker), durable=True)

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

    def __repr__(self) -> str:
        return f"<Store {self.url}>"
