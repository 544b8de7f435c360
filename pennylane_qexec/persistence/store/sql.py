"""The store in an SQL database: opened by its URL or path, its tables brought up to date when it is opened."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, final

from sqlalchemy import URL, Connection, inspect, make_url, text
from sqlalchemy.exc import ArgumentError

from pennylane_qexec.errors import ConfigurationError, StoreError
from pennylane_qexec.persistence.store import experiments, forks, rows, workers
from pennylane_qexec.persistence.store import jobs as job_rows
from pennylane_qexec.persistence.store.base import State, Store, check_portable
from pennylane_qexec.persistence.store.database import LostStoreError, Transactions
from pennylane_qexec.persistence.store.postgresql import PostgresTransactions
from pennylane_qexec.persistence.store.records import (
    Cached,
    CacheInfo,
    Ended,
    ExperimentRun,
    Mark,
    NewExperimentRun,
    NewJob,
    Run,
    StoredExperiment,
    StoredJob,
)
from pennylane_qexec.persistence.store.sqlite import SqliteTransactions
from pennylane_qexec.persistence.store.tables import REVISION, VERSION_TABLE
from pennylane_qexec.persistence.store.validation import shown
from pennylane_qexec.persistence.store.workers import Heartbeats, new_worker
from pennylane_qexec.redaction import know_url, veiled
from pennylane_qexec.redaction.display import even_incomplete

T = TypeVar("T")


# Migrations

MIGRATIONS = Path(__file__).parent / "migrations"

_lock = threading.Lock()  # alembic knows one migration at a time in a process


def migrate(transactions: Transactions) -> None:
    """Make the tables, or change them to what this version of the package needs; nothing, if they are.

    Of several processes that open a new database at once, one makes the tables, and the others wait for it.

    Raises:
        StoreError: a later version of the package has changed them.
    """
    if transactions.once(revision) != REVISION:
        with _lock:
            transactions.once(lambda connection: _upgrade(connection, transactions.url))


def revision(connection: Connection) -> str | None:
    """What the tables are at; ``None`` if there are none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
    return found


