"""Executors that compute nothing, and go wrong as they were told."""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from hazards.clock import Clock
from hazards.ledger import Ledger, number_of
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.errors import NoAccessError
from pennylane_qexec.job import JobState, Result, Status

_A_MOMENT = 0.001
_HICCUPS = 3


class Trouble(StrEnum):
    """What happens to a batch."""

    BUSY = "busy"  # nothing runs
    LATER = "later"  # nothing runs, nor would it for a while
    DENIED = "denied"  # nothing runs, as the executor would not do anything
    LOST = "lost"  # it runs, and the answer is lost
    WRONG = "wrong"  # the circuit's fault
    FEW = "few"  # a result is missing
    NOTHING = "nothing"  # None in place of a result
    EXIT = "exit"  # the backend's library calls sys.exit()
    SLOW = "slow"  # it takes a moment
    HANGS = "hangs"  # it does not answer until all is over
    HICCUPS = "hiccups"  # polls fail a few times
    GONE = "gone"  # polls fail for ever
    FAILED = "failed"  # the backend says that the job failed
    SILENT = "silent"  # it says so, and gives no reason
    CANCELLED = "cancelled"  # somebody cancelled it at the backend


ANYWHERE = (
    Trouble.BUSY,
    Trouble.LATER,
    Trouble.DENIED,
    Trouble.LOST,
    Trouble.WRONG,
    Trouble.FEW,
    Trouble.NOTHING,
    Trouble.EXIT,
    Trouble.SLOW,
)
"""What can happen to any batch. For ``HANGS`` there must be a timeout."""

AT_A_QUEUE = (*ANYWHERE, Trouble.HICCUPS, Trouble.GONE, Trouble.FAILED, Trouble.SILENT, Trouble.CANCELLED)
"""What can happen to a batch at a backend with a queue."""


_NOTHING_RAN = (Trouble.BUSY, Trouble.LATER, Trouble.DENIED)
_A_WHILE = 40.0


class Busy(ConnectionRefusedError):
    """Nothing ran."""

    def __init__(self, retry_after: float | None = None) -> None:
        super().__init__("come again")
        self.retry_after = retry_after


class Lost(OSError):
    """Something ran, and its results are lost."""


class Wrong(ValueError):
    """The circuit's fault."""


