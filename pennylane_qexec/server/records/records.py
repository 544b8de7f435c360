"""The records of servers in a store: opened by its path or URL, used by any thread."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Sequence
from typing import TypeVar, final

from sqlalchemy import Connection

from pennylane_qexec.concurrency.lifecycle import Closeable
from pennylane_qexec.persistence.store import workers
from pennylane_qexec.persistence.store.database import Transactions
from pennylane_qexec.persistence.store.sql import open_transactions
from pennylane_qexec.persistence.store.workers import Heartbeats, new_worker
from pennylane_qexec.server.records import accounts, lists, sessions
from pennylane_qexec.server.records import jobs as changes
from pennylane_qexec.server.records.types import (
    JobFilter,
    JobStatus,
    NewServerJob,
    NewServerSession,
    ServerJob,
    ServerSession,
    ServerToken,
    User,
)

T = TypeVar("T")

LEASE = 30.0
"""For how long a server that shows no heartbeat is taken to live, in seconds."""


@final
class Records(Closeable):
    """What servers record: jobs, sessions, usage and tokens. :func:`open_records` opens it.

    What a user may see is asked for in methods that take the :class:`User`: those give a user's own, and to an admin
    everybody's. The others are for servers, which see all.

    Args:
        transactions: the way to the database.
        reads: another one, for what changes nothing: of SQLite, so that nobody who looks waits for a disk to write.
        clock: tells the time, in seconds since 1970.
        monotonic: a clock that never jumps, in seconds.
        lease: for how long this server is taken to live if it does not call :meth:`renew`, in seconds.

    Attributes:
        server: the name of this server, unlike that of any other.
        lease: the same.
    """

    def __init__(
        self,
        transactions: Transactions,
        reads: Transactions,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        lease: float,
    ) -> None:
        self._transactions = transactions
        self._reads = reads
        self._clock = clock
        self._monotonic = monotonic
        self._heartbeats = Heartbeats(monotonic)
        self.server = new_worker()
        self.lease = lease
        self._shown = False  # whether others have heard of this server

    @property
    def url(self) -> str:
        """Where the store is, without secrets."""
        return self._transactions.url

    @property
    def shared(self) -> bool:
        """Whether servers on other machines may use it too."""
        return self.url.startswith("postgresql")

    # Jobs, as users see them

    def add(self, job: NewServerJob, params: bytes, most_queued: int) -> None:
        """Record a job that waits. Once this has returned, a power cut does not lose it.

        Args:
            job: the job.
            params: its payload.
            most_queued: how many jobs may wait, this one included.

        Raises:
            QueueFullError: as many wait as may.
            SessionRefusedError: its session does not take it.
        """
        now = self._clock()

        def added(connection: Connection) -> None:
            sessions.check(connection, job, now)
            changes.add(connection, job, params, most_queued, now)

        self._transactions.check()
        self._transactions.write(added, durable=True)

    def job(self, job: str, user: User) -> ServerJob | None:
        """A job; ``None`` if the user has none of this id."""
        return self._reads.read(lambda c: lists.one(c, job, user))

    def jobs(self, user: User, wanted: JobFilter) -> tuple[list[ServerJob], int]:
        """A page of the jobs that are wanted, and how many there are in all; the newest first, unless told."""
        return self._reads.read(lambda c: lists.page(c, user, wanted))

    def newest(self) -> int:
        """The number of the last job that was recorded, for a :class:`JobFilter`."""
        return self._reads.read(lists.newest)

    def params(self, job: str, user: User) -> bytes | None:
        """The payload of a job; ``None`` if the user has no such job, or it was private and has ended."""
        return self._reads.read(lambda c: lists.params(c, job, user))

    def result(self, job: str, user: User) -> str | None:
        """The result of a job; ``None`` if it has none. That of a private job is given once, and forgotten."""
        row = self._reads.read(lambda c: lists.result(c, job, user))
        if row is None:
            return None
        if row.result is None or (row.private and not self._forgotten(row.number)):
            return None
        return str(row.result)

    def _forgotten(self, number: int) -> bool:
        """Forget the result of a job. Returns whether this has forgotten it, and nobody before."""
        forgotten = False

        def forget(connection: Connection) -> None:
            nonlocal forgotten  # stays so if a connection that breaks has the transaction repeated
            forgotten = changes.forget_result(connection, number) or forgotten

        self._transactions.write(forget)
        return forgotten

    def logs(self, job: str, user: User) -> str:
        """What a job has logged; nothing, if the user has no such job."""
        row = self._reads.read(lambda c: lists.result(c, job, user))
        return "" if row is None else str(row.log)

    def cancel(self, job: str, user: User) -> JobStatus | None:
        """Cancel a job.

        Returns:
            The status that it had: ``QUEUED`` if it is cancelled now; ``RUNNING`` if it was noted that it is to be
            cancelled; a final one if there is nothing to cancel. ``None`` if the user has no such job.
        """
        now = self._clock()
        return self._transactions.write(lambda c: changes.cancel(c, job, user, now))

    def set_tags(self, job: str, user: User, tags: Sequence[str]) -> bool:
        """Replace the tags of a job. Returns whether the user has such a job."""
        return self._transactions.write(lambda c: changes.set_tags(c, job, user, tags))

    def delete(self, job: str, user: User) -> JobStatus | None:
        """Delete a job, and all that is recorded of it, but for what it used.

        Returns:
            The status that it had; if that is ``RUNNING``, nothing was deleted. ``None`` if the user has no such job.
        """
        return self._transactions.write(lambda c: changes.remove(c, job, user))

    # Jobs, as servers run them

    def queued(self, each: int) -> list[ServerJob]:
        """The oldest jobs that wait, oldest first: at most so many of each session, and of each user, at each backend.

        So nobody's jobs hide behind those of others.
        """
        return self._reads.read(lambda c: lists.queued(c, each))

    def queue_lengths(self) -> dict[str, int]:
        """How many jobs wait at each backend that has any, by their published names."""
        return self._reads.read(lists.queue_lengths)

    def claim(self, ids: Sequence[str]) -> list[ServerJob]:
        """Let this server have jobs that wait, to run them. Gives those that it got, which no other server gets."""
        if not ids:
            return []
        now, token, wanted = self._clock(), secrets.token_hex(8), list(dict.fromkeys(ids))
        self._transactions.check()
        return self._alive(lambda c: changes.claim(c, wanted, self.server, token, now))

    def payloads(self, ids: Sequence[str]) -> dict[str, bytes]:
        """The payloads of jobs that this server has claimed, by their ids."""
        return self._reads.read(lambda c: lists.payloads(c, ids, self.server))

    def watch(self, ids: Sequence[str]) -> dict[str, tuple[JobStatus, bool]]:
        """The status of many jobs, and whether they are to be cancelled; nothing of those that were deleted."""
        return self._reads.read(lambda c: lists.watch(c, ids)) if ids else {}

    def held(self) -> dict[str, bool]:
        """The ids of the jobs that this server has, and whether they are to be cancelled."""
        return self._reads.read(lambda c: lists.held(c, self.server))

    def finish(
        self,
        job: str,
        status: JobStatus,
        result: str | None = None,
        reason: str = "",
        code: int | None = None,
        seconds: float = 0.0,
        log: str = "",
    ) -> bool:
        """Record how a job has ended that this server has.

        Args:
            job: its id.
            status: what has become of it: a final one.
            result: as it is given to users.
            reason: why it failed or was cancelled.
            code: IBM's code for that.
            seconds: how long it was computed.
            log: what it has logged.

        Returns:
            Whether this is recorded; ``False`` if this server has no such job any more.
        """
        now = self._clock()
        return self._transactions.write(
            lambda c: changes.finish(c, job, self.server, status, result, reason, code, seconds, log, now)
        )

    def requeue(self, ids: Sequence[str], *, failed: bool = False) -> list[str]:
        """Let jobs wait again that this server has; those that were to be cancelled are cancelled.

        Args:
            ids: of the jobs.
            failed: whether that was an attempt, which counts.

        Returns:
            The ids of those that wait.
        """
        now = self._clock()
        return self._transactions.write(lambda c: changes.requeue(c, self.server, ids, now, failed=failed))

    def recover(self) -> list[str]:
        """Let jobs wait again that dead servers have, as one more attempt. Gives their ids."""
        now = self._clock()
        return self._transactions.write(lambda c: changes.recover(c, self.server, self._heartbeats, now))

    def renew(self) -> None:
        """Show that this server lives: to be called at least four times in a :attr:`lease`."""
        self._alive(lambda c: None, at_once=True)

    def _alive(self, work: Callable[[Connection], T], at_once: bool = False) -> T:
        """Do something in a transaction in which this server shows that it lives, if it has not lately."""
        began = self._monotonic()
        lately = not at_once and self._heartbeats.lately(self.server, self.lease)

        def shown(connection: Connection) -> T:
            workers.show(connection, self.server, self.lease, lately)
            return work(connection)

        found = self._transactions.write(shown)
        self._shown = True
        if not lately:
            self._heartbeats.note(self.server, self.lease, began)
        return found

    def expire(self, before: float) -> int:
        """Delete the jobs that ended before a time in seconds since 1970. Returns how many."""
        deleted = 0
        while some := self._transactions.write(lambda c: changes.forget(c, before)):
            deleted += some
        self._transactions.write(lambda c: sessions.forget(c, before))
        return deleted

    # Sessions

    def add_session(self, session: NewServerSession) -> None:
        """Open a session."""
        now = self._clock()
        self._transactions.check()
        self._transactions.write(lambda c: sessions.add(c, session, now), durable=True)

    def session(self, session: str, user: User) -> ServerSession | None:
        """A session; ``None`` if the user has none of this id."""
        return self._reads.read(lambda c: sessions.one(c, session, user))

    def sessions(self, user: User, limit: int = 100, offset: int = 0) -> list[ServerSession]:
        """Sessions, the newest first."""
        return self._reads.read(lambda c: sessions.several(c, user, limit, offset))

    def update_session(self, session: str, user: User, accepting_jobs: bool) -> bool:
        """Let a session take no more jobs, or some again if it is not closed. Returns whether the user has it."""
        now = self._clock()
        return self._transactions.write(lambda c: sessions.set_accepting(c, session, user, accepting_jobs, now))

    def close_session(self, session: str, user: User) -> list[str] | None:
        """Close a session and cancel its jobs that wait. Gives their ids; ``None`` if the user has no such session."""
        now = self._clock()
        return self._transactions.write(lambda c: sessions.close(c, session, user, now))

    def expire_sessions(self) -> list[str]:
        """Close the sessions whose time is over. Gives the ids of the jobs that are cancelled with them."""
        now = self._clock()
        return self._transactions.write(lambda c: sessions.expire(c, now))

    # Users

    def add_token(self, user: str, admin: bool = False) -> str:
        """Make a token, which is not recorded: this is the only time that it is shown.

        Raises:
            ConfigurationError: nobody could type this name.
        """
        accounts.check_name(user)
        token, now = accounts.new_token(), self._clock()
        self._transactions.write(lambda c: accounts.add(c, accounts.digest(token), user, admin, now), durable=True)
        return token

    def find(self, token: str) -> User | None:
        """Whose a token is; ``None`` if it is nobody's, or was revoked."""
        return self._reads.read(lambda c: accounts.find(c, token))

    def user_of(self, token: int) -> User | None:
        """Whose the token with a number is; ``None`` if it is nobody's, or was revoked."""
        return self._reads.read(lambda c: accounts.by_id(c, token))

    def revoke(self, token: int) -> bool:
        """Let the token with a number be nobody's from now on. Returns whether there is such a token."""
        now = self._clock()
        return self._transactions.write(lambda c: accounts.revoke(c, token, now), durable=True)

    def tokens(self) -> list[ServerToken]:
        """All tokens that were made, the oldest first."""
        return self._reads.read(accounts.every)

    def secret(self, name: str) -> str:
        """A secret of the servers of this store, drawn when it is first asked for: 64 hexadecimal digits."""
        return self._transactions.write(lambda c: accounts.secret(c, name), durable=True)

    def usage(self, user: User, since: float = 0.0) -> float:
        """For how many seconds the jobs of a user were computed, from the day (UTC) of a time in seconds since 1970."""
        return self._reads.read(lambda c: accounts.usage(c, user.name, since))

    def close(self) -> None:
        """Close the store; the jobs that this server has wait again."""
        shown, self._shown = self._shown, False
        try:
            if shown:
                now = self._clock()
                self._transactions.write(lambda c: changes.leave(c, self.server, now))
        finally:
            self._reads.close()
            self._transactions.close()


def open_records(
    store: str | os.PathLike[str],
    *,
    patience: float = 30.0,
    lease: float = LEASE,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
) -> Records:
    """Open the records of servers in a store; a new store is made, an earlier one is brought up to date.

    Args:
        store: the path of a SQLite file; ``"sqlite:///PATH"``; or ``"postgresql+psycopg://..."``.
        patience: for how long to wait for a database that is locked or gone, in seconds.
        lease: for how long this server is taken to live if it shows no heartbeat, in seconds.
        clock: tells the time, in seconds since 1970.
        monotonic: a clock that never jumps, in seconds; by it, other servers are watched.

    Raises:
        ConfigurationError: this names no store.
        StoreError: it cannot be opened: the message says why, and what to do.
    """
    transactions = open_transactions(store, patience)
    one_connection = transactions.url.startswith("sqlite")
    reads = open_transactions(store, patience) if one_connection else transactions
    return Records(transactions, reads, clock, monotonic, lease)
