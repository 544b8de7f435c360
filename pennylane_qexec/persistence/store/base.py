"""The contract of stores, and the life of a job in one picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum

from pennylane_qexec.concurrency.lifecycle import Closeable
from pennylane_qexec.errors import ConfigurationError
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
from pennylane_qexec.redaction import SHOWN, scrub


class State(StrEnum):
    """Where a stored job is."""

    WAITING = "waiting"
    CLAIMED = "claimed"
    SENDING = "sending"
    SENT = "sent"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def next(self) -> frozenset[State]:
        """The states to which a job may go from here."""
        return CHANGES[self]

    @property
    def in_words(self) -> str:
        """What people are told. What a program has claimed runs, or waits for an executor."""
        if self in (State.SENDING, State.SENT):
            return "at backends"
        return "waiting" if self is State.CLAIMED else str(self)


CHANGES: Mapping[State, frozenset[State]] = {
    State.WAITING: frozenset({State.CLAIMED, State.CANCELLED}),
    State.CLAIMED: frozenset(set(State) - {State.CLAIMED}),
    State.SENDING: frozenset(set(State) - {State.SENDING, State.CLAIMED, State.DONE}),
    State.SENT: frozenset({State.WAITING, State.DONE, State.FAILED, State.CANCELLED}),
    State.DONE: frozenset(),
    State.FAILED: frozenset({State.WAITING}),
    State.CANCELLED: frozenset({State.WAITING}),
}
"""The life of a job: from each state, where it may go. Whatever else is tried is an error.

::

                  ┌────────────────────┐
    WAITING ──> CLAIMED ──> SENDING ──> SENT
                  │ DONE                │ DONE
      from each of these: FAILED, CANCELLED (from WAITING: CANCELLED only)
      to WAITING: CLAIMED (given back, or its worker is dead); and, to be tried again,
                  CLAIMED, SENDING, SENT, FAILED, CANCELLED