class Troubles:
    """What goes wrong at one executor.

    Args:
        ledger: where arrivals are written down.
        clock: is told of work.
        script: for the number of each circuit, what happens to its batches in turn; ``WRONG`` stays.
        dead_from: the number of the batch from which on everything is lost; ``None`` for never.
        refused: numbers of circuits that it does not take.
        offline: numbers of the times that it says it is offline when it is asked.
        cents: what it charges for a circuit, and for a shot.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: Clock,
        script: dict[int, list[Trouble]],
        dead_from: int | None = None,
        refused: frozenset[int] = frozenset(),
        offline: frozenset[int] = frozenset(),
        cents: tuple[int, int] = (0, 0),
    ) -> None:
        self.ledger = ledger
        self.clock = clock
        self.refused = refused
        self.cents = cents
        self._script = {number: list(reversed(troubles)) for number, troubles in script.items()}
        self._dead_from = dead_from
        self._offline = offline
        self._asked = itertools.count()
        self._batches = itertools.count()
        self._lock = threading.Lock()

    @property
    def options(self) -> dict[str, Any]:
        """What the executor has to be given."""
        return {"cost": qexec.Cost(per_circuit=self.cents[0] / 100, per_shot=self.cents[1] / 100)}

    def status(self) -> Status:
        """What the executor says of itself."""
        return Status(online=next(self._asked) not in self._offline)

    def of(self, circuits: Sequence[QuantumScript]) -> Trouble | None:
        """What happens to a batch: the trouble of the first circuit that has some."""
        with self._lock:
            if self._dead_from is not None and next(self._batches) >= self._dead_from:
                return Trouble.LOST
            found = [self._next(number_of(circuit)) for circuit in circuits]
        return next((trouble for trouble in found if trouble is not None), None)

    def _next(self, number: int) -> Trouble | None:
        left = self._script.get(number)
        if not left:
            return None
        return left[-1] if left[-1] is Trouble.WRONG else left.pop()


def refuse(trouble: Trouble | None) -> None:
    """Raise what an executor raises that does not begin."""
    if trouble in (Trouble.BUSY, Trouble.LATER):
        raise Busy(_A_WHILE if trouble is Trouble.LATER else None)
    if trouble is Trouble.DENIED:
        raise NoAccessError("the password is wrong.")
    if trouble is Trouble.WRONG:
        raise Wrong("what is this?")


def spoilt(trouble: Trouble | None, results: list[Any]) -> list[Any]:
    """Results as they are returned."""
    if trouble is Trouble.FEW:
        return results[:-1]
    return [*results[:-1], None] if trouble is Trouble.NOTHING else results


class Blocking(qexec.Executor):
    """Answers while one waits."""

    def __init__(self, troubles: Troubles, here: bool, **options: Any) -> None:
        super().__init__(**options, **troubles.options)
        self._troubles = troubles
        self._here = here

    @property
    def local(self) -> bool:
        return self._here

    def status(self) -> Status:
        return self._troubles.status()

    def rejects(self, circuit: QuantumScript) -> str | None:
        return "does not like it" if number_of(circuit) in self._troubles.refused else None

    def ran_nothing(self, error: BaseException) -> bool:
        return isinstance(error, Busy | NoAccessError)

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        troubles, trouble = self._troubles, self._troubles.of(circuits)
        ledger = troubles.ledger
        with troubles.clock.working():
            if trouble is not None:
                ledger.count(trouble)
            ledger.arrive(self.name, circuits, troubles.cents, trouble not in _NOTHING_RAN)
            if trouble is Trouble.SLOW:
                ledger.ended.wait(_A_MOMENT)
        if trouble is Trouble.HANGS:
            ledger.ended.wait()
        refuse(trouble)
        results = ledger.execute(self.name, circuits)
        if trouble is Trouble.LOST:
            raise Lost("the line is dead")
        if trouble is Trouble.EXIT:
            sys.exit("good bye")
        return spoilt(trouble, results)


class Queued(qexec.QueuedExecutor):
    """A backend with a queue: what it was given runs when its job is polled for the second time."""

    poll_interval = 0.01

    def __init__(self, troubles: Troubles, **options: Any) -> None:
        super().__init__(**options, **troubles.options)
        self._troubles = troubles
        self._jobs: dict[str, tuple[Sequence[QuantumScript], Trouble | None]] = {}
        self._polls: dict[str, int] = {}
        self._cancelled: set[str] = set()
        self._numbers = itertools.count(1)

    def status(self) -> Status:
        return self._troubles.status()

    def rejects(self, circuit: QuantumScript) -> str | None:
        return "does not like it" if number_of(circuit) in self._troubles.refused else None

    def ran_nothing(self, error: BaseException) -> bool:
        return isinstance(error, Busy | NoAccessError)

    def submit(self, circuits: Sequence[QuantumScript]) -> str:
        troubles, trouble = self._troubles, self._troubles.of(circuits)
        ledger = troubles.ledger
        with troubles.clock.working():
            if trouble is not None:
                ledger.count(trouble)
            ledger.arrive(self.name, circuits, troubles.cents, trouble not in (*_NOTHING_RAN, Trouble.WRONG))
            if trouble is Trouble.SLOW:
                ledger.ended.wait(_A_MOMENT)
        refuse(trouble)
        job = f"{self.name}-{next(self._numbers)}"
        self._polls[job] = 0
        self._jobs[job] = (circuits, trouble)
        if trouble is Trouble.LOST:
            raise Lost("taken, but the line is dead")
        if trouble is Trouble.EXIT:
            sys.exit("good bye")
        return job

    def poll(self, job_id: str) -> JobState:
        trouble = self._jobs[job_id][1]
        self._polls[job_id] += 1
        if trouble is Trouble.GONE or (trouble is Trouble.HICCUPS and self._polls[job_id] <= _HICCUPS):
            raise Lost("nobody answers")
        if job_id in self._cancelled or trouble is Trouble.CANCELLED:
            return JobState.CANCELLED
        if trouble in (Trouble.FAILED, Trouble.SILENT):
            return JobState.FAILED
        if trouble is Trouble.HANGS and not self._troubles.ledger.ended.is_set():
            return JobState.RUNNING
        return JobState.DONE if self._polls[job_id] > 1 else JobState.RUNNING

    def fetch(self, job_id: str) -> Sequence[Result]:
        circuits, trouble = self._jobs[job_id]
        if trouble is Trouble.FAILED:
            raise qexec.errors.JobFailedError(self.name, job_id, "burnt")
        if trouble is Trouble.CANCELLED:
            raise qexec.JobCancelledError("cancelled at the backend.")
        return spoilt(trouble, self._troubles.ledger.execute(self.name, circuits))

    def cancel(self, job_id: str) -> None:
        self._troubles.ledger.count("cancelled at a backend")
        self._cancelled.add(job_id)
