"""What stores keep to with jobs that are recorded and read."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pennylane_qexec.errors import StoreError, StoreMismatchError
from pennylane_qexec.store import Ended, NewJob, State, Store, StoredJob
from pennylane_qexec.testing.stores.bench import LEASE, StoreTests, new_jobs


class Records(StoreTests):
    """What stores keep to with jobs that are recorded and read."""

    def test_recorded_jobs_wait_in_the_order_given(self, store: Store) -> None:
        run = store.open_run("vqe")
        given = [new_jobs(5)[n] for n in (3, 0, 4)]
        stored = store.record(run.id, given)
        assert [job.number for job in stored] == [3, 0, 4]
        assert {(job.state, job.attempt, job.worker, job.submitted) for job in stored} == {("waiting", 1, None, 1e9)}
        assert store.refresh([job.id for job in stored]) == stored

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
