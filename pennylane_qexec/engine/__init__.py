"""The asynchronous core: the only place that knows about time, threads and retries."""

from pennylane_qexec.engine.carrier import Spreader
from pennylane_qexec.engine.engine import Engine
from pennylane_qexec.engine.futures import AskedFuture
from pennylane_qexec.engine.history import KEPT_ROWS, History, Row
from pennylane_qexec.engine.lane import lasting_objection
from pennylane_qexec.engine.leaving import wait_at_exit
from pennylane_qexec.engine.nesting import ChainLock
from pennylane_qexec.engine.records import Times
from pennylane_qexec.engine.venue import capacity_of, prepares_late
from pennylane_qexec.engine.waiting import wait, wait_for_all

__all__ = [
    "KEPT_ROWS",
    "AskedFuture",
    "ChainLock",
    "Engine",
    "History",
    "Row",
    "Spreader",
    "Times",
    "capacity_of",
    "lasting_objection",
    "prepares_late",
    "wait",
    "wait_at_exit",
    "wait_for_all",
]
