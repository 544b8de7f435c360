"""What a program that was killed, again and again, has told in the end; and what its QPUs say that they ran."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from doomed.forks import Forks
from doomed.fuse import EVENTS
from doomed.programs import QPUS

import pennylane_qexec as qexec


@dataclass(frozen=True)
class Told:
    """What there is to compare.

    Attributes:
        found: what the program has found at last, and how many events of each kind it saw then.
        kills: how often it was killed, and where.
        executed: the shots that were run by all QPUs together, whatever became of them.
        delivered: how often each circuit was run and fetched, by its fingerprint.
    """

    found: dict[str, Any]
    kills: Sequence[str]
    executed: int
    delivered: Counter[str]

    @property
    def answer(self) -> tuple[str, Sequence[str]]:
        """The parameters and energies, bit for bit."""
        return self.found["parameters"], self.found["energies"]


def undisturbed(forks: Forks, program: str, folder: Path, store: str | None = None) -> Told:
    """Run a program that nothing happens to."""
    return killed(forks, program, folder, [], store)


def killed(
    forks: Forks, program: str, folder: Path, dooms: Sequence[tuple[str, int]], store: str | None = None
) -> Told:
    """Run a program until it has come to its end.

    Args:
        forks: where.
        program: its name.
        folder: an empty one, for the store and the QPUs.
        dooms: what kills it, the first time, the second time and so on: a kind of event, and which of that kind.
        store: another store.
    """
    place, kills = store or str(folder / "run.db"), []
    for doom in [*dooms, None]:
        try:
            found = forks.run(program, folder, place, *(doom or ()))
        except RuntimeError as error:
            error.add_note(f"in {folder}, after it was killed at {kills}")
            raise
        if found is not None:
            return Told(found, kills, *_ran(folder))
        kills.append("{} {}".format(*doom or ("nothing that we know", "")))
    raise AssertionError(f"a program was killed by nobody, or hangs, in {folder}, after it was killed at {kills}")


def dooms(events: dict[str, int], seed: int, most: int = 3) -> Iterator[list[tuple[str, int]]]:
    """For ever: some points at which to kill a program, one after the other.

    Each begins at another kind of event, so that all kinds have their turn.

    Args:
        events: how many of each kind there are if it is not killed.
        seed: of the choice.
        most: how often it is killed.
    """
    chance, kinds = random.Random(seed), [event for event in EVENTS if events.get(event)]
    while True:
        chance.shuffle(kinds)
        for first in kinds:
            chosen = [first, *chance.choices(kinds, k=chance.randrange(most))]
            yield [(kind, chance.randint(1, max(1, events[kind] // len(chosen)))) for kind in chosen]


def _ran(folder: Path) -> tuple[int, Counter[str]]:
    ledgers = [qexec.Rehearsal("default.qubit", folder=folder / name, name=name).ledger for name in QPUS]
    jobs = [job for ledger in ledgers for job in ledger]
    delivered = Counter(one for job in jobs if job.fetched for one in job.fingerprints)
    return sum(job.executed for job in jobs), delivered
