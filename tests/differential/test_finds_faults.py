"""Each fault that the package has had is found when it is put back, and is not found where it is corrected."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import jax
import pytest

from differential.checking import check
from differential.drawing import Case, numbered
from differential.faults import FAULTS, Fault
from differential.kinds import Pool

MOST = 40
"""So many of the cases that can meet a fault are tried."""


@pytest.fixture(autouse=True)
def quietly() -> Iterator[None]:
    with jax.enable_x64(True), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _met(fault: Fault) -> list[Case]:
    cases: list[Case] = []
    number = 0
    while len(cases) < MOST:
        case = fault.meet(numbered(number))
        cases += [] if case is None else [case]
        number += 1
    return cases


def _found(fault: Fault, case: Case) -> set[str]:
    pool = Pool()
    try:
        return fault.sorts & {sort for sort, _ in check(case, pool).finds}
    finally:
        pool.close()


@pytest.mark.slow
@pytest.mark.parametrize("number", FAULTS)
def test_a_fault_that_is_put_back_is_found(number: int) -> None:
    fault = FAULTS[number]
    for case in _met(fault):
        with fault.put_back():
            found = _found(fault, case)
        if found:
            assert not _found(fault, case), f"this is found without the fault too: {case}"
            return
    pytest.fail(f"fault {number} was met by {MOST} cases, and not found")