"""


def sources(target: State) -> list[str]:
    """The states from which a job may go to another one."""
    return sorted(str(state) for state, targets in CHANGES.items() if target in targets)


class Store(Closeable, ABC):
    """Records of runs, jobs, circuits and cached results that outlive the process.

    Circuits and results are texts, which the store does not read. Methods take and give many jobs at once, may be
    called by several threads, and return when what they write is in the database. What is written for ``sending`` and
    ``sent`` is safe from a power cut too.

    A job belongs to the worker that claimed it. A change is made if the job belongs to the worker that asks, and
    the change is in :data:`CHANGES`; making it twice is making it once. Methods that change jobs return the ids of
    those that are now as was asked for; the others belong to somebody else by now.

    Methods that begin something (:meth:`open_run`, :meth:`record`, :meth:`claim`, :meth:`renew` and :meth:`sending`),
    and :meth:`record_experiment`, refuse to if the database is not the one any more that the next program would open:
    it was deleted, moved, replaced or restored from a backup. Those that note how something ended write as long as
    they can.

    All methods raise :class:`~pennylane_qexec.StoreError` if the database fails, and where it says so.
    """

    @property
    @abstractmethod
    def url(self) -> str:
        """Where it is, as :func:`open_store` takes it, with ``***`` for a password."""

    @property
    @abstractmethod
    def worker(self) -> str:
        """A name for this process, unlike that of any other, to claim jobs with."""

    @abstractmethod
    def open_run(self, name: str, argv: Sequence[str] = (), versions: str = "") -> Run:
        """Begin a run, or go on with it.

        Args:
            name: of the run.
            argv: of the program; that of a run that is there already stays.
            versions: a text that says with what versions of packages the run was begun; stays too.

        Raises:
            ConfigurationError: nobody could type this name.
        """

    @abstractmethod
    def run(self, name: str) -> Run:
        """A run.

        Raises:
            StoreError: there is none of this name.
        """

    @abstractmethod
    def runs(self) -> list[Run]:
        """All runs, the one opened last first."""

    @abstractmethod
    def finish_run(self, name: str) -> None:
        """Note that a run came to its end.

        Raises:
            StoreError: there is none of this name.
        """

    @abstractmethod
    def mark(self, run: int, mark: Mark) -> None:
        """Name a place in a run, at which it can be forked. A mark that the run has stays as it is.

        Args:
            run: id of the run.
            mark: the place.

        Raises:
            ConfigurationError: nobody could type this name, or it is a number.
        """

    @abstractmethod
    def marks(self, run: int) -> list[Mark]:
        """The marks of a run, in the order of their places.

        Args:
            run: id of the run.
        """

    @abstractmethod
    def fork_run(self, name: str, new: str, at: int | str | None = None) -> Run:
        """Begin a run that has all that another one had recorded up to some place, as if it had run it itself.

        What was done there is copied with its results, and is not run or paid again. Circuits without a result run in
        the new run when its program asks for them. The run that is forked stays as it is, and may go on.

        Args:
            name: of the run that is forked.
            new: name of the new run.
            at: how many circuits come along, or a mark that the run has; default: all. Circuits that were recorded
                together, as the sweep of a gradient is, are not divided: they come along if all of them are wanted.

        Returns:
            The new run.

        Raises:
            ConfigurationError: this cannot be the name of a new run, or there is nothing that could come along.
            StoreError: there is no run or mark of this name; there is a run of the new name; or circuits that would
                come along are at a backend now.
        """

    @abstractmethod
    def counts(self, run: int) -> dict[State, int]:
        """How many jobs a run has in each state that occurs."""

    @abstractmethod
    def note_concurrent(self, run: int) -> None:
        """Note that jobs of a run were asked for by several threads.

        Args:
            run: id of the run.

        Raises:
            StoreError: there is none of this id.
        """

    @abstractmethod
    def record(
        self, run: int, jobs: Sequence[NewJob], worker: str | None = None, lease: float = 60.0
    ) -> list[StoredJob]:
        """Record jobs. One that the run has under the same number already is left as it is.

        Args:
            run: id of the run.
            jobs: the jobs, with different numbers.
            worker: who claims those that this call records, in one go; default: they wait.
            lease: as for :meth:`claim`, in seconds.

        Returns:
            The jobs as they are stored, in the order given: with results, if they had been recorded and done before.

        Raises:
            StoreMismatchError: the run has a job of another key under one of the numbers. None is recorded.
        """

    @abstractmethod
    def claim(self, ids: Sequence[int], worker: str, lease: float) -> list[StoredJob]:
        """Claim jobs, so that nobody else runs them.

        Those can be claimed that wait, and those whose worker is dead: see :meth:`renew`. A job that its dead worker
        had sent, or was about to send, keeps its state: ask its backend what became of it.

        Args:
            ids: of the jobs.
            worker: who claims them.
            lease: seconds after which the worker counts as dead if it does not renew.

        Returns:
            The jobs that were claimed by this call.
        """

    @abstractmethod
    def renew(self, worker: str) -> bool:
        """Show that a worker lives. To be called several times in each lease.

        No time is compared with the time of another clock: others watch whether a worker has renewed, and take it for
        dead when it has not for the length of its lease by their own clock, one that never jumps. A process of the
        same machine is also known to be dead when it is not there any more.

        Returns:
            Whether the worker still has its jobs. If not, others have taken it for dead: it must begin no further job
            without claiming it again.
        """

    @abstractmethod
    def leave(self, worker: str) -> None:
        """Give back all of a worker's jobs, as if it were dead. To be called when it ends."""

    @abstractmethod
    def release(self, ids: Sequence[int], worker: str) -> list[int]:
        """Give back claimed jobs: they wait again."""

    @abstractmethod
    def sending(self, ids: Sequence[int], worker: str, label: str, executor: str = "", backend: str = "") -> list[int]:
        """Note, safe from a power cut, that claimed jobs are about to be sent to a backend.

        Jobs that are left in this state may have reached their backend or not: nobody claims them as waiting ones.

        Args:
            ids: of the jobs, in the order in which the remote job will have them.
            worker: who sends them.
            label: by which the remote job can be found; kept as the jobs' ``remote_id`` until :meth:`sent` gives that.
            executor: name of the executor that sends them, if it is another one than recorded.
            backend: name of the backend, if it is another one than recorded.
        """

    @abstractmethod
    def sent(self, ids: Sequence[int], worker: str, remote_id: str) -> list[int]:
        """Note, safe from a power cut, the backend's id of the job that claimed jobs were sent in.

        Args:
            ids: of the jobs, in the order in which the remote job has them.
            worker: who sent them.
            remote_id: the backend's id.
        """

    @abstractmethod
    def done(self, ended: Sequence[Ended], worker: str) -> list[int]:
        """Record results."""

    @abstractmethod
    def failed(self, ended: Sequence[Ended], worker: str) -> list[int]:
        """Record failures."""

    @abstractmethod
    def cancelled(self, ended: Sequence[Ended], worker: str) -> list[int]:
        """Record that jobs were given up: own ones, and waiting ones."""

    @abstractmethod
    def retry(self, ids: Sequence[int], worker: str) -> list[int]:
        """Let jobs wait again, for one more attempt: failed and cancelled ones, and own ones that were sent in vain."""

    @abstractmethod
    def refresh(self, ids: Sequence[int]) -> list[StoredJob]:
        """Jobs as they are now, with their results, in the order given.

        Raises:
            StoreError: there is no job with one of the ids.
        """

    @abstractmethod
    def jobs(self, run: int | None = None, states: Sequence[State] = ()) -> Iterator[StoredJob]:
        """Jobs, without their results, fetched page by page: those of a run in the order of their numbers.

        Args:
            run: id of a run; default: those of all runs, in the order in which they were recorded.
            states: only those in one of these states; default: all.
        """

    @abstractmethod
    def circuits(self, digests: Sequence[str]) -> dict[str, str]:
        """The texts of circuits, by their digests."""

    @abstractmethod
    def record_experiment(self, name: str, run: NewExperimentRun) -> int:
        """Record a run of an experiment; of one that is recorded already, by its key, its end and what came back.

        The latest 10,000 runs of an experiment stay.

        Args:
            name: of the experiment.
            run: the run.

        Returns:
            The id of the run.

        Raises:
            ConfigurationError: nobody could type this name, or it has a secret in it.
        """

    @abstractmethod
    def experiments(self, after: str = "", most: int = 100) -> list[StoredExperiment]:
        """A page of the experiments that were recorded, by name.

        Args:
            after: the name of the last one of the page before.
            most: how many.
        """

    @abstractmethod
    def experiment_runs(self, name: str, before: int | None = None, most: int = 500) -> list[ExperimentRun]:
        """A page of the runs of an experiment, the latest first.

        Args:
            name: of the experiment.
            before: the id of the last one of the page before; default: the latest.
            most: how many.

        Raises:
            StoreError: there is no experiment of this name.
        """

    @abstractmethod
    def experiment_circuits(self, digest: str) -> str:
        """The circuits of a run of an experiment, as they were recorded.

        Raises:
            StoreError: there are none of this digest.
        """

    @abstractmethod
    def cache_get(self, keys: Sequence[str]) -> dict[str, str]:
        """The results that are cached under some of the keys."""

    @abstractmethod
    def cache_put(self, items: Sequence[Cached], most_bytes: int) -> None:
        """Cache results, and forget those that were not used for longest.

        Args:
            items: keys and results. What is cached already under a key is replaced.
            most_bytes: how many bytes of text are kept. It is checked whenever this process has cached a 64th of it.
        """

    @abstractmethod
    def cache_info(self) -> CacheInfo:
        """How much is cached."""

    @abstractmethod
    def cache_clear(self) -> int:
        """Forget all cached results. Returns how many there were."""


def check_portable(store: object) -> None:
    """Refuse to send a password to another process, in what names a store.

    Args:
        store: a URL, or anything else that may stand for a store.

    Raises:
        ConfigurationError: the URL has a password, or ``***`` in its place.
    """
    if isinstance(store, str) and (SHOWN in store or scrub(store) != store):
        raise ConfigurationError(
            f"the store {scrub(store)} was opened with a password, and is not sent to another process: leave the "
            "password out of the URL, and put it into ~/.pgpass."
        )
