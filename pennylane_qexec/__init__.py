"""Run PennyLane circuits on many simulators and QPUs as if they were one device."""

from typing import TYPE_CHECKING, Any

from pennylane_qexec import executors
from pennylane_qexec.cluster import QCluster
from pennylane_qexec.device import ClusterDevice
from pennylane_qexec.engine import History
from pennylane_qexec.errors import (
    AnalyticCircuitError,
    ConfigurationError,
    ExecutorError,
    JobCancelledError,
    JobFailedError,
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
    QueuedExecutor,
    Simulator,
    executor,
)
from pennylane_qexec.futures import Later
from pennylane_qexec.gathering import as_completed, gather
from pennylane_qexec.job import JobState, Outcome, Result, Share, Status
from pennylane_qexec.policies import merges, retries, selectors, splits
from pennylane_qexec.qelectron import QElectron, qelectron, run_later

if TYPE_CHECKING:
    from pennylane_qexec.executors import (
        AerExecutor,
        BySize,
        Hybrid,
        JaxExecutor,
        QiskitExecutor,
        RuntimeExecutor,
        Tier,
    )

__all__ = [
    "AerExecutor",
    "AnalyticCircuitError",
    "BySize",
    "ClusterDevice",
    "ConfigurationError",
    "Cost",
    "DeviceExecutor",
    "Executor",
    "ExecutorError",
    "History",
    "Hybrid",
    "JaxExecutor",
    "JobCancelledError",
    "JobFailedError",
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
    "RuntimeExecutor",
    "Share",
    "Simulator",
    "Status",
    "Tier",
    "WorkerDiedError",
    "as_completed",
    "executor",
    "executors",
    "gather",
    "merges",
    "qelectron",
    "retries",
    "run_later",
    "selectors",
    "splits",
]


def __getattr__(name: str) -> Any:
    """What is imported when it is first used: some executors, and ``qexec.testing``, which needs pytest."""
    if name in executors.LATER:
        return getattr(executors, name)
    if name == "testing":
        import importlib

        return importlib.import_module("pennylane_qexec.testing")
    workflows = ("electron", "lattice", "get_result")
    hint = ". Workflows are left to workflow engines: call the function itself, or a task of Dask or Ray"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint if name in workflows else ''}")
