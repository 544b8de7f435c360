"""Durable runs: programs that are run again after a crash go on where they were."""

from pennylane_qexec.persistence.durable.opening import DurableRun, close_behind, durable_run, records
from pennylane_qexec.persistence.durable.run import OpenRun, current

__all__ = ["DurableRun", "OpenRun", "close_behind", "current", "durable_run", "records"]
