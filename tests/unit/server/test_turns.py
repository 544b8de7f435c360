"""Whose job is next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pennylane_qexec.server.records import ServerJob
from pennylane_qexec.server.turns import MOST_TOGETHER, Turns


def jobs_of(user: str, number: int, session: str | None = None, key: str | None = None) -> list[ServerJob]:
    return [ServerJob(f"{user}{i}", user, "sampler", "ideal", session=session, key=key) for i in range(number)]


def order(turns: Turns, jobs: Sequence[ServerJob], number: int) -> list[str]:
    """The users of the jobs that a single worker process takes, one after the other."""
    left, users = list(jobs), []
    for _ in range(number):
        ((first,),) = turns.choose(left, Counter(), 1)
        left.remove(first)
        users.append(first.user)
    return users


def test_a_thousand_jobs_of_a_user_do_not_delay_the_one_of_another() -> None:
    turns = Turns()
    mine = jobs_of("ann", 1000)
    assert order(turns, mine, 2) == ["ann", "ann"]
    assert order(turns, [*mine[2:], *jobs_of("bob", 1)], 2) == ["bob", "ann"]


def test_users_take_turns_and_of_one_the_oldest_job_comes_first() -> None:
    jobs = [*jobs_of("ann", 3), *jobs_of("bob", 3), *jobs_of("cid", 1)]
    groups = Turns().choose(jobs, Counter(), 7)
    assert [group[0].id for group in groups] == ["ann0", "bob0", "cid0", "ann1", "bob1", "ann2", "bob2"]


def test_it_is_the_turn_of_the_user_of_whom_the_fewest_jobs_run() -> None:
    jobs = [*jobs_of("ann", 3), *jobs_of("bob", 3)]
    groups = Turns().choose(jobs, Counter(ann=2), 3)
    assert [group[0].id for group in groups] == ["bob0", "bob1", "ann0"]


def test_sessions_come_first_but_do_not_keep_out_those_without_one() -> None:
    jobs = [*jobs_of("bob", 2), *jobs_of("ann", 4, session="s")]
    assert order(Turns(), jobs, 6) == ["ann", "bob", "ann", "bob", "ann", "ann"]


def test_jobs_of_equal_keys_run_as_one_whoever_submits_them() -> None:
    jobs = [*jobs_of("ann", 2, key="k"), *jobs_of("bob", 1, key="other"), *jobs_of("cid", 1, key="k")]
    groups = Turns().choose(jobs, Counter(), 2)
    assert [[job.id for job in group] for group in groups] == [["ann0", "ann1", "cid0"], ["bob0"]]


def test_only_so_many_run_as_one_and_none_that_has_failed_with_others() -> None:
    jobs = jobs_of("ann", MOST_TOGETHER + 8, key="k")
    groups = Turns().choose(jobs, Counter(), 3, alone={"ann0"})
    assert [len(group) for group in groups] == [1, MOST_TOGETHER, 7]
    assert groups[0][0].id == "ann0"


def test_no_more_begin_than_there_are_places() -> None:
    assert Turns().choose(jobs_of("ann", 3), Counter(), 0) == []
