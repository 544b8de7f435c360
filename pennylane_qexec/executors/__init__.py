"""Executors: one file for each kind of backend."""

from pennylane_qexec.executors.base import Bound, Executor, QueuedExecutor
from pennylane_qexec.executors.cost import Cost
from pennylane_qexec.executors.device import DeviceExecutor
from pennylane_qexec.executors.specs import executor, executors

__all__ = ["Bound", "Cost", "DeviceExecutor", "Executor", "QueuedExecutor", "executor", "executors"]
