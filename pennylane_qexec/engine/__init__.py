"""The asynchronous core: the only place that knows about time, threads and retries."""

from pennylane_qexec.concurrency.context import ChainLock
from pennylane_qexec.concurrency.futures import AskedFuture, wait, wait_for_all
from pennylane_qexec.concurrency.lifecycle import wait_at_exit
from pennylane_qexec.engine.engine import Engine
from pennylane_qexec.engine.history import KEPT_ROWS, History
from pennylane_qexec.engine.placement import capacity_of, prepares_late
from pennylane_qexec.engine.records import Row
from pennylane_qexec.executors import DelegatingExecutor
from pennylane_qexec.job import Times

__all__ = [
    "KEPT_ROWS",
    "AskedFuture",
    "ChainLock",
    "DelegatingExecutor",
    "Engine",
    "History",
    "Row",
    "Times",
    "capacity_of",
    "prepares_late",
    "wait",
    "wait_at_exit",
    "wait_for_all",
]
