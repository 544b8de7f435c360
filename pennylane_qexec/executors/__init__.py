"""Executors: one file for each kind of backend."""

from typing import TYPE_CHECKING, Any

from pennylane_qexec.executors.base import Bound, Executor, QueuedExecutor
from pennylane_qexec.executors.cost import Cost
from pennylane_qexec.executors.device import DeviceExecutor
from pennylane_qexec.executors.names import cluster_class, executor
from pennylane_qexec.executors.qiskit_local import QiskitExecutor
from pennylane_qexec.executors.shots import common_shots, objection_to_shots, refuse_split
from pennylane_qexec.executors.simulator import Simulator
from pennylane_qexec.executors.specs import executors
from pennylane_qexec.executors.twins import like

if TYPE_CHECKING:
    from pennylane_qexec.cluster import QCluster as QCluster

__all__ = [
    "Bound",
    "Cost",
    "DeviceExecutor",
    "Executor",
    "QiskitExecutor",
    "QueuedExecutor",
    "Simulator",
    "common_shots",
    "executor",
    "executors",
    "like",
    "objection_to_shots",
    "refuse_split",
]


def __getattr__(name: str) -> Any:
    """``executors.QCluster``, as Covalent's users write it; clusters stand above executors."""
    if name == "QCluster":
        return cluster_class()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
