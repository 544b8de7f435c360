"""What does hedging save of the longest waits, and how many shots does it cost?

Three rehearsed QPUs, one of which has a queue with a heavy tail, and three callers who ask for one circuit after the
other. A second of a real queue is a millisecond here.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from answers import Answer, answer, seconds

import pennylane_qexec as qexec
from pennylane_qexec.executors.rehearsal import lognormal
from pennylane_qexec.testing import flip

CIRCUITS, CALLERS, SHOTS, ROUNDS = 200, 3, 100, 5
HEDGE = qexec.hedges.after(quantile=0.9, factor=1.5, least=0.03)


def qpus(seed: int) -> list[qexec.Rehearsal]:
    """Two QPUs whose queues are much alike, and one where some jobs wait for very long."""
    queues: list[Any] = [(0.02, 0.03), (0.02, 0.03), lognormal(0.025, 1.5)]
    found = [
        qexec.Rehearsal("default.qubit", queue=queue, capacity=None, seed=seed, name=f"qpu-{number}")
        for number, queue in enumerate(queues)
    ]
    for qpu in found:
        qpu.poll_interval = qpu.poll_interval_max = 0.002
    return found


def latencies(seed: int, hedge: Any) -> tuple[np.ndarray, float]:
    """The seconds that each circuit takes, and the shots that were run for each that was asked for."""
    executors = qpus(seed)
    with qexec.QCluster(executors, hedge=hedge) as cluster, ThreadPoolExecutor(CALLERS) as pool:
        circuits = [flip(0.01 * number, shots=SHOTS) for number in range(CIRCUITS)]
        took = list(pool.map(lambda circuit: seconds(lambda: cluster.execute([circuit])), circuits))
    sent = sum(sum(entry.shots) for qpu in executors for entry in qpu.ledger)
    return np.array(took), sent / (CIRCUITS * SHOTS)


def tails() -> Iterator[Answer]:
    """Waits with and without hedging, in turns."""
    found: dict[str, list[Any]] = {"plain": [], "hedged": []}
    for seed in range(ROUNDS):
        found["plain"].append(latencies(seed, None))
        found["hedged"].append(latencies(seed, HEDGE))
    for quantile, most in ((50, None), (99, 0.6)):
        plain, hedged = ([1e3 * np.percentile(took, quantile) for took, _ in found[name]] for name in found)
        beside = f"{np.median(hedged):.0f} ms, without {np.median(plain):.0f} ms"
        ratios = np.divide(hedged, plain)
        yield Answer.of(f"quantile {quantile} % of the waits", ratios, "times as long", at_most=most, beside=beside)
    yield Answer.of("shots sent", [sent for _, sent in found["hedged"]], "times those asked for", at_most=1.2)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    answer("What hedging saves, and what it costs", tails)
