"""The asynchronous core: the only place that knows about time, threads and retries."""

from pennylane_qexec.engine.carrier import Spreader
from pennylane_qexec.engine.engine import Engine, wait
from pennylane_qexec.engine.futures import AskedFuture
from pennylane_qexec.engine.history import History, Row
from pennylane_qexec.engine.leaving import wait_at_exit
from pennylane_qexec.engine.nesting import ChainLock
from pennylane_qexec.engine.venue import capacity_of, prepares_late

__all__ = [
    "AskedFuture",
    "ChainLock",
    "Engine",
    "History",
    "Row",
    "Spreader",
    "capacity_of",
    "prepares_late",
    "wait",
    "wait_at_exit",
]
