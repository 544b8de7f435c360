"""What a run has used before it was interrupted."""

from __future__ import annotations

from pennylane_qexec.budget import Amounts
from pennylane_qexec.engine.records import CACHE
from pennylane_qexec.store import State, Store

_NOT_SENT = (State.WAITING, State.CLAIMED, State.CANCELLED)


def usage_of(store: Store, run: int) -> Amounts:
    """What the recorded circuits of a run have used, with all attempts, and what is at backends.

    Args:
        store: where the run is.
        run: its id.

    Returns:
        Shots, circuits, cost (US dollars) and seconds. The cost of what is at a backend is not known yet.
    """
    shots = circuits = 0
    cost = seconds = 0.0
    for job in store.jobs(run):
        if job.backend == CACHE:
            continue  # it was answered at no cost
        attempts = job.attempt - (job.state in _NOT_SENT)
        shots += attempts * job.shots
        circuits += attempts * job.circuits
        cost += job.cost
        seconds += job.seconds
    return Amounts(shots, circuits, cost, seconds)
