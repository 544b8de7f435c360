"""What the tests of stores use: clocks set by hand, several stores in one database, jobs in any state."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from pennylane_qexec.persistence.store import Ended, NewJob, State, Store

LEASE = 30.0
_ROAD: dict[State, Sequence[str]] = {
    State.WAITING: (),
    State.CLAIMED: ("claim",),
    State.SENDING: ("claim", "sending"),
    State.SENT: ("claim", "sending", "sent"),
    State.DONE: ("claim", "done"),
    State.FAILED: ("claim", "failed"),
    State.CANCELLED: ("claim", "cancelled"),
}


class ManualClock:
    """A clock that is set by hand.

    Args:
        now: what it shows at first.
    """

    def __init__(self, now: float = 1e9) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def new_jobs(count: int, first: int = 0, key: str = "key") -> list[NewJob]:
    """Jobs to record, each with a circuit of its own."""
    return [NewJob(n, f"{key}{n}", f"digest{n}", f"circuit {n}", "simulator") for n in range(first, first + count)]


class StoreTests:
    """Tests of stores.

    Attributes:
        clock: the time as the stores of a test see it.
        monotonic: the clock without jumps as they see it.
    """

    clock: ManualClock
    monotonic: ManualClock

    @abstractmethod
    def make(self, clock: Callable[[], float], monotonic: Callable[[], float]) -> Store:
        """A store in the test's own database, which is new. Called again, another one in the same database."""

    @pytest.fixture(autouse=True)
    def _clocks(self) -> None:
        self.clock, self.monotonic = ManualClock(), ManualClock(0.0)

    @pytest.fixture
    def opened(self) -> Iterator[Callable[[], Store]]:
        """Opens stores in one database, and closes them at the end."""
        stores: list[Store] = []

        def another() -> Store:
            stores.append(self.make(self.clock, self.monotonic))
            return stores[-1]

        yield another
        for store in stores:
            store.close()

    @pytest.fixture
    def store(self, opened: Callable[[], Store]) -> Store:
        """A store."""
        return opened()

    def jobs(self, store: Store, count: int = 1, state: State = State.WAITING, worker: str = "me") -> list[int]:
        """Jobs of a run of their own, brought to a state."""
        run = store.open_run(f"run {len(store.runs())}")
        ids = [job.id for job in store.record(run.id, new_jobs(count))]
        for name in _ROAD[state]:
            change(store, name, ids, worker)
        return ids


def change(store: Store, name: str, ids: Sequence[int], worker: str) -> Sequence[Any]:
    """One change of jobs, by the name of the state that it leads to, but for ``"claim"``."""
    changes: dict[str, Callable[[], Sequence[Any]]] = {
        "claim": lambda: store.claim(ids, worker, LEASE),
        "sending": lambda: store.sending(ids, worker, "label"),
        "sent": lambda: store.sent(ids, worker, "remote"),
        "done": lambda: store.done([Ended(job, "result") for job in ids], worker),
        "failed": lambda: store.failed([Ended(job, error="broken") for job in ids], worker),
        "cancelled": lambda: store.cancelled([Ended(job) for job in ids], worker),
    }
    return changes[name]()
