"""The engine under faults, cancellations, timeouts and budgets, in workloads drawn at random; a few of many.

Thousands more are in ``tests/integration/test_workloads.py`` and ``benchmarks/workloads.py``.
"""

from __future__ import annotations

from random import Random

import pytest
from hazards.carry_out import carry_out
from hazards.ledger import Ledger, circuit_of, numbers_in
from hazards.many import carry_out_many, without_waiting
from hazards.plan import workload
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.timeout(100)


def test_no_shot_is_lost_or_invented_and_no_budget_passed_and_every_future_ends() -> None:
    carry_out_many(range(25))


@pytest.mark.slow
@settings(max_examples=200)
@given(st.randoms(use_true_random=False))
def test_what_hypothesis_draws_ends_well_too(rng: Random) -> None:
    """It finds a small workload where something goes wrong."""
    with without_waiting() as clock:
        carry_out(workload(rng), clock)


def test_a_workload_is_the_same_whenever_it_is_drawn() -> None:
    assert workload(Random(7)) == workload(Random(7))
    assert workload(Random(7)) != workload(Random(8))


@pytest.mark.parametrize("shots", [None, 1, 5, [2, 3]])
def test_results_of_fakes_tell_which_execution_every_shot_is_of(shots: object) -> None:
    ledger = Ledger([])
    first, second = (ledger.execute(name, [circuit_of(7, shots)])[0] for name in ("a", "b"))
    assert {ledger.execution(shot).executor for shot in numbers_in(first)} == {"a"}  # type: ignore[union-attr]
    assert {ledger.execution(shot).executor for shot in numbers_in(second)} == {"b"}  # type: ignore[union-attr]
    assert not set(numbers_in(first)) & set(numbers_in(second))
    assert ledger.execution(1 + max(numbers_in(second))) is None
