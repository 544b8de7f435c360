"""The contract of stores for jobs and cached results: what is recorded, read and changed.

Also what the tests of stores use: clocks set by hand, several stores in one database, jobs in any state.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from pennylane_qexec.errors import StoreError, StoreMismatchError
from pennylane_qexec.persistence.store import Cached, Ended, NewJob, State, Store, StoredJob

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


class Caching(StoreTests):
    """What stores keep to with cached results."""

    def test_cached_results_come_back(self, opened: Callable[[], Store]) -> None:
        opened().cache_put([Cached("a", "1"), Cached("b", "π"), Cached("a", "2")], 1000)
        assert opened().cache_get(["a", "b", "c"]) == {"a": "2", "b": "π"}

    def test_the_cache_forgets_what_was_not_used_for_longest(self, store: Store) -> None:
        store.cache_put([Cached(key, "12345678") for key in "abc"], 27)
        self.clock.now -= 1000  # that the clock jumps makes nothing older
        store.cache_get(["a"])
        store.cache_put([Cached("d", "12345678")], 27)
        store.cache_get(["a"])
        store.cache_put([Cached("e", "12345678")], 27)
        assert sorted(store.cache_get(list("abcde"))) == ["a", "d", "e"]

    def test_what_is_larger_than_the_cache_is_not_cached(self, store: Store) -> None:
        store.cache_put([Cached("small", "1"), Cached("large", "1" * 100)], 50)
        assert store.cache_get(["small", "large"]) == {"small": "1"}

    def test_the_cache_says_how_much_it_has(self, store: Store) -> None:
        assert store.cache_info() == (0, 0, 0, 0.0)
        store.cache_put([Cached("a", "123"), Cached("b", "π")], 1000)
        store.cache_get(["a", "b"])
        store.cache_get(["a", "c"])
        assert store.cache_info() == (2, 7, 3, 1e9)
        assert store.cache_clear() == 2
        assert store.cache_get(["a"]) == {}


class Changes(StoreTests):
    """What stores keep to where jobs change."""

    @pytest.mark.parametrize("target", [State.SENDING, State.SENT, State.DONE, State.FAILED, State.CANCELLED])
    def test_a_job_goes_the_ways_of_the_diagram_and_no_other(self, store: Store, target: State) -> None:
        for state in State:
            (job,) = self.jobs(store, 1, state)
            if target in state.next or target is state:
                assert change(store, target, [job], "me") == [job]
            elif state is State.WAITING:  # it is nobody's
                assert change(store, target, [job], "me") == []
            else:
                with pytest.raises(StoreError, match=f"job {job} is {state}.* cannot become {target}"):
                    change(store, target, [job], "me")
            assert store.refresh([job])[0].state == (target if target in state.next else state)

    def test_of_changes_asked_for_together_none_is_made_if_one_makes_no_sense(self, store: Store) -> None:
        good, bad = self.jobs(store, 2, State.CLAIMED)
        store.done([Ended(bad, "result")], "me")
        with pytest.raises(StoreError, match="cannot become failed"):
            store.failed([Ended(good), Ended(bad)], "me")
        assert [job.state for job in store.refresh([good, bad])] == ["claimed", "done"]

    def test_a_change_of_a_job_that_is_not_there_is_an_error(self, store: Store) -> None:
        with pytest.raises(StoreError, match="no job has the id 99"):
            store.done([Ended(99)], "me")
        with pytest.raises(StoreError, match="no job has the id 99"):
            store.refresh([99])

    def test_nothing_is_changed_of_a_job_that_is_somebody_elses(self, store: Store) -> None:
        (job,) = self.jobs(store, 1, State.CLAIMED, worker="other")
        for name in ("sending", "sent", "done", "failed", "cancelled"):
            assert change(store, name, [job], "me") == []
        assert store.release([job], "me") == []
        assert store.retry([job], "me") == []
        assert store.refresh([job])[0].state == "claimed"

    def test_the_same_change_twice_is_made_once(self, store: Store) -> None:
        (job,) = self.jobs(store, 1, State.CLAIMED)
        ended = [Ended(job, "first", cost=1.0)]
        assert store.done(ended, "me") == store.done([Ended(job, "second", cost=1.0)], "me") == [job]
        (stored,) = store.refresh([job])
        assert (stored.cost, stored.error, stored.result) == (1.0, "", "first")

    def test_a_remote_job_is_known_by_its_id_and_positions(self, opened: Callable[[], Store]) -> None:
        store = opened()
        ids = self.jobs(store, 3, State.SENDING)
        assert store.sent(ids[::-1], "me", "remote-7") == ids[::-1]
        found = opened().refresh(ids)
        assert [(job.state, job.remote_id, job.remote_index) for job in found] == [
            ("sent", "remote-7", 2),
            ("sent", "remote-7", 1),
            ("sent", "remote-7", 0),
        ]

    def test_jobs_about_to_be_sent_have_the_label_that_they_are_sent_with(self, opened: Callable[[], Store]) -> None:
        store = opened()
        ids = self.jobs(store, 2, State.CLAIMED)
        assert store.sending(ids[::-1], "me", "label-7", "qpu", "paris") == ids[::-1]
        found = opened().refresh(ids)
        assert [(job.state, job.remote_id, job.remote_index, job.executor, job.backend) for job in found] == [
            ("sending", "label-7", 1, "qpu", "paris"),
            ("sending", "label-7", 0, "qpu", "paris"),
        ]

    def test_jobs_are_sent_by_the_executor_that_was_recorded_if_no_other_is_named(self, store: Store) -> None:
        (job,) = self.jobs(store, 1, State.CLAIMED)
        store.sending([job], "me", "label")
        assert store.refresh([job])[0].executor == "simulator"

    def test_the_id_of_the_backend_comes_in_place_of_the_label(self, store: Store) -> None:
        (job,) = self.jobs(store, 1, State.SENDING)
        assert store.sent([job], "me", "remote-7") == [job]
        assert store.refresh([job])[0].remote_id == "remote-7"

    def test_a_job_is_sent_with_one_label(self, store: Store) -> None:
        (job,) = self.jobs(store, 1, State.CLAIMED)
        assert store.sending([job], "me", "first") == store.sending([job], "me", "first") == [job]
        with pytest.raises(StoreError, match="is sending as 'first'"):
            store.sending([job], "me", "second")

    def test_a_job_is_sent_under_one_remote_id(self, store: Store) -> None:
        (job,) = self.jobs(store, 1, State.SENDING)
        assert store.sent([job], "me", "first") == store.sent([job], "me", "first") == [job]
        with pytest.raises(StoreError, match="is sent as 'first'"):
            store.sent([job], "me", "second")

    def test_released_jobs_wait_again(self, store: Store) -> None:
        ids = self.jobs(store, 2, State.CLAIMED)
        assert store.release(ids, "me") == ids
        assert [job.id for job in store.claim(ids, "other", LEASE)] == ids

    def test_a_failed_job_is_tried_again_and_all_attempts_cost(self, store: Store) -> None:
        (job,) = self.jobs(store, 1, State.CLAIMED)
        store.failed([Ended(job, error="no\x00good \udc80", seconds=1.0, cost=0.25)], "me")
        assert store.refresh([job])[0].error == "no\\x00good \\udc80"
        assert store.retry([job], "anybody") == [job]
        waiting = store.refresh([job])[0]
        assert (waiting.state, waiting.attempt, waiting.error, waiting.finished) == ("waiting", 2, "", None)
        store.claim([job], "me", LEASE)
        store.done([Ended(job, "result", seconds=2.0, cost=0.5, executor="other", backend="b", attempt=5)], "me")
        done = store.refresh([job])[0]
        assert (done.seconds, done.cost, done.executor, done.backend, done.attempt) == (3.0, 0.75, "other", "b", 5)

    def test_a_job_that_was_sent_in_vain_is_tried_again(self, store: Store) -> None:
        ids = self.jobs(store, 1, State.SENT) + self.jobs(store, 1, State.SENDING)
        assert store.retry(ids, "other") == []
        assert store.retry(ids, "me") == ids
        for again in store.refresh(ids):
            assert (again.state, again.remote_id, again.remote_index, again.worker) == ("waiting", None, None, None)
        assert [(job.state, job.attempt) for job in store.claim(ids, "other", LEASE)] == [("claimed", 2)] * 2

    def test_waiting_jobs_can_be_cancelled_by_anybody(self, store: Store) -> None:
        (job,) = self.jobs(store)
        assert store.cancelled([Ended(job, error="closed")], "me") == [job]
        assert store.claim([job], "other", LEASE) == []


class RecordedJobs(StoreTests):
    """What stores keep to with jobs that are recorded and read."""

    def test_recorded_jobs_wait_in_the_order_given(self, store: Store) -> None:
        run = store.open_run("vqe")
        given = [new_jobs(5)[n] for n in (3, 0, 4)]
        stored = store.record(run.id, given)
        assert [job.number for job in stored] == [3, 0, 4]
        assert {(job.state, job.attempt, job.worker, job.submitted) for job in stored} == {("waiting", 1, None, 1e9)}
        assert store.refresh([job.id for job in stored]) == stored

    def test_a_job_says_how_many_circuits_it_is(self, store: Store) -> None:
        run = store.open_run("vqe").id
        (recorded,) = store.record(run, [NewJob(3, "key", "digest", "sweep", circuits=98, rows=49)])
        assert (recorded.rows, recorded.circuits) == (49, 98)
        assert store.refresh([recorded.id]) == list(store.jobs(run)) == [recorded]

    def test_a_job_recorded_again_comes_with_its_result(self, opened: Callable[[], Store]) -> None:
        store = opened()
        (job,) = self.jobs(store, 1, State.CLAIMED)
        store.done([Ended(job, "the result", started=1.5, finished=2.5, seconds=0.1, cost=0.3)], "me")
        first, second = opened().record(store.runs()[0].id, new_jobs(2))
        assert (first.id, first.state, first.result) == (job, "done", "the result")
        assert (first.started, first.finished, first.seconds, first.cost) == (1.5, 2.5, 0.1, 0.3)
        assert (second.state, second.result) == ("waiting", None)

    def test_jobs_of_which_some_are_recorded_already_keep_those(self, store: Store) -> None:
        run = store.open_run("vqe").id
        before = store.record(run, new_jobs(5))
        assert store.record(run, new_jobs(5, first=3))[:2] == before[3:]
        assert store.record(run, [new_jobs(99)[n] for n in (98, 1, 50)])[1] == before[1]
        assert [job.number for job in store.jobs(run)] == [*range(8), 50, 98]

    def test_another_job_under_the_same_number_is_refused_and_nothing_is_recorded(self, store: Store) -> None:
        run = store.open_run("vqe").id
        store.record(run, new_jobs(2))
        with pytest.raises(StoreMismatchError) as caught:
            store.record(run, [*new_jobs(1, 2), *new_jobs(1, 1, key="other")])
        assert (caught.value.stored.key, caught.value.new.key, caught.value.run) == ("key1", "other1", run)
        assert [job.number for job in store.jobs(run)] == [0, 1]

    def test_a_job_of_no_run_is_refused(self, store: Store) -> None:
        with pytest.raises(StoreError, match="a run that does not exist"):
            store.record(17, new_jobs(1))

    def test_circuits_are_kept_once_and_given_back(self, store: Store) -> None:
        run, text = store.open_run("vqe").id, "π \U0001f600 '\"\\" * 1000
        store.record(run, [NewJob(n, "k", "same", text) for n in range(3)])
        assert store.circuits(["same", "unknown"]) == {"same": text}

    def test_thousands_of_jobs_are_listed_by_run_and_state_and_claimed_at_once(self, store: Store) -> None:
        run = store.open_run("long").id
        ids = [job.id for job in store.record(run, new_jobs(2000, first=100))]
        ids = [job.id for job in store.record(run, new_jobs(100))] + ids
        others = self.jobs(store, 2, State.DONE)
        assert [job.number for job in store.jobs(run)] == list(range(2100))
        assert [job.id for job in store.jobs(states=[State.DONE])] == others
        assert len(list(store.jobs())) == 2102
        assert list(store.jobs(run, [State.DONE, State.FAILED])) == []
        assert isinstance(next(store.jobs(run)), StoredJob)
        assert store.counts(run) == {State.WAITING: 2100}
        assert [job.id for job in store.claim(ids, "me", LEASE)] == ids
        assert [job.id for job in store.refresh(ids)] == ids
        assert len(store.circuits([f"digest{n}" for n in range(2100)])) == 2100

    def test_nothing_asked_for_is_nothing_done(self, store: Store) -> None:
        run = store.open_run("vqe").id
        assert (
            store.record(run, [])
            == store.record(run, [], "me")
            == store.claim([], "me", LEASE)
            == store.refresh([])
            == []
        )
        assert store.sent([], "me", "remote") == store.done([], "me") == store.retry([], "me") == []
        assert store.circuits([]) == store.cache_get([]) == {}