def _upgrade(connection: Connection, url: str) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    attributes: dict[str, Any] = {"connection": connection}
    config = Config(attributes=attributes)
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    at = revision(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if at is not None and at not in known:
        raise StoreError(
            f"the store {url} was made by a later version of pennylane-qexec: its tables are at {shown(at)}, which "
            f"this version, at {REVISION!r}, does not know. Update pennylane-qexec, or give another store."
        )
    command.upgrade(config, "head")


# The store

_SLACK = 64  # the cache is measured when it may have grown by this part of its size: measuring looks at all of it


@final
class SqlStore(Store):
    """A store in SQLite or PostgreSQL; :func:`~pennylane_qexec.persistence.store.open_store` opens one.

    Args:
        transactions: the way to the database.
        clock: tells the time, in seconds since 1970.
        monotonic: a clock that never jumps, in seconds.
    """

    def __init__(self, transactions: Transactions, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._transactions = transactions
        self._clock = clock
        self._monotonic = monotonic
        self._heartbeats = Heartbeats(monotonic)
        self._worker = (os.getpid(), new_worker())
        self._lock = threading.Lock()
        self._unmeasured: int | None = None
        self._runs: dict[int, Run] = {}  # those opened
        self._run_of: dict[str, int] = {}  # of each worker
        self._beyond: int | None = None  # the run that was recorded in last, if it is past what it had before

    @property
    def url(self) -> str:
        return self._transactions.url

    @property
    def worker(self) -> str:
        if self._worker[0] != os.getpid():
            self._worker = (os.getpid(), new_worker())
        return self._worker[1]

    def open_run(self, name: str, argv: Sequence[str] = (), versions: str = "") -> Run:
        rows.checked_name(name)
        self._transactions.check()
        run = self._transactions.write(lambda c: rows.open_run(c, name, argv, versions, self._clock()))
        self._runs[run.id] = run
        return run

    def run(self, name: str) -> Run:
        return self._transactions.read(lambda c: rows.one(c, name))

    def runs(self) -> list[Run]:
        return self._transactions.read(rows.every)

    def finish_run(self, name: str) -> None:
        self.run(name)
        self._transactions.write(lambda c: rows.change(c, name, finished=True))

    def mark(self, run: int, mark: Mark) -> None:
        forks.check_mark(mark.name)
        self._transactions.check()
        self._transactions.write(lambda c: forks.add_mark(c, run, mark))

    def marks(self, run: int) -> list[Mark]:
        return self._transactions.read(lambda c: forks.marks_of(c, run))

    def fork_run(self, name: str, new: str, at: int | str | None = None) -> Run:
        rows.checked_name(new)
        self._transactions.check()
        return self._transactions.write(lambda c: forks.fork(c, name, new, at, self._clock()))

    def counts(self, run: int) -> dict[State, int]:
        found = self._transactions.read(lambda c: rows.counts(c, run))
        return {state: found[state] for state in State if state in found}

    def note_concurrent(self, run: int) -> None:
        self._transactions.write(lambda c: rows.note_concurrent(c, run))

    def record(
        self, run: int, jobs: Sequence[NewJob], worker: str | None = None, lease: float = 60.0
    ) -> list[StoredJob]:
        if not jobs:
            return []
        self._transactions.check()
        claim = None if worker is None else secrets.token_hex(8)
        beyond = self._beyond == run

        def recorded(connection: Connection) -> list[StoredJob]:
            return job_rows.record(connection, run, jobs, self._clock(), worker, claim, beyond=beyond)

        if worker is None:
            found = self._transactions.write(recorded)
        else:
            self._run_of[worker] = run
            found = self._alive(worker, lease, recorded)
        # Where a run has jobs that have not ended, it was interrupted: those that come next are likely new.
        self._beyond = run if all(job.finished is None for job in found) else None
        return found

    def claim(self, ids: Sequence[int], worker: str, lease: float) -> list[StoredJob]:
        if not ids:
            return []
        self._transactions.check()
        wanted, token = list(dict.fromkeys(ids)), secrets.token_hex(8)
        found = self._alive(worker, lease, lambda c: workers.claim(c, wanted, worker, token, self._heartbeats))
        if found:
            self._run_of[worker] = found[-1].run
        return found

    def _alive(self, worker: str, lease: float, work: Callable[[Connection], T]) -> T:
        """Give jobs to a worker, which shows that it lives in the same transaction if it has not lately."""
        now, lately = self._monotonic(), self._heartbeats.lately(worker, lease)

        def shown(connection: Connection) -> T:
            if not workers.show(connection, worker, lease, lately):
                self._check_run(connection, worker)
            return work(connection)

        found = self._transactions.write(shown)
        if not lately:
            self._heartbeats.note(worker, lease, now)
        return found

    def _check_run(self, connection: Connection, worker: str) -> None:
        """See that the run of a worker is the one that was opened: the database may have been restored meanwhile."""
        run = self._runs.get(self._run_of.get(worker, -1))
        if run is not None and not rows.is_there(connection, run):
            raise LostStoreError(
                f"the store {self.url} has the run {run.name!r} no more, which this program has open: it was deleted, "
                "or the database was replaced or restored from a backup. Nothing else is begun. Restore the database "
                "with the records of that run, and run the program again; otherwise all of it is run once more."
            )

    def renew(self, worker: str) -> bool:
        self._transactions.check()

        def renewed(connection: Connection) -> bool:
            self._check_run(connection, worker)
            return workers.renew(connection, worker)

        return self._transactions.write(renewed)

    def leave(self, worker: str) -> None:
        self._run_of.pop(worker, None)
        self._transactions.write(lambda c: workers.leave(c, worker))

    def release(self, ids: Sequence[int], worker: str) -> list[int]:
        return self._transactions.write(lambda c: job_rows.release(c, ids, worker))

    def sending(self, ids: Sequence[int], worker: str, label: str, executor: str = "", backend: str = "") -> list[int]:
        self._transactions.check()

        def noted(connection: Connection) -> list[int]:
            self._check_run(connection, worker)
            return job_rows.sending(connection, ids, worker, label, executor, backend)

        return self._transactions.write(noted, durable=True)

    def sent(self, ids: Sequence[int], worker: str, remote_id: str) -> list[int]:
        return self._transactions.write(lambda c: job_rows.sent(c, ids, worker, remote_id), durable=True)

    def done(self, ended: Sequence[Ended], worker: str) -> list[int]:
        return self._ended(State.DONE, ended, worker)

    def failed(self, ended: Sequence[Ended], worker: str) -> list[int]:
        return self._ended(State.FAILED, ended, worker)

    def cancelled(self, ended: Sequence[Ended], worker: str) -> list[int]:
        return self._ended(State.CANCELLED, ended, worker)

    def _ended(self, target: State, ended: Sequence[Ended], worker: str) -> list[int]:
        return self._transactions.write(lambda c: job_rows.ended(c, target, ended, worker, self._clock()))

    def retry(self, ids: Sequence[int], worker: str) -> list[int]:
        return self._transactions.write(lambda c: job_rows.retry(c, ids, worker))

    def refresh(self, ids: Sequence[int]) -> list[StoredJob]:
        return self._transactions.read(lambda c: job_rows.by_id(c, ids)) if ids else []

    def jobs(self, run: int | None = None, states: Sequence[State] = ()) -> Iterator[StoredJob]:
        page = self._page(None, run, states)
        while page:
            yield from page
            page = self._page(page[-1], run, states)

    def _page(self, after: StoredJob | None, run: int | None, states: Sequence[State]) -> list[StoredJob]:
        return self._transactions.read(lambda c: job_rows.page(c, after, run, states))

    def circuits(self, digests: Sequence[str]) -> dict[str, str]:
        return self._transactions.read(lambda c: job_rows.texts(c, digests))

    def record_experiment(self, name: str, run: NewExperimentRun) -> int:
        experiments.check_name(name)
        self._transactions.check()
        return self._transactions.write(lambda c: experiments.record(c, name, run, self._clock()))

    def experiments(self, after: str = "", most: int = 100) -> list[StoredExperiment]:
        return self._transactions.read(lambda c: experiments.page(c, after, most))

    def experiment_runs(self, name: str, before: int | None = None, most: int = 500) -> list[ExperimentRun]:
        return self._transactions.read(lambda c: experiments.page_of_runs(c, name, before, most))

    def experiment_circuits(self, digest: str) -> str:
        return self._transactions.read(lambda c: experiments.circuits(c, digest))

    def cache_get(self, keys: Sequence[str]) -> dict[str, str]:
        if found := self._transactions.read(lambda c: rows.get(c, keys)):
            self._transactions.write(lambda c: rows.touch(c, list(found), self._clock()))
        return found

    def cache_put(self, items: Sequence[Cached], most_bytes: int) -> None:
        fitting = list({item.key: item for item in items if rows.size(item) <= most_bytes}.values())
        if not fitting:
            return
        self._transactions.check()
        self._transactions.write(lambda c: rows.put(c, fitting, self._clock()))
        if self._may_be_full(sum(map(rows.size, fitting)), most_bytes):
            self._transactions.write(lambda c: rows.shrink(c, most_bytes))

    def _may_be_full(self, added: int, most_bytes: int) -> bool:
        with self._lock:
            first, self._unmeasured = self._unmeasured is None, (self._unmeasured or 0) + added
            if not first and self._unmeasured * _SLACK < most_bytes:
                return False
            self._unmeasured = 0
            return True

    def cache_info(self) -> CacheInfo:
        return self._transactions.read(rows.info)

    def cache_clear(self) -> int:
        return self._transactions.write(rows.clear)

    def close(self) -> None:
        self._transactions.close()

    def __reduce__(self) -> Any:
        check_portable(self.url)
        return open_store, (self.url,)

    @even_incomplete
    def __repr__(self) -> str:
        return f"<Store {self.url}>"


# Opening

_SCHEMES = {
    "sqlite": "sqlite+pysqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_TO_LOOK = 5.0  # seconds
_EXAMPLES = "Give a file such as 'vqe.db' or 'sqlite:///vqe.db', or 'postgresql+psycopg://user@host/database'"


@veiled
def open_store(
    store: str | os.PathLike[str] | Store,
    *,
    patience: float = 30.0,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> Store:
    """Open a store; a new one is made, one of an earlier version of this package is brought up to date.

    Args:
        store: the path of a SQLite file, which need not exist; ``"sqlite:///PATH"``; ``"postgresql+psycopg://..."``,
            which needs the extra ``postgresql``; or a store, which is returned.
        patience: for how long to wait while a SQLite file is locked, and to try again while a server is gone, in
            seconds.
        clock: tells the time, in seconds since 1970, where none is given to be recorded.
        monotonic: a clock that never jumps, in seconds; by it, other workers are watched.

    Returns:
        The store. It is to be closed, or used in a ``with`` statement.

    Raises:
        ConfigurationError: this names no store.
        StoreError: it cannot be opened: the message says why, and what to do.
    """
    if isinstance(store, Store):
        return store
    return SqlStore(open_transactions(store, patience), clock, monotonic)


def open_transactions(store: str | os.PathLike[str], patience: float = 30.0) -> Transactions:
    """Open the database of a store, with its tables up to date. Arguments and errors as :func:`open_store`."""
    transactions = _transactions(_url(store), patience)
    try:
        migrate(transactions)
    except BaseException:
        transactions.close()
        raise
    return transactions


def open_to_read(store: str | os.PathLike[str]) -> Store:
    """Open a store to look at it. A file may be where it cannot be written.

    Args:
        store: as for :func:`open_store`.

    Raises:
        ConfigurationError: this names no store.
        StoreError: it cannot be opened, or only an earlier version of this package could read it as it is.
    """
    try:
        return open_store(store)
    except StoreError:
        url = _url(store)
        if not url.drivername.startswith("sqlite") or str(url.database).startswith("file:"):
            raise
        transactions = SqliteTransactions(url, patience=_TO_LOOK, writes=False)
        try:
            if transactions.once(revision) == REVISION:
                return SqlStore(transactions, time.time, time.monotonic)
        except BaseException:
            transactions.close()
            raise
        transactions.close()
        raise


def _url(store: str | os.PathLike[str]) -> URL:
    if not isinstance(store, str | os.PathLike):
        raise ConfigurationError(f"store={store!r} names no store. {_EXAMPLES}.")
    given = os.fspath(store)
    know_url(given)
    if "://" not in given:
        return _of_file(given)
    scheme, _, _ = given.partition("://")
    if scheme not in _SCHEMES:
        known = ", ".join(_SCHEMES)
        raise ConfigurationError(f"{scheme!r} is no kind of store. Known: {known}. {_EXAMPLES}.")
    try:
        url = make_url(given)
    except (ArgumentError, ValueError):
        failure = ConfigurationError(f"the URL of a store that begins with {scheme + '://'!r} is none. {_EXAMPLES}.")
    else:
        url = url.set(drivername=_SCHEMES[scheme])
        return _of_file(url.database, url.query) if scheme.startswith("sqlite") else url
    raise failure  # not from the other: it shows a password


def _of_file(path: str | None, query: Mapping[str, Sequence[str] | str] | None = None) -> URL:
    if not path or ":memory:" in path:
        raise ConfigurationError(f"a store in memory would be lost with its process. {_EXAMPLES}.")
    if not path.startswith("file:"):  # absolute: the working folder may be another one when it is opened again
        path = str(Path(path).expanduser().absolute())
    return URL.create("sqlite+pysqlite", database=path, query=query or {})


def _transactions(url: URL, patience: float) -> Transactions:
    if url.drivername.startswith("sqlite"):
        return SqliteTransactions(url, patience)
    try:
        return PostgresTransactions(url, patience)
    except ModuleNotFoundError:
        raise StoreError(
            "a store in PostgreSQL needs psycopg. Install it with: pip install 'pennylane-qexec[postgresql]'"
        ) from None
