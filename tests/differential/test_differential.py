"""Programs drawn at random, through every front end, executor, interface and derivative, judged by theory.

``checking.py`` says what is compared. The programs are always the same, by their numbers. Statistics are unseeded, and
fail at p < 1e-9 each. ``benchmarks/differential.py`` runs as many as one likes, and shows one or a smaller one.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator

import jax
import pytest

from differential.checking import check
from differential.drawing import numbered
from differential.kinds import Pool
from differential.showing import described

CASES = 3000
EACH = 60


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    """Clusters for all cases of this process, with numbers of 64 bits in JAX."""
    made = Pool()
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, CASES, EACH))
def test_programs_return_what_is_right(pool: Pool, first: int) -> None:
    did: Counter[str] = Counter()
    wrong = []
    for number in range(first, first + EACH):
        case = numbered(number)
        verdict = check(case, pool)
        did.update(verdict.did)
        if verdict.finds:
            wrong.append(f"case {number}\n{described(case, verdict, number)}")
    assert not wrong, "\n\n".join(wrong)
    assert did["expval"] > EACH / 10, did
