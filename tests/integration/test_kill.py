"""A program that is killed and run again goes on where it was: nothing is run twice, and nothing comes out differently.

A VQE is killed by SIGKILL, several times in a run, at points that are drawn by what it has done and not by time: before
and after its results are recorded, its jobs sent, their ids noted, polled and fetched. The three QPUs that it uses are
rehearsals, whose jobs go on meanwhile, as those of a provider do, and who keep books of every shot.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from doomed.forks import Forks
from doomed.fuse import STEP
from doomed.told import Told, dooms, killed, undisturbed
from fakes.postgresql import PostgresServer

from pennylane_qexec.persistence.store import State, open_store

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SEED = 2026
POINTS = {"vqe": 8, "by_load": 2, "later": 3}
LOCAL = ("default.qubit", "aer")
CASES = [(program, number) for program, count in POINTS.items() for number in range(count)]


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    with Forks() as running:
        yield running


@pytest.fixture(scope="module")
def calm(forks: Forks, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Told]:
    """What a program tells that nothing happens to."""
    return cache(lambda program: undisturbed(forks, program, tmp_path_factory.mktemp("calm")))


def points(calm: Told, number: int) -> list[tuple[str, int]]:
    """Where a program is killed, in one of many ways."""
    return next(itertools.islice(dooms(calm.found["events"], SEED), number, None))


@pytest.mark.parametrize(("program", "number"), CASES)
def test_a_program_that_is_killed_goes_on_and_runs_nothing_twice(
    forks: Forks, calm: Callable[[str], Told], program: str, number: int, tmp_path: Path
) -> None:
    expected = calm(program)
    told = killed(forks, program, tmp_path, points(expected, number))
    assert told.kills
    assert told.answer == expected.answer
    assert told.executed == expected.executed
    assert told.delivered == expected.delivered


@pytest.mark.parametrize("program", LOCAL)
def test_simulators_with_a_seed_go_on_bit_for_bit(
    forks: Forks, calm: Callable[[str], Told], program: str, tmp_path: Path
) -> None:
    dooms = [("after record", 1), ("before done", 2), ("after done", 1), (STEP, 1), ("after record", 1)]
    told = killed(forks, program, tmp_path, dooms)
    assert len(told.kills) == len(dooms)
    assert told.answer == calm(program).answer


def test_a_run_that_has_come_to_its_end_is_answered_from_the_store(forks: Forks, tmp_path: Path) -> None:
    first = undisturbed(forks, "vqe", tmp_path)
    again = undisturbed(forks, "vqe", tmp_path)
    assert again.answer == first.answer
    assert again.executed == first.executed
    assert (again.found["replayed"], again.found["executed"]) == (first.found["executed"], 0)


def test_two_processes_share_the_circuits_of_a_run(forks: Forks, calm: Callable[[str], Told], tmp_path: Path) -> None:
    place = str(tmp_path / "run.db")
    both = forks.run_together([("vqe", tmp_path, place)] * 2)
    told = undisturbed(forks, "vqe", tmp_path, place)
    assert [found["parameters"] for found in both if found] == [calm("vqe").found["parameters"]] * 2
    assert told.executed == calm("vqe").executed
    assert told.delivered == calm("vqe").delivered


@pytest.mark.parametrize("doom", ["after record", "before submit_labelled", "after submit_labelled", "before done"])
def test_a_process_goes_on_with_what_another_one_was_at_when_it_was_killed(
    forks: Forks, calm: Callable[[str], Told], doom: str, tmp_path: Path
) -> None:
    """Unless the other one was so much faster that nothing was left to do; that is fine too."""
    place = str(tmp_path / "run.db")
    one, other = forks.run_together([("vqe", tmp_path, place, doom, 1), ("vqe", tmp_path, place)])
    told = undisturbed(forks, "vqe", tmp_path, place)
    assert other is not None
    assert other["parameters"] == calm("vqe").found["parameters"]
    assert one is None or one["parameters"] == other["parameters"]
    assert told.answer == calm("vqe").answer
    assert told.executed == calm("vqe").executed
    assert told.found["executed"] == 0


def test_the_store_may_be_in_postgresql(forks: Forks, calm: Callable[[str], Told], tmp_path: Path) -> None:
    dooms = [("after record", 2), ("before sent", 3), ("after fetch", 5), ("before done", 2)]
    with PostgresServer() as server:
        place = server.new_place()
        told = killed(forks, "vqe", tmp_path, dooms, place)
        with open_store(place) as store:
            counts = store.counts(store.run("vqe").id)
    assert len(told.kills) == len(dooms)
    assert told.answer == calm("vqe").answer
    assert (told.executed, told.delivered) == (calm("vqe").executed, calm("vqe").delivered)
    assert list(counts) == [State.DONE]
