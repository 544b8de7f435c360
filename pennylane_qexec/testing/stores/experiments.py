"""The contract of stores for experiments."""

from __future__ import annotations

import pytest

from pennylane_qexec.errors import ConfigurationError, StoreError
from pennylane_qexec.persistence.store import BackendResults, NewExperimentRun, Store
from pennylane_qexec.testing.stores.jobs import StoreTests


def new_run(number: int, *backends: BackendResults, circuits: str = "digest") -> NewExperimentRun:
    """A run to record, with what came back from backends."""
    return NewExperimentRun(f"key{number}", 100.0 + number, 101.0 + number, circuits, f"text of {circuits}", backends)


class Experiments(StoreTests):
    """What stores keep to with experiments."""

    def test_a_run_comes_back_as_it_was_recorded(self, store: Store) -> None:
        one = BackendResults("ibm", "kyiv", 1000, 1.5, 0.25, "", '[{"0": 1000}]')
        other = BackendResults("aqt", "ibex", 500, 0.0, 0.0, "ValueError: no \x00", "[null]")
        number = store.record_experiment("bell", new_run(1, one, other))
        (run,) = store.experiment_runs("bell")
        assert (run.id, run.started, run.finished, run.circuits) == (number, 101.0, 102.0, "digest")
        assert run.backends == (other._replace(error="ValueError: no \\x00"), one)
        assert store.experiment_circuits("digest") == "text of digest"

    def test_what_came_back_later_takes_the_place_of_what_was_recorded_under_the_same_key(self, store: Store) -> None:
        failed = BackendResults("ibm", "kyiv", 1000, 0.0, 0.0, "offline", "[null]")
        first = store.record_experiment("bell", new_run(1, failed))
        done = failed._replace(error="", results='[{"0": 1000}]')
        assert store.record_experiment("bell", new_run(1, done)) == first
        assert [run.backends for run in store.experiment_runs("bell")] == [(done,)]

    def test_runs_come_in_pages_from_the_latest_on_and_each_experiment_has_its_own(self, store: Store) -> None:
        numbers = []
        for number in range(5):
            numbers.append(store.record_experiment("bell", new_run(number, circuits=f"digest {number}")))
            store.record_experiment("ghz", new_run(100 + number))
        page = store.experiment_runs("bell", most=3)
        assert [run.id for run in page] == numbers[:1:-1]
        assert [run.id for run in store.experiment_runs("bell", before=page[-1].id, most=3)] == [numbers[1], numbers[0]]

    def test_experiments_come_in_pages_by_name(self, store: Store) -> None:
        for number, name in enumerate(("c", "a", "b", "a")):
            store.record_experiment(name, new_run(number))
        first = store.experiments(most=2)
        assert [(one.name, one.runs, one.last) for one in first] == [("a", 2, 103.0), ("b", 1, 102.0)]
        assert first[0].created == self.clock.now
        assert [one.name for one in store.experiments(after="b")] == ["c"]

    @pytest.mark.parametrize("name", ["", " ", "two\nlines", "x" * 201, None, 3])
    def test_an_experiment_needs_a_name_that_can_be_typed(self, store: Store, name: str) -> None:
        with pytest.raises(ConfigurationError, match="cannot be that of an experiment"):
            store.record_experiment(name, new_run(1))

    def test_an_experiment_or_circuits_that_are_not_there_are_an_error(self, store: Store) -> None:
        store.record_experiment("bell", new_run(1))
        with pytest.raises(StoreError, match=r"'bel'.*Known: bell"):
            store.experiment_runs("bel")
        with pytest.raises(StoreError, match="no circuits of the digest 'other'"):
            store.experiment_circuits("other")
