"""Programs by hypothesis, through every front end, executor, interface and derivative, judged by theory.

``checking.py`` says what is compared. Statistics are unseeded, and fail at p < 1e-9 each.
``benchmarks/differential.py`` runs as many as one likes, and shows one.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator

import jax
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from differential.checking import check
from differential.drawing import Case, cases
from differential.kinds import Pool
from differential.showing import described

FEW = 60


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """Clusters for all cases of this process, with numbers of 64 bits in JAX."""
    made = Pool()
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield made
    made.close()


def carried_out(number: int, of: int, pool: Pool) -> Counter[str]:
    """Carry out cases, always the same ones; returns what was compared, counted."""
    did: Counter[str] = Counter()

    @seed(number)
    @settings(
        max_examples=of,
        database=None,
        deadline=None,
        derandomize=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases())
    def judged(case: Case) -> None:
        verdict = check(case, pool)
        did.update(verdict.did)
        assert not verdict.finds, described(case, verdict)

    judged()
    return did


@pytest.mark.slow
def test_a_few_programs_return_what_is_right(pool: Pool) -> None:
    did = carried_out(1000, FEW, pool)
    assert did["expval"] > FEW / 4, did
