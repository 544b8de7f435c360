"""The contract of stores where several workers want the same jobs, and of runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pennylane_qexec.errors import StoreError
from pennylane_qexec.persistence.store import Ended, State, Store
from pennylane_qexec.testing.stores.jobs import LEASE, StoreTests, new_jobs


class Claims(StoreTests):
    """What stores keep to where several workers want the same jobs."""

    def test_a_job_is_claimed_once(self, opened: Callable[[], Store]) -> None:
        one, other = opened(), opened()
        ids = self.jobs(one, 10)
        first = one.claim(ids[:6], "one", LEASE)
        second = other.claim(ids, "other", LEASE)
        assert [job.id for job in first] == ids[:6]
        assert [job.id for job in second] == ids[6:]
        assert {(job.state, job.worker) for job in second} == {("claimed", "other")}
        assert other.claim(ids, "other", LEASE) == []

    def test_jobs_that_a_worker_records_are_its_own_at_once(self, opened: Callable[[], Store]) -> None:
        store, other = opened(), opened()
        recorded = store.record(store.open_run("vqe").id, new_jobs(3), "me", LEASE)
        ids = [job.id for job in recorded]
        assert {(job.state, job.worker) for job in recorded} == {("claimed", "me")}
        assert store.refresh(ids) == recorded
        assert other.claim(ids, "other", LEASE) == []
        self.monotonic.now += LEASE
        assert [job.id for job in other.claim(ids[:2], "other", LEASE)] == ids[:2]
        assert store.done([Ended(ids[0], "too late")], "me") == []

    def test_jobs_that_were_recorded_before_stay_as_they_are(self, opened: Callable[[], Store]) -> None:
        store, other = opened(), opened()
        run = store.open_run("vqe").id
        done, _, _ = other.record(run, new_jobs(3), "other", LEASE)
        other.done([Ended(done.id, "result")], "other")
        store.record(run, new_jobs(1, first=3))
        found = store.record(run, new_jobs(5), "me", LEASE)
        assert [(job.state, job.worker, job.result) for job in found] == [
            ("done", "other", "result"),
            ("claimed", "other", None),
            ("claimed", "other", None),
            ("waiting", None, None),
            ("claimed", "me", None),
        ]

    def test_of_workers_that_record_the_same_jobs_at_once_each_job_gets_one(self, opened: Callable[[], Store]) -> None:
        stores = {name: opened() for name in "abcd"}
        run = stores["a"].open_run("vqe").id

        def work(name: str) -> list[int]:
            found = [stores[name].record(run, new_jobs(10, first), name, LEASE) for first in range(0, 40, 10)]
            return [job.number for jobs in found for job in jobs if job.worker == name]

        with ThreadPoolExecutor(4) as pool:
            owned = list(itertools.chain(*pool.map(work, stores)))
        assert sorted(owned) == list(range(40))

    def test_a_worker_that_was_taken_for_dead_lives_again_when_it_gets_jobs(self, opened: Callable[[], Store]) -> None:
        store, other = opened(), opened()
        run = store.open_run("vqe").id
        store.record(run, new_jobs(1), "me", LEASE)
        other.leave("me")
        assert not store.renew("me")
        (job,) = store.record(run, new_jobs(1, first=1), "me", LEASE)
        assert store.renew("me")
        assert other.claim([job.id], "other", LEASE) == []

    def test_a_worker_that_gets_jobs_has_a_whole_lease_again(self, opened: Callable[[], Store]) -> None:
        store, other = opened(), opened()
        run = store.open_run("vqe").id
        (first,) = store.record(run, new_jobs(1), "me", LEASE)
        other.claim([first.id], "other", LEASE)  # from now on, other watches
        self.monotonic.now += LEASE - 1
        (second,) = store.record(run, new_jobs(1, first=1), "me", LEASE)
        assert other.claim([first.id, second.id], "other", LEASE) == []
        self.monotonic.now += LEASE - 1
        assert other.claim([first.id, second.id], "other", LEASE) == []

    def test_what_threads_do_at_once_is_done_once(self, store: Store) -> None:
        run, ids = store.open_run("vqe").id, []

        def work(_: int) -> list[int]:
            mine = [job.id for job in store.record(run, new_jobs(40))]
            claimed = [job.id for job in store.claim(mine, "me", LEASE)]
            return store.done([Ended(job, str(job)) for job in claimed], "me")

        with ThreadPoolExecutor(4) as pool:
            ids = list(itertools.chain(*pool.map(work, range(4))))
        assert sorted(ids) == sorted(job.id for job in store.jobs(run))
        assert [job.result for job in store.refresh(ids)] == [str(job) for job in ids]

    def test_jobs_of_a_worker_that_does_not_renew_go_to_others_after_its_lease(
        self, opened: Callable[[], Store]
    ) -> None:
        store, other = opened(), opened()
        ids = self.jobs(store, 2, State.CLAIMED)
        assert other.claim(ids, "other", LEASE) == []  # from now on, other watches
        self.monotonic.now += LEASE - 0.1
        assert other.claim(ids, "other", LEASE) == []
        self.monotonic.now += 0.2
        assert [job.id for job in other.claim(ids, "other", LEASE)] == ids
        assert not store.renew("me")
        assert store.done([Ended(ids[0], "too late")], "me") == []

    def test_jobs_of_a_worker_that_renews_stay_with_it(self, opened: Callable[[], Store]) -> None:
        store, other = opened(), opened()
        ids = self.jobs(store, 2, State.CLAIMED)
        for _ in range(5):
            assert other.claim(ids, "other", LEASE) == []
            self.monotonic.now += LEASE - 1
            assert store.renew("me")
        assert store.done([Ended(ids[0], "in time")], "me") == [ids[0]]

    @pytest.mark.parametrize("jump", [1e9, -1e9])
    def test_a_clock_that_jumps_takes_no_job_from_anybody(self, opened: Callable[[], Store], jump: float) -> None:
        store, other = opened(), opened()
        ids = self.jobs(store, 2, State.CLAIMED)
        assert other.claim(ids, "other", LEASE) == []
        self.clock.now += jump
        assert other.claim(ids, "other", LEASE) == []
        assert store.renew("me")
        assert store.done([Ended(ids[0], "result")], "me") == [ids[0]]

    def test_what_a_dead_worker_had_sent_is_claimed_as_it_is(self, opened: Callable[[], Store]) -> None:
        store, other = opened(), opened()
        sent, sending = self.jobs(store, 1, State.SENT), self.jobs(store, 1, State.SENDING)
        other.claim(sent + sending, "other", LEASE)
        self.monotonic.now += LEASE
        claimed = other.claim(sent + sending, "other", LEASE)
        assert [(job.state, job.worker, job.remote_id) for job in claimed] == [
            ("sent", "other", "remote"),
            ("sending", "other", "label"),
        ]
        assert other.claim(sent, "third", LEASE) == []

    def test_a_worker_that_leaves_gives_its_jobs_back_at_once(self, opened: Callable[[], Store]) -> None:
        store, other = opened(), opened()
        ids = [
            *self.jobs(store, 1, State.CLAIMED),
            *self.jobs(store, 1, State.SENT),
            *self.jobs(store, 1, State.DONE),
        ]
        store.leave("me")
        assert [job.state for job in other.claim(ids, "other", LEASE)] == ["claimed", "sent"]
        assert not store.renew("me")


class Runs(StoreTests):
    """What stores keep to with runs, and altogether."""

    def test_a_run_that_is_opened_again_is_the_same_run(self, opened: Callable[[], Store]) -> None:
        first = opened().open_run("vqe", ["vqe.py", "--fast", "\udc80\x00"], "pennylane 1")
        self.clock.now += 60
        second = opened().open_run("vqe", ["other.py"], "pennylane 2")
        assert (second.id, second.seed, second.argv, second.versions) == (
            first.id,
            first.seed,
            ("vqe.py", "--fast", "\udc80\x00"),
            "pennylane 1",
        )
        assert 0 <= first.seed < 2**63
        assert (second.created, second.opened - first.opened) == (first.created, 60)

    def test_runs_have_seeds_of_their_own(self, store: Store) -> None:
        assert len({store.open_run(f"run {n}").seed for n in range(10)}) == 10

    def test_a_finished_run_is_finished_until_it_is_opened_again(self, store: Store) -> None:
        store.open_run("vqe")
        store.finish_run("vqe")
        assert store.run("vqe").finished
        assert not store.open_run("vqe").finished

    def test_a_run_of_several_threads_is_marked_for_good(self, store: Store) -> None:
        one, other = store.open_run("one"), store.open_run("other")
        assert not one.concurrent
        store.note_concurrent(one.id)
        store.note_concurrent(one.id)
        assert store.open_run("one").concurrent
        assert not store.run(other.name).concurrent
        with pytest.raises(StoreError, match="no run has the id 99"):
            store.note_concurrent(99)

    def test_runs_are_listed_the_last_opened_first(self, store: Store) -> None:
        for name in ("a", "b", "a"):
            self.clock.now += 1
            store.open_run(name)
        assert [run.name for run in store.runs()] == ["a", "b"]

    def test_an_unknown_run_is_an_error_with_the_known_ones(self, store: Store) -> None:
        store.open_run("h2-vqe")
        with pytest.raises(StoreError, match=r"no run is called 'h2-vq'. Did you mean 'h2-vqe'\?"):
            store.run("h2-vq")
        with pytest.raises(StoreError, match="no run is called"):
            store.finish_run("h2-vq")

    @pytest.mark.parametrize("name", ["", " ", "two\nlines", "\x00", "x" * 201, None])
    def test_a_run_needs_a_name_that_can_be_typed(self, store: Store, name: Any) -> None:
        with pytest.raises(ValueError, match="cannot be the name of a run"):
            store.open_run(name)

    def test_a_closed_store_says_so(self, store: Store) -> None:
        store.close()
        store.close()
        with pytest.raises(StoreError, match="is closed"):
            store.runs()

    def test_each_store_has_a_worker_of_its_own(self, opened: Callable[[], Store]) -> None:
        one, other = opened(), opened()
        assert one.worker == one.worker != other.worker

    def test_it_says_where_it_is(self, store: Store) -> None:
        assert store.url in repr(store)
