"""Executors: what runs circuits, one file or folder for each kind of backend."""

import importlib
from typing import TYPE_CHECKING, Any

from pennylane_qexec.executors.base import IDEAL, DelegatingExecutor, Executor
from pennylane_qexec.executors.identity import are_equivalent
from pennylane_qexec.executors.pennylane.executor import DeviceExecutor
from pennylane_qexec.executors.pennylane.simulators import Simulator, like
from pennylane_qexec.executors.queued import QueuedExecutor
from pennylane_qexec.executors.shots import common_shots, objection_to_shots, refuse_split
from pennylane_qexec.executors.specs import cluster_class, executor, executors
from pennylane_qexec.job import Bound, Cost

if TYPE_CHECKING:
    from pennylane_qexec.executors.aer import AerExecutor
    from pennylane_qexec.executors.jax import JaxExecutor
    from pennylane_qexec.executors.qbraid import QBraidExecutor
    from pennylane_qexec.executors.qexec import QExecRemote
    from pennylane_qexec.executors.rehearsal import Rehearsal, VirtualClock
    from pennylane_qexec.executors.routing.hybrid import Hybrid
    from pennylane_qexec.executors.routing.rules import BySize, Tier
    from pennylane_qexec.executors.runtime import QiskitExecutor, RuntimeExecutor

__all__ = [
    "IDEAL",
    "AerExecutor",
    "Bound",
    "BySize",
    "Cost",
    "DelegatingExecutor",
    "DeviceExecutor",
    "Executor",
    "Hybrid",
    "JaxExecutor",
    "QBraidExecutor",
    "QExecRemote",
    "QiskitExecutor",
    "QueuedExecutor",
    "Rehearsal",
    "RuntimeExecutor",
    "Simulator",
    "Tier",
    "VirtualClock",
    "are_equivalent",
    "common_shots",
    "executor",
    "executors",
    "like",
    "objection_to_shots",
    "refuse_split",
]

LATER = {
    "AerExecutor": "aer",
    "BySize": "routing",
    "Hybrid": "routing",
    "JaxExecutor": "jax",
    "QBraidExecutor": "qbraid",
    "QExecRemote": "qexec",
    "QiskitExecutor": "runtime",
    "Rehearsal": "rehearsal",
    "RuntimeExecutor": "runtime",
    "Tier": "routing",
    "VirtualClock": "rehearsal",
}
"""What is imported when it is first used, and from where: not every program needs it."""


def __getattr__(name: str) -> Any:
    """What is imported when it is used; and ``executors.QCluster``, as Covalent's users write it."""
    if name in LATER:
        return getattr(importlib.import_module(f"{__name__}.{LATER[name]}"), name)
    if name == "QCluster":  # clusters stand above executors
        return cluster_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
