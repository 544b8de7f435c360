"""Run PennyLane circuits on many simulators and QPUs as if they were one device."""

from typing import Any

from pennylane_qexec.cluster import QCluster
from pennylane_qexec.device import ClusterDevice
from pennylane_qexec.engine import History
from pennylane_qexec.errors import (
    AnalyticCircuitError,
    ConfigurationError,
    ExecutorError,
    JobCancelledError,
    JobTimeoutError,
    NoExecutorError,
    PolicyError,
    QExecError,
    WorkerDiedError,
)
from pennylane_qexec.executors import (
    Cost,
    DeviceExecutor,
    Executor,
    QiskitExecutor,
    QueuedExecutor,
    Simulator,
    executor,
)
from pennylane_qexec.futures import Later
from pennylane_qexec.gathering import as_completed, gather
from pennylane_qexec.job import JobState, Outcome, Result, Share, Status
from pennylane_qexec.policies import merges, retries, selectors, splits
from pennylane_qexec.qelectron import QElectron, qelectron, run_later

__all__ = [
    "AnalyticCircuitError",
    "ClusterDevice",
    "ConfigurationError",
    "Cost",
    "DeviceExecutor",
    "Executor",
    "ExecutorError",
    "History",
    "JobCancelledError",
    "JobState",
    "JobTimeoutError",
    "Later",
    "NoExecutorError",
    "Outcome",
    "PolicyError",
    "QCluster",
    "QElectron",
    "QExecError",
    "QiskitExecutor",
    "QueuedExecutor",
    "Result",
    "Share",
    "Simulator",
    "Status",
    "WorkerDiedError",
    "as_completed",
    "executor",
    "gather",
    "merges",
    "qelectron",
    "retries",
    "run_later",
    "selectors",
    "splits",
]


def __getattr__(name: str) -> Any:
    """``qexec.testing``, imported when it is used, since it needs pytest."""
    if name == "testing":
        import importlib

        return importlib.import_module("pennylane_qexec.testing")
    workflows = ("electron", "lattice", "get_result")
    hint = ". Workflows are left to workflow engines: call the function itself, or a task of Dask or Ray"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint if name in workflows else ''}")
