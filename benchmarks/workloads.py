"""How many workloads does the engine carry through faults, cancellations, timeouts and budgets, and what happens then?

Usage: ``python benchmarks/workloads.py [WORKLOADS]``, with their number (default: 100,000); or with ``--seed SEED`` to
see that one, and carry it out a hundred times.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from pprint import pprint
from random import Random

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from answers import Answer, answer
from hazards.executors import Trouble
from hazards.many import carry_out_many
from hazards.plan import workload

EACH, AGAIN = 500, 100
HAPPENED = {
    "circuits asked for": ("circuits",),
    "circuits sent to executors": ("circuits sent",),
    "batches that went wrong": tuple(set(Trouble) - {Trouble.SLOW, Trouble.HANGS, Trouble.HICCUPS}),
    "batches that hung": ("hangs",),
    "jobs done after a retry": ("done after a retry",),
    "jobs done by another executor": ("done by another executor",),
    "futures cancelled": ("cancelled futures",),
    "jobs cancelled at a backend": ("cancelled at a backend",),
    "failed wherever they were tried": ("ExecutorError",),
    "timed out": ("JobTimeoutError",),
    "refused by a budget": ("BudgetExceededError",),
    "refused by all executors": ("NoExecutorError",),
    "cut off by closing": ("JobCancelledError", "ConfigurationError"),
}


def part(first: int) -> tuple[Counter[str], float]:
    """Carry out some of the workloads; returns what happened, and the seconds it took."""
    start = time.perf_counter()
    seen = carry_out_many(range(first, first + EACH))
    return seen, time.perf_counter() - start


def carried_out(workloads: int) -> Iterator[Answer]:
    """What happened in so many workloads."""
    seen: Counter[str] = Counter()
    rates = []
    with multiprocessing.get_context("spawn").Pool() as pool:
        for happened, seconds in pool.imap_unordered(part, range(0, workloads, EACH)):
            seen += happened
            rates.append(EACH / seconds)
            print(f"\r{len(rates) * EACH:,} workloads", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    beside = "no shot lost or invented, no budget passed, every future ended"
    yield Answer.of("workloads carried out", len(rates) * EACH, "workloads", at_least=workloads, beside=beside)
    yield Answer.of("speed", rates, "workloads per second, in each process")
    for question, keys in HAPPENED.items():
        yield Answer.of(question, sum(seen[key] for key in keys), "in all")


def main() -> None:
    """Carry out many workloads, or one many times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="?", type=int, default=100_000)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    if options.seed is None:
        answer("Workloads with faults, cancellations, timeouts and budgets", lambda: carried_out(options.workloads))
        return
    pprint(workload(Random(options.seed)), width=120)
    pprint(carry_out_many([options.seed] * AGAIN))


if __name__ == "__main__":
    main()
