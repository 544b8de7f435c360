"""Waiting for jobs."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Collection, Sequence
from concurrent.futures import Future

from pennylane_qexec import interrupts
from pennylane_qexec.engine import awaited
from pennylane_qexec.job import Outcome


def wait(futures: Sequence[Future[Outcome]]) -> list[Outcome]:
    """The outcomes of all futures, in order. The first error in time, or Ctrl-C, cancels those that are left."""
    try:
        return wait_for_all(futures)
    except BaseException:
        for future in futures:
            future.cancel()
        raise


def wait_for_all(futures: Sequence[Future[Outcome]]) -> list[Outcome]:
    """The outcomes of all futures, in order; raises the first error in time."""
    with awaited.waiting_for(futures):
        _wait_until_done(futures)
    return [future.result() for future in futures]


def _wait_until_done(futures: Sequence[Future[Outcome]]) -> None:
    left: Collection[Future[Outcome]] = futures

    def look(seconds: float | None) -> bool:
        nonlocal left
        done, left = concurrent.futures.wait(left, seconds, concurrent.futures.FIRST_EXCEPTION)
        for future in done:
            future.result()
        return not left

    interrupts.wait(look)
