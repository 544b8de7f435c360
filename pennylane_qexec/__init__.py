"""Run PennyLane circuits on many simulators and QPUs as if they were one device."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pennylane_qexec import executors
    from pennylane_qexec.cluster.cluster import QCluster
    from pennylane_qexec.cluster.estimates import Estimate
    from pennylane_qexec.concurrency.futures import as_completed, gather
    from pennylane_qexec.device.device import ClusterDevice
    from pennylane_qexec.device.futures import Later
    from pennylane_qexec.device.qelectrons import QElectron, qelectron, run_later
    from pennylane_qexec.engine import History
    from pennylane_qexec.errors import (
        AnalyticCircuitError,
        BudgetExceededError,
        ConfigurationError,
        ExecutorError,
        JobCancelledError,
        JobFailedError,
        JobTimeoutError,
        NoAccessError,
        NoBackendError,
        NoExecutorError,
        PartialResultError,
        PartialResultWarning,
        PolicyError,
        QExecError,
        ReplayMismatchError,
        ResultError,
        StoreError,
        UnansweredError,
        WorkerDiedError,
    )
    from pennylane_qexec.executors import (
        AerExecutor,
        BySize,
        Cost,
        DeviceExecutor,
        Executor,
        Hybrid,
        JaxExecutor,
        QBraidExecutor,
        QiskitExecutor,
        QueuedExecutor,
        Rehearsal,
        RuntimeExecutor,
        Simulator,
        Tier,
        VirtualClock,
        executor,
    )
    from pennylane_qexec.experiment import (
        Dispatch,
        QuantumExecutor,
        ResultCollector,
        hellinger_distance,
        total_variation_distance,
    )
    from pennylane_qexec.job import JobState, Outcome, Result, Share, Status, Usage
    from pennylane_qexec.persistence.cache.cache import Cache
    from pennylane_qexec.persistence.durable import DurableRun, durable_run
    from pennylane_qexec.policies import hedges, merges, retries, selectors, splits
    from pennylane_qexec.policies.budgets import Budget, set_budget
    from pennylane_qexec.providers import Backend, Provider, VirtualProvider

__all__ = [
    "AerExecutor",
    "AnalyticCircuitError",
    "Backend",
    "Budget",
    "BudgetExceededError",
    "BySize",
    "Cache",
    "ClusterDevice",
    "ConfigurationError",
    "Cost",
    "DeviceExecutor",
    "Dispatch",
    "DurableRun",
    "Estimate",
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
    "NoAccessError",
    "NoBackendError",
    "NoExecutorError",
    "Outcome",
    "PartialResultError",
    "PartialResultWarning",
    "PolicyError",
    "Provider",
    "QBraidExecutor",
    "QCluster",
    "QElectron",
    "QExecError",
    "QiskitExecutor",
    "QuantumExecutor",
    "QueuedExecutor",
    "Rehearsal",
    "ReplayMismatchError",
    "Result",
    "ResultCollector",
    "ResultError",
    "RuntimeExecutor",
    "Share",
    "Simulator",
    "Status",
    "StoreError",
    "Tier",
    "UnansweredError",
    "Usage",
    "VirtualClock",
    "VirtualProvider",
    "WorkerDiedError",
    "as_completed",
    "durable_run",
    "executor",
    "executors",
    "gather",
    "hedges",
    "hellinger_distance",
    "merges",
    "qelectron",
    "retries",
    "run_later",
    "selectors",
    "set_budget",
    "splits",
    "total_variation_distance",
]

_HOMES = {
    "budget": ("Budget", "set_budget"),
    "cache.caches": ("Cache",),
    "cluster": ("QCluster",),
    "device": ("ClusterDevice",),
    "durable": ("DurableRun", "durable_run"),
    "engine": ("History",),
    "errors": (
        *("AnalyticCircuitError", "BudgetExceededError", "ConfigurationError", "ExecutorError", "JobCancelledError"),
        *("JobFailedError", "JobTimeoutError", "NoAccessError", "NoBackendError", "NoExecutorError"),
        *("PartialResultError", "PartialResultWarning", "PolicyError", "QExecError", "ReplayMismatchError"),
        *("ResultError", "StoreError", "UnansweredError", "WorkerDiedError"),
    ),
    "estimates": ("Estimate",),
    "executors": (
        *("AerExecutor", "BySize", "Cost", "DeviceExecutor", "Executor", "Hybrid", "JaxExecutor", "QiskitExecutor"),
        *("QBraidExecutor", "QueuedExecutor", "Rehearsal", "RuntimeExecutor", "Simulator", "Tier", "VirtualClock"),
        "executor",
    ),
    "experiment": (
        *("Dispatch", "QuantumExecutor", "ResultCollector", "hellinger_distance", "total_variation_distance"),
    ),
    "futures": ("Later",),
    "gathering": ("as_completed", "gather"),
    "job": ("JobState", "Outcome", "Result", "Share", "Status", "Usage"),
    "policies": ("hedges", "merges", "retries", "selectors", "splits"),
    "providers": ("Backend", "Provider", "VirtualProvider"),
    "qelectrons": ("QElectron", "qelectron", "run_later"),
}
"""Which module has a public name. All are imported when first used: the command line answers without PennyLane."""

_ROOMS = (
    *("credentials", "engine", "errors", "executors", "experiment", "fingerprint", "policies", "programs", "providers"),
    "store",
    "testing",  # needs pytest
)

_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Public names and modules, imported when they are first used."""
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    workflows = ("electron", "lattice", "get_result")
    hint = ". Workflows are left to workflow engines: call the function itself, or a task of Dask or Ray"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint if name in workflows else ''}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_ROOMS})
