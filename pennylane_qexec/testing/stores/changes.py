"""What stores keep to where jobs change."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pennylane_qexec.errors import StoreError
from pennylane_qexec.store import Ended, State, Store
from pennylane_qexec.testing.stores.bench import LEASE, StoreTests, change


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
        assert store.refresh([job])[0][-3:] == (1.0, "", "first")

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
