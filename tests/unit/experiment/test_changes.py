"""A backend that changes is marked soon, one that does not is not, whatever its numbers of shots."""

from __future__ import annotations

import itertools
from collections import Counter
from math import comb, sqrt

import numpy as np
import pytest

from pennylane_qexec import hellinger_distance, total_variation_distance
from pennylane_qexec.experiment.changes import BASELINE, Change, changes
from pennylane_qexec.experiment.distances import Comparison, Distribution, of_counts
from pennylane_qexec.experiment.history import Compared

BELL = {"00": 0.5, "11": 0.5}
DRIFT = 0.05


def drawn(rng, shots, noise, ideal=BELL, kind="tvd"):
    """A run whose distance from the ideal is as large as the noise, and what the shots add to it."""
    outcomes = ["00", "01", "10", "11"]
    noisy = np.array([(1 - 2 * noise) * ideal.get(one, 0) + 2 * noise / 4 for one in outcomes])
    counts = dict(zip(outcomes, rng.multinomial(shots, noisy).tolist(), strict=True))
    return Compared([Comparison(of_counts(counts), Distribution(ideal, None), kind)])


def series(rng, noises, shots, kind="tvd"):
    """Runs with these noises, and numbers of shots in turns."""
    return [drawn(rng, number, noise, kind=kind) for noise, number in zip(noises, itertools.cycle(shots))]


@pytest.mark.parametrize("kind", ["tvd", "hellinger"])
@pytest.mark.parametrize(("base", "quiet"), [(0.0, 20), (0.05, 10), (0.1, 60)])
def test_a_drift_of_a_twentieth_is_marked_within_three_runs(kind, base, quiet):
    rng = np.random.default_rng(1)
    for _ in range(20):
        noises = base + 0.003 * abs(rng.standard_normal(quiet + 3))
        noises[quiet:] += DRIFT
        marks = changes(series(rng, noises, [4000], kind))
        assert not any(marks[:quiet])
        assert Change.WORSE in marks[quiet:]


@pytest.mark.parametrize("shots", [(4000,), (1000, 16000), (500, 501, 503)])
def test_backends_that_do_not_change_are_not_marked_whatever_their_numbers_of_shots(shots):
    rng = np.random.default_rng(2)
    marks = [mark for base in (0.0, 0.02, 0.1) for mark in changes(series(rng, [base] * 200, shots))]
    assert marks == [Change.NONE] * 600


def test_another_number_of_shots_from_some_day_on_is_no_change():
    """Without noise, the distance of 200 shots is 0.028 on average, and that of 20,000 a tenth of it."""
    rng = np.random.default_rng(3)
    for before, after in ((200, 20_000), (20_000, 200)):
        runs = [drawn(rng, before if number < 30 else after, 0.0) for number in range(60)]
        assert not any(changes(runs))
        first, second = (np.mean([run.distance for run in part]) for part in (runs[:30], runs[30:]))
        assert max(first, second) > 5 * min(first, second)  # they do differ


def test_a_run_of_few_shots_is_neither_marked_nor_does_it_spoil_what_follows():
    rng = np.random.default_rng(4)
    runs = [drawn(rng, 10 if number == 15 else 4000, 0.02 if number < 30 else 0.02 + DRIFT) for number in range(33)]
    marks = changes(runs)
    assert not any(marks[:30])
    assert Change.WORSE in marks[30:]


def test_circuits_may_each_have_another_number_of_shots_in_every_run():
    rng = np.random.default_rng(8)
    runs = []
    for number in range(43):
        noise = 0.02 if number < 40 else 0.02 + DRIFT
        circuits = [drawn(rng, int(rng.integers(300, 3000)), noise).circuits[0] for _ in range(12)]
        runs.append(Compared(circuits))
    marks = changes(runs)
    assert not any(marks[:40])
    assert Change.WORSE in marks[40:]


def test_a_backend_that_becomes_better_is_marked_so_and_then_has_a_new_baseline():
    rng = np.random.default_rng(5)
    marks = changes(series(rng, [0.1] * 20 + [0.02] * 30 + [0.08] * 3, [4000]))
    better, worse = (marks.index(change) for change in (Change.BETTER, Change.WORSE))
    assert 20 <= better < 23 <= 50 <= worse
    assert sum(map(bool, marks)) == 2


def test_nothing_is_marked_in_the_baseline_and_later_runs_change_no_earlier_mark():
    rng = np.random.default_rng(6)
    runs = series(rng, [0.01 * number for number in range(40)], [3000, 1000])
    marks = changes(runs)
    assert not any(marks[:BASELINE])
    assert any(marks)
    for length in range(0, 40, 7):
        assert changes(runs[:length]) == marks[:length]


def test_a_perfect_backend_that_errs_once_in_a_thousand_shots_is_not_marked():
    always = Distribution({"0": 1.0}, None)
    runs = [Compared([Comparison(of_counts({"0": 1000}), always, "tvd")])] * 30
    once = Compared([Comparison(of_counts({"0": 999, "1": 1}), always, "tvd")])
    assert not any(changes([*runs, once, *runs, once, once]))


# Distances


def test_distances_of_all_shots_are_those_of_the_merges():
    counts, other = {"00": 30, "01": 3, "11": 17}, {"00": 8, "10": 1, "11": 11}
    for kind, distance in (("tvd", total_variation_distance), ("hellinger", hellinger_distance)):
        for reference in (of_counts(other), Distribution(BELL, None)):
            given = BELL if reference.shots is None else other
            found = Comparison(of_counts(counts), reference, kind).at(None)
            assert found == pytest.approx(distance(counts, given), abs=1e-12)


def subsets(counts: dict[str, int], drawn: int) -> list[tuple[dict[str, int], float]]:
    """All counts of so many shots out of some, and how probable they are."""
    names, total = list(counts), comb(sum(counts.values()), drawn)
    found = []
    for numbers in itertools.product(*(range(counts[name] + 1) for name in names)):
        if sum(numbers) == drawn:
            ways = np.prod([comb(counts[name], number) for name, number in zip(names, numbers, strict=True)])
            found.append((dict(zip(names, numbers, strict=True)), float(ways) / total))
    return found


@pytest.mark.parametrize("reference", [Distribution({"a": 0.5, "d": 0.5}, None), of_counts({"a": 3, "b": 5, "d": 4})])
def test_the_distance_at_fewer_shots_is_the_mean_over_all_ways_to_draw_them(reference):
    counts = {"a": 6, "b": 3, "c": 2}
    exact = 0.0
    others = [(reference.weights, 1.0)] if reference.shots is None else subsets(dict(reference.weights), 5)
    for mine, probability in subsets(counts, 5):
        for other, its in others:
            exact += probability * its * total_variation_distance(mine, other)
    assert Comparison(of_counts(counts), reference, "tvd").at(5) == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("kind", ["tvd", "hellinger"])
def test_the_standard_error_is_that_of_many_runs(kind):
    rng = np.random.default_rng(7)
    runs = [drawn(rng, 2000, 0.08, {"00": 0.7, "11": 0.3}, kind) for _ in range(2000)]
    spread = np.std([run.distance for run in runs])
    errors = [run.error for run in runs]
    assert np.mean(errors) == pytest.approx(spread, rel=0.1)  # 6 sigma of the spread of 2,000 runs
    assert Counter(error > 0 for error in errors) == {True: 2000}
    assert drawn(rng, 100, 0.0, {"00": 1.0}, kind).error > sqrt(1 / 8 / 100) / 10
