"""Which of several ways is the fastest: found out by turns, on a clock that the tests set."""

from __future__ import annotations

import pytest

from pennylane_qexec.executors.jax.batches import Contest


class Clock:
    """A clock on which nothing takes time but what says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def way(self, name: str, seconds: float, log: list[str]):
        def run() -> str:
            self.now += seconds
            log.append(name)
            return name

        return run


def race(contest: Contest, clock: Clock, runs: int, seconds: tuple[float, float], size: str = "size") -> list[str]:
    log: list[str] = []
    for _ in range(runs):
        contest.run(size, 10, [clock.way(name, each, log) for name, each in zip("ab", seconds, strict=True)])
    return log


def test_the_ways_take_turns_before_the_faster_one_is_taken():
    clock = Clock()
    assert race(Contest(clock), clock, 10, (0.001, 0.0012)) == [*"ababab", *"aaaa"]


def test_what_takes_long_and_differs_clearly_is_decided_after_one_trial():
    clock = Clock()
    assert race(Contest(clock), clock, 6, (4.0, 1.0)) == [*"ab", *"bbbb"]


def test_it_returns_what_the_way_returns():
    clock = Clock()
    contest = Contest(clock)
    assert contest.run("size", 1, [lambda: "together", lambda: "alone"]) == "together"


def test_one_slow_trial_does_not_count_against_a_way():
    clock = Clock()
    contest = Contest(clock)
    race(contest, clock, 2, (0.009, 0.002))
    race(contest, clock, 4, (0.001, 0.002))
    assert contest.settled("size") == 0


def test_the_slower_way_is_tried_again_ever_more_seldom():
    clock = Clock()
    log = "".join(race(Contest(clock), clock, 500, (0.001, 0.0012)))
    tries = [index for index, name in enumerate(log) if name == "b"][3:]
    assert len(tries) == 3
    assert tries[1] - tries[0] == 2 * (tries[0] - 5)


def test_a_way_that_has_become_faster_is_taken():
    clock = Clock()
    contest = Contest(clock)
    race(contest, clock, 20, (0.001, 0.0012))
    assert contest.settled("size") == 0
    race(contest, clock, 1000, (0.001, 0.0002))
    assert contest.settled("size") == 1


def test_sizes_have_nothing_to_do_with_each_other():
    clock = Clock()
    contest = Contest(clock)
    race(contest, clock, 6, (0.001, 0.002), "small")
    race(contest, clock, 6, (0.002, 0.001), "large")
    assert (contest.settled("small"), contest.settled("large"), contest.settled("other")) == (0, 1, None)


def test_only_so_many_sizes_are_remembered():
    clock = Clock()
    contest = Contest(clock)
    for size in range(2000):
        race(contest, clock, 2, (4.0, 1.0), str(size))
    assert contest.settled("0") is None
    assert contest.settled("1999") == 1


def test_what_a_way_raises_is_passed_on_and_counts_for_nothing():
    contest = Contest(Clock())
    with pytest.raises(ZeroDivisionError):
        contest.run("size", 1, [lambda: 1 / 0])
    assert contest.settled("size") is None
