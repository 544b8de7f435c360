"""Ten thousand workloads on the engine: faults, retries, other executors, cancellations, timeouts, budgets, closing.

What must be so at the end of each is in ``tests/hazards/checks.py``: no shot is lost or invented, no budget is passed,
every future ends, for a reason. ``benchmarks/workloads.py`` carries out ten times as many.
"""

from __future__ import annotations

import threading

import pytest
from hazards.many import carry_out_many

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PARTS, EACH = 10, 1000

COMMON = {
    *("circuits", "done after a retry", "done by another executor", "cancelled futures", "cancelled at a backend"),
    *("ExecutorError", "JobTimeoutError", "JobCancelledError", "BudgetExceededError", "NoExecutorError"),
    *("busy", "lost", "wrong", "few", "nothing", "exit", "slow", "hangs", "hiccups", "gone", "failed", "silent"),
}


@pytest.mark.parametrize("part", range(PARTS))
def test_of_a_thousand_workloads_none_loses_a_shot_passes_a_budget_or_leaves_a_future_open(part: int) -> None:
    threads = threading.active_count()
    seen = carry_out_many(range(part * EACH, (part + 1) * EACH))
    assert threading.active_count() <= threads
    assert min(seen[what] for what in COMMON) >= 5, f"the workloads are trivial: {seen}"
