"""Many workloads, each from a seed of its own."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

from hazards.carry_out import carry_out
from hazards.clock import Clock
from hazards.plan import workload


def carry_out_many(seeds: Iterable[int], **options: Any) -> Counter[str]:
    """Carry out the workloads of seeds, one after the other.

    Args:
        seeds: the seeds.
        options: options of the clusters beside those of the workloads.

    Returns:
        How often what happened.

    Raises:
        AssertionError: something came of one of them that must not; says how to see it again.
    """
    seen: Counter[str] = Counter()
    with without_waiting() as clock:
        for seed in seeds:
            try:
                seen += carry_out(workload(Random(seed)), clock, **options)
            except Exception as error:
                error.add_note(f"See it again, as far as threads allow: python benchmarks/workloads.py --seed {seed}")
                raise
    return seen


@contextmanager
def without_waiting() -> Iterator[Clock]:
    """A clock in place, and nothing logged of what goes wrong on purpose."""
    clock = Clock()
    logging.disable(logging.CRITICAL)
    try:
        with clock.in_place():
            yield clock
    finally:
        logging.disable(logging.NOTSET)
