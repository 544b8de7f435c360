"""Run PennyLane circuits on many simulators and QPUs as if they were one device."""

import importlib
import importlib.abc
import sys
import warnings
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pennylane_qexec import executors
    from pennylane_qexec.cluster import QCluster
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
        QExecRemote,
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
    from pennylane_qexec.experiment.history import BackendHistory, backend_history
    from pennylane_qexec.job import JobState, Outcome, Result, Share, Status, Usage
    from pennylane_qexec.persistence.cache.cache import Cache
    from pennylane_qexec.persistence.durable import DurableRun, durable_run
    from pennylane_qexec.policies import hedges, merges, retries, selectors, splits
    from pennylane_qexec.policies.budgets import Budget, set_budget
    from pennylane_qexec.providers import Backend, Provider, VirtualProvider
    from pennylane_qexec.server.client import runtime_service

__all__ = [
    "AerExecutor",
    "AnalyticCircuitError",
    "Backend",
    "BackendHistory",
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
    "QExecRemote",
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
    "backend_history",
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
    "runtime_service",
    "selectors",
    "set_budget",
    "splits",
    "total_variation_distance",
]

_HOMES = {
    "cluster.cluster": ("QCluster",),
    "cluster.estimates": ("Estimate",),
    "concurrency.futures": ("as_completed", "gather"),
    "device.device": ("ClusterDevice",),
    "device.futures": ("Later",),
    "device.qelectrons": ("QElectron", "qelectron", "run_later"),
    "engine": ("History",),
    "errors": (
        *("AnalyticCircuitError", "BudgetExceededError", "ConfigurationError", "ExecutorError", "JobCancelledError"),
        *("JobFailedError", "JobTimeoutError", "NoAccessError", "NoBackendError", "NoExecutorError"),
        *("PartialResultError", "PartialResultWarning", "PolicyError", "QExecError", "ReplayMismatchError"),
        *("ResultError", "StoreError", "UnansweredError", "WorkerDiedError"),
    ),
    "executors": (
        *("AerExecutor", "BySize", "Cost", "DeviceExecutor", "Executor", "Hybrid", "JaxExecutor", "QiskitExecutor"),
        *(
            "QBraidExecutor",
            "QExecRemote",
            "QueuedExecutor",
            "Rehearsal",
            "RuntimeExecutor",
            "Simulator",
            "Tier",
            "VirtualClock",
        ),
        "executor",
    ),
    "experiment": (
        *("Dispatch", "QuantumExecutor", "ResultCollector", "hellinger_distance", "total_variation_distance"),
    ),
    "experiment.history": ("BackendHistory", "backend_history"),
    "job": ("JobState", "Outcome", "Result", "Share", "Status", "Usage"),
    "persistence.cache.cache": ("Cache",),
    "persistence.durable": ("DurableRun", "durable_run"),
    "policies": ("hedges", "merges", "retries", "selectors", "splits"),
    "policies.budgets": ("Budget", "set_budget"),
    "providers": ("Backend", "Provider", "VirtualProvider"),
    "server.client": ("runtime_service",),
}
"""Which module has a public name. All are imported when first used: the command line answers without PennyLane."""

_HOME = {name: home for home, names in _HOMES.items() for name in names}

_SUBPACKAGES = (
    *("credentials", "engine", "errors", "executors", "experiment", "policies", "providers", "server"),
    "testing",  # needs pytest
)

_SHORT_NAMES = {
    "fingerprint": "circuits.fingerprint",
    "programs": "circuits.frameworks",
    "store": "persistence.store",
}
"""Modules that are public under a name of the package's own."""

_MOVED = {
    "budget": "policies.budgets",
    "estimates": "cluster.estimates",
    "isolation": "concurrency.isolation",
    "written": "circuits.serialization",
}
"""Modules that were public under another name in version 0.1, which works until 0.3."""


class _OtherNames(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports modules by the names of :data:`_SHORT_NAMES` and :data:`_MOVED`, and those within them."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        package, _, name = fullname.partition(".")
        if package != __name__:
            return None
        head, _, rest = name.partition(".")
        place = _SHORT_NAMES.get(head) or _MOVED.get(head)
        if place is None:
            return None
        place = ".".join(filter(None, (__name__, place, rest)))
        if name in _MOVED:  # for what is in it, the import system asks after that
            warnings.warn(f"{fullname} is now {place}.", DeprecationWarning, stacklevel=2)
        return ModuleSpec(fullname, self, loader_state=place)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(spec.loader_state)
        spec.loader_state = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        assert module.__spec__ is not None
        module.__spec__ = module.__spec__.loader_state  # its own, in place of that of the other name


# Before the finder of files, which takes a folder with nothing but bytecode left in it for a package.
sys.meta_path.insert(0, _OtherNames())


def __getattr__(name: str) -> Any:
    """Public names and modules, imported when they are first used."""
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    if name in _SUBPACKAGES or name in _SHORT_NAMES:
        return importlib.import_module(f"{__name__}.{_SHORT_NAMES.get(name, name)}")
    if name in _MOVED:
        warnings.warn(f"{__name__}.{name} is now {__name__}.{_MOVED[name]}.", DeprecationWarning, stacklevel=2)
        module = globals()[name] = importlib.import_module(f"{__name__}.{_MOVED[name]}")
        return module
    workflows = ("electron", "lattice", "get_result")
    hint = ". Workflows are left to workflow engines: call the function itself, or a task of Dask or Ray"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{hint if name in workflows else ''}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBPACKAGES, *_SHORT_NAMES})
