"""What stores keep to with runs, and altogether."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pennylane_qexec.errors import StoreError
from pennylane_qexec.store import Store
from pennylane_qexec.testing.stores.bench import StoreTests


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
