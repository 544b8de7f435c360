"""Where an executor's batches run best, and how many at a time."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Sequence

from pennylane.tape import QuantumScript

from pennylane_qexec.engine import processes
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.queued import QueuedExecutor
from pennylane_qexec.machine import cores

HEAVY = 0.1
"""Estimated seconds from which a call is worth spreading over worker processes."""

EACH = 0.002
"""Estimated seconds from which a circuit is worth sending to a worker process, if somebody waits for it."""

_WORTH_A_PIPE = 0.01
_SECONDS_PER_NUMBER = 2e-9
_IN_FLIGHT = 1000


def may_use_processes(executor: Executor) -> bool:
    """Whether an executor left to decide by itself (``parallel="auto"``) can be sent to worker processes."""
    return executor.parallel == "auto" and executor.local and executor.shareable


def uses_processes(executor: Executor, circuits: Sequence[QuantumScript]) -> bool:
    """Whether a batch goes to a worker process, if it does not run in the calling thread."""
    if executor.parallel == "process":
        return True
    return may_use_processes(executor) and seconds(executor, circuits) >= max(_WORTH_A_PIPE, EACH * len(circuits))


def prepares_late(executor: Executor, circuit: QuantumScript, later: bool, alike: bool = False) -> bool:
    """Whether circuits like this one run in other processes, so that preparing them there too is faster.

    Args:
        executor: who is to run them.
        circuit: the circuit.
        later: whether nobody waits for it: then also small ones run there, where they keep nobody from going on.
        alike: whether it has to be done alike each time that the program runs, whatever has started by then.
    """
    if not executor.local:
        return False
    if executor.parallel == "process" or isinstance(executor.parallel, concurrent.futures.Executor):
        return True
    if alike or not may_use_processes(executor) or not processes.crew.warm:
        return False
    return later or uses_processes(executor, (circuit,))


def seconds(executor: Executor, circuits: Sequence[QuantumScript]) -> float:
    """Estimated running time: from the size of the circuits, or what the last ones have taken if that is longer."""
    rate = executor.load().circuits_per_second
    measured = len(circuits) / rate if rate else 0.0
    return max(measured, computing_seconds(executor, circuits))


def capacity_of(executor: Executor) -> int:
    """How many batches an executor runs at the same time."""
    return executor.workers or _default_capacity(executor)


def _default_capacity(executor: Executor) -> int:
    if isinstance(executor, QueuedExecutor):
        return _IN_FLIGHT
    parallel = executor.parallel == "process" or isinstance(executor.parallel, concurrent.futures.Executor)
    return cores() if parallel or may_use_processes(executor) else 1


def computing_seconds(executor: Executor, circuits: Sequence[QuantumScript]) -> float:
    """Estimated running time, from the size of the circuits alone."""
    return executor.effort(circuits) * _SECONDS_PER_NUMBER
