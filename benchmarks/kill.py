"""What does a crash cost in a durable run?

A VQE on three QPUs, which are rehearsals, is killed by SIGKILL at 200 points, up to three in a run, and goes on after
each. The points are drawn by what the program has done: before and after it records circuits, sends jobs, notes their
ids, polls, fetches and records results. Its peer is the same program that nobody kills.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from answers import Answer, answer

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from doomed.forks import Forks
from doomed.told import Told, dooms, killed, undisturbed

POINTS, SEED = 200, 1
PROGRAMS = ("vqe", "by_load", "later")


def of_program(forks: Forks, program: str, points: int) -> tuple[Told, list[Told]]:
    """What a program tells that nobody kills, and what it tells in runs that are killed so often together."""
    with tempfile.TemporaryDirectory() as folder:
        calm = undisturbed(forks, program, Path(folder))
    runs: list[Told] = []
    for chosen in dooms(calm.found["events"], SEED):
        left = points - sum(len(told.kills) for told in runs)
        if left <= 0:
            return calm, runs
        with tempfile.TemporaryDirectory() as folder:
            runs.append(killed(forks, program, Path(folder), chosen[:left]))
    raise AssertionError("points at which to kill a program come for ever")


def crashes() -> Iterator[Answer]:
    """Kills, and what they have changed."""
    shares = [POINTS // 2, POINTS // 4, POINTS - POINTS // 2 - POINTS // 4]
    with Forks() as forks:
        told = [of_program(forks, program, points) for program, points in zip(PROGRAMS, shares, strict=True)]
    pairs = [(run, calm) for calm, runs in told for run in runs]
    runs = [run for run, _ in pairs]
    kills = sum(len(run.kills) for run in runs)
    yield Answer.of(
        "points at which a program was killed", kills, "points", at_least=POINTS, beside=f"{len(runs)} runs"
    )
    ratios = [run.executed / calm.executed for run, calm in pairs]
    beside = f"{sum(run.executed for run in runs):,} shots"
    most = float(np.max(ratios))
    yield Answer.of(
        "shots executed, in the worst run", most, "times as many as if it is not killed", at_most=1.0, beside=beside
    )
    twice = sum((run.delivered - calm.delivered).total() for run, calm in pairs)
    yield Answer.of("circuits that were run twice, and fetched twice", twice, "circuits", at_most=0)
    same = sum(run.answer == calm.answer for run, calm in pairs)
    yield Answer.of("runs with the same parameters and energies, bit for bit", same, "runs", at_least=len(runs))
    for name, word in (("replayed", "answered from the store"), ("picked_up", "picked up"), ("executed", "run")):
        yield Answer.of(f"circuits {word}, after the last kill", [run.found[name] for run in runs], "circuits in a run")


if __name__ == "__main__":
    answer("Programs that are killed and go on", crashes)
