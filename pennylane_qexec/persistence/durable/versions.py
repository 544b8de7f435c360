"""With which versions a run was begun, and what it had used before it was interrupted."""

from __future__ import annotations

import logging
import platform
from importlib.metadata import version

from pennylane_qexec.job import CACHE
from pennylane_qexec.persistence.store import State, Store
from pennylane_qexec.policies.amounts import Amounts
from pennylane_qexec.redaction.display import printable

logger = logging.getLogger("pennylane_qexec")

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


_PACKAGES = ("pennylane-qexec", "pennylane", "pennylane-lightning", "qiskit", "qiskit-aer", "numpy")

_SHOWN = 400


def versions() -> str:
    """The versions of Python and of the packages that results depend on most, as text."""
    return ", ".join([f"python {platform.python_version()}", *(f"{name} {version(name)}" for name in _PACKAGES)])


def warn_of_other(run: str, then: str, now: str) -> None:
    """Say that a run goes on with other versions than it was begun with."""
    changed = sorted(set(then.split(", ")) - set(now.split(", ")))
    if then and changed:
        logger.warning(
            "the durable run %r was begun with %s; now it is %s: results may differ in the last digits",
            run,
            printable(", ".join(changed)[:_SHOWN]),
            ", ".join(sorted(set(now.split(", ")) - set(then.split(", ")))),
        )
