"""Experiments: circuits over the backends of many providers, split, dispatched, collected and merged."""

from pennylane_qexec.experiment.collector import ResultCollector
from pennylane_qexec.experiment.dispatch import Dispatch
from pennylane_qexec.experiment.executor import QuantumExecutor
from pennylane_qexec.experiment.history import BackendHistory, backend_history
from pennylane_qexec.experiment.jobs import DispatchJob
from pennylane_qexec.experiment.merges import hellinger_distance, total_variation_distance
from pennylane_qexec.experiment.tasks import Record

__all__ = [
    "BackendHistory",
    "Dispatch",
    "DispatchJob",
    "QuantumExecutor",
    "Record",
    "ResultCollector",
    "backend_history",
    "hellinger_distance",
    "total_variation_distance",
]
