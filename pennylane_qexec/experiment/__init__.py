"""Experiments: circuits over the backends of many providers, split, dispatched, collected and merged."""

from pennylane_qexec.experiment.collector import PartialResultWarning, ResultCollector
from pennylane_qexec.experiment.dispatch import Dispatch, DispatchJob
from pennylane_qexec.experiment.executor import QuantumExecutor
from pennylane_qexec.experiment.record import Record

__all__ = ["Dispatch", "DispatchJob", "PartialResultWarning", "QuantumExecutor", "Record", "ResultCollector"]
