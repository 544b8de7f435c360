"""The contract of stores for marks, and for runs that are forked from others."""

from __future__ import annotations

from typing import Any

import pytest

from pennylane_qexec.errors import ConfigurationError, StoreError
from pennylane_qexec.persistence.store import Ended, Mark, NewJob, State, Store
from pennylane_qexec.testing.stores.jobs import LEASE, StoreTests, new_jobs


class Forks(StoreTests):
    """What stores keep to with marks and forks."""

    def recorded(self, store: Store, circuits: int = 6, done: int = 4) -> int:
        """A run with so many circuits, of which the first are done."""
        run = store.open_run("vqe", ["vqe.py"], "python 3").id
        ids = [job.id for job in store.record(run, new_jobs(circuits), "me", LEASE)]
        ends = [Ended(job, f"result {job}", started=1.5, seconds=0.1, cost=0.3, shots=100) for job in ids[:done]]
        store.done(ends, "me")
        return run

    def test_a_mark_stays_where_it_was_first_set(self, store: Store) -> None:
        run = self.recorded(store)
        for name, number in (("step 2", 4), ("step 1", 2), ("step 2", 3)):
            store.mark(run, Mark(name, number, 0.5 * number))
        assert store.marks(run) == [Mark("step 1", 2, 1.0), Mark("step 2", 4, 2.0)]
        assert store.marks(store.open_run("other").id) == []

    @pytest.mark.parametrize("name", ["", "  ", "two\nlines", "40", " 7 ", "x" * 201, 3, None])
    def test_a_mark_that_nobody_could_type_or_tell_from_a_number_is_refused(self, store: Store, name: str) -> None:
        with pytest.raises(ConfigurationError, match="mark"):
            store.mark(self.recorded(store), Mark(name, 1))

    def test_a_fork_has_what_was_done_with_its_results_and_nothing_else_is_changed(self, store: Store) -> None:
        run = self.recorded(store)
        store.mark(run, Mark("early", 2, -1.1))
        store.mark(run, Mark("late", 3))
        before = store.refresh([job.id for job in store.jobs(run)])
        fork = store.fork_run("vqe", "colder", 2)
        assert (fork.parent, fork.fork_point, fork.seed) == (run, 2, store.run("vqe").seed)
        assert (fork.argv, fork.versions, fork.finished) == ((), "python 3", False)
        copies = store.refresh([job.id for job in store.jobs(fork.id)])
        assert [job.copied_from for job in copies] == [job.id for job in before[:2]]
        for copy, original in zip(copies, before, strict=False):
            same: dict[str, Any] = {"id": original.id, "run": run, "worker": original.worker, "copied_from": None}
            assert copy._replace(**same) == original
        assert store.marks(fork.id) == [Mark("early", 2, -1.1)]
        assert store.refresh([job.id for job in before]) == before

    def test_a_fork_at_a_mark_or_of_everything(self, store: Store) -> None:
        run = self.recorded(store)
        store.mark(run, Mark("step 3", 3))
        assert store.fork_run("vqe", "marked", "step 3").fork_point == 3
        assert store.fork_run("vqe", "typed", "3").fork_point == 3
        assert store.fork_run("vqe", "whole").fork_point == 6

    def test_circuits_without_a_result_run_in_the_fork_as_if_they_were_new(self, store: Store) -> None:
        run = self.recorded(store, circuits=5, done=1)
        ids = [job.id for job in store.jobs(run)]
        store.failed([Ended(ids[1], error="warm", seconds=9.0, cost=5.0, attempt=3)], "me")
        store.release([ids[2]], "me")
        store.cancelled([Ended(ids[3], error="cancelled")], "me")
        copies = list(store.jobs(store.fork_run("vqe", "fork").id))[1:]
        for copy in copies:
            assert (copy.state, copy.attempt, copy.worker, copy.finished) == ("waiting", 1, None, None)
            assert (copy.error, copy.seconds, copy.cost, copy.copied_from) == ("", 0.0, 0.0, None)
        assert [job.state for job in store.claim([job.id for job in copies], "other", LEASE)] == ["claimed"] * 4

    def test_circuits_that_are_at_a_backend_are_not_forked(self, store: Store) -> None:
        run = self.recorded(store)
        fifth = [job.id for job in store.jobs(run)][4:5]
        store.sending(fifth, "me", "label")
        store.sent(fifth, "me", "n-1")
        with pytest.raises(StoreError, match="1 of the first 6 circuits of the run 'vqe' are at a backend"):
            store.fork_run("vqe", "fork")
        assert store.fork_run("vqe", "fork", 4).fork_point == 4

    def test_circuits_that_were_recorded_together_are_not_divided(self, store: Store) -> None:
        run = store.open_run("vqe").id
        store.record(run, [NewJob(0, "a", "a", "sweep", rows=5), NewJob(5, "b", "b", "sweep", rows=5)])
        assert [store.fork_run("vqe", f"at {at}", at).fork_point for at in (5, 9, 10)] == [5, 5, 10]
        with pytest.raises(ConfigurationError, match="Its first 5 circuits were recorded together"):
            store.fork_run("vqe", "fork", 4)

    def test_a_fork_of_a_fork_says_which_run_has_paid(self, store: Store) -> None:
        run = self.recorded(store)
        first = store.fork_run("vqe", "first", 3)
        second = store.fork_run("first", "second", 2)
        assert second.parent == first.id
        assert [job.copied_from for job in store.jobs(second.id)] == [job.id for job in store.jobs(run)][:2]

    def test_the_program_of_a_fork_is_the_first_that_opens_it(self, store: Store) -> None:
        self.recorded(store)
        store.fork_run("vqe", "fork")
        assert store.open_run("fork", ["colder.py"]).argv == ("colder.py",)
        assert store.open_run("fork", ["other.py"]).argv == ("colder.py",)
        assert store.open_run("fork").parent == store.run("vqe").id

    def test_what_cannot_be_forked_is_refused_and_no_run_is_begun(self, store: Store) -> None:
        self.recorded(store)
        store.open_run("empty")
        wrong = [
            ("vqe", "vqe", None, "there is a run 'vqe' already"),
            ("vqf", "new", None, "vqf"),
            ("vqe", "new", "step 9", "step 9"),
            ("vqe", "new", 7, "has recorded 6 circuits, and not 7"),
            ("vqe", "new", 0, "at least 1"),
            ("vqe", "new", True, "at=True"),
            ("vqe", "two\nlines", None, "cannot be the name of a run"),
            ("empty", "new", None, "has nothing that could come along"),
        ]
        for name, new, at, message in wrong:
            with pytest.raises((ConfigurationError, StoreError), match=message):
                store.fork_run(name, new, at)
        assert {run.name for run in store.runs()} == {"vqe", "empty"}
        assert store.counts(store.run("vqe").id) == {State.DONE: 4, State.CLAIMED: 2}
