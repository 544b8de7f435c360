"""A backend that dies in the middle costs a few shots, and nothing else.

Three QPUs, each with room for one job at a time, share 100 circuits. A job has two circuits at most, which is a
fiftieth of what there is to do and bounds what can be lost: what has run when the backend dies is run again elsewhere,
and that is the job that was running. What waits costs nothing, wherever it waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec

pytestmark = [pytest.mark.integration, pytest.mark.slow]

CIRCUITS, SHOTS, TOGETHER = 100, 300, 2
ANGLES = np.linspace(1.0, 2.0, CIRCUITS)
TURN = 0.7
FOR_EVER = 1e9  # seconds
AT_ONCE = qexec.retries.backoff(attempts=3, initial=0.0)
POLICIES = {
    "split": {"split": "uniform"},
    "selector": {"selector": "cyclic"},
    "whoever is free": {"selector": "least_loaded"},
}
DEATHS = {
    "dead": lambda moment: {"failure_rate": {"dies_at": moment}},
    "down, and what runs fails": lambda moment: {"outages": [(moment, FOR_EVER)], "outages_kill": True},
    "down, and what runs waits": lambda moment: {"outages": [(moment, FOR_EVER)]},
}


@dataclass(frozen=True)
class Told:
    """What came of the circuits: their counts, and what the QPUs say that they ran."""

    counts: Sequence[Mapping[str, int]]
    ledgers: Sequence[Sequence[Any]]

    @property
    def executed(self) -> int:
        """The shots that were run, whether anybody got them or not."""
        return sum(job.executed for ledger in self.ledgers for job in ledger)

    @property
    def delivered(self) -> Counter[str]:
        """How often each circuit, or share of one, was run and fetched."""
        return Counter(one for ledger in self.ledgers for job in ledger if job.fetched for one in job.fingerprints)


def run(policy: str, **death: Any) -> Told:
    """Run the circuits on three QPUs, the second of which dies."""
    clock = qexec.VirtualClock()
    usual = {"queue": 5, "overhead": 2, "shot_time": 0.001, "workers": 2, "max_circuits": TOGETHER, "clock": clock}
    qpus = [
        qexec.Rehearsal("lightning.qubit", name=f"qpu-{number}", seed=number, **usual, **(death if number == 1 else {}))
        for number in range(3)
    ]
    operations = [[qml.RY(angle, 0), qml.CNOT([0, 1]), qml.RX(TURN, 1)] for angle in ANGLES]
    circuits = [QuantumScript(each, [qml.counts(wires=[0, 1])], shots=SHOTS) for each in operations]
    with qexec.QCluster(qpus, retry=AT_ONCE, **POLICIES[policy]) as cluster:
        counts = cluster.execute(circuits)
    return Told(counts, [qpu.ledger for qpu in qpus])


@cache
def undisturbed(policy: str) -> Told:
    """What comes of it if no QPU dies."""
    return run(policy)


@cache
def disturbed(policy: str, death: str) -> Told:
    """What comes of it if one dies in the middle, when the job that it runs is nearly done."""
    ledger = undisturbed(policy).ledgers[1]
    job = ledger[len(ledger) // 2]
    return run(policy, **DEATHS[death](job.started + 0.9 * (job.ended - job.started)))


@pytest.fixture(params=POLICIES)
def policy(request: pytest.FixtureRequest) -> str:
    """How the circuits are shared out."""
    return str(request.param)


@pytest.fixture(params=DEATHS)
def death(request: pytest.FixtureRequest) -> str:
    """What befalls the second QPU."""
    return str(request.param)


def test_at_most_5_percent_more_shots_are_run(policy: str, death: str) -> None:
    assert undisturbed(policy).executed == CIRCUITS * SHOTS
    assert CIRCUITS * SHOTS <= disturbed(policy, death).executed <= 1.05 * CIRCUITS * SHOTS


def test_the_others_take_over_what_was_left_when_it_died(policy: str, death: str) -> None:
    before, after = undisturbed(policy).ledgers, disturbed(policy, death).ledgers
    done = [[sum(job.executed for job in ledger) for ledger in ledgers] for ledgers in (before, after)]
    assert 0.3 * done[0][1] < done[1][1] < 0.7 * done[0][1]
    assert done[1][0] > 1.1 * done[0][0]
    assert done[1][2] > 1.1 * done[0][2]


def test_every_shot_comes_back_once_and_none_that_has_come_back_is_run_again(policy: str, death: str) -> None:
    told = disturbed(policy, death)
    assert [sum(counts.values()) for counts in told.counts] == [SHOTS] * CIRCUITS
    assert told.delivered == undisturbed(policy).delivered


def test_the_distribution_is_the_same(policy: str, death: str) -> None:
    """Pearson's statistic, of 3 degrees of freedom for each circuit, is within 5 standard deviations of its mean."""
    degrees = 3 * CIRCUITS
    for told in (undisturbed(policy), disturbed(policy, death)):
        statistic = 0.0
        for angle, counts in zip(ANGLES, told.counts, strict=True):
            expected = SHOTS * np.outer(_bits(angle), _bits(TURN)).ravel()[[0, 1, 3, 2]]
            found = np.array([counts.get(outcome, 0) for outcome in ("00", "01", "10", "11")])
            statistic += float(np.sum((found - expected) ** 2 / expected))
        assert abs(statistic - degrees) < 5 * np.sqrt(2 * degrees)


def _bits(angle: float) -> Any:
    """The probabilities of 0 and 1 of a qubit that was turned by an angle."""
    return np.array([np.cos(angle / 2) ** 2, np.sin(angle / 2) ** 2])
