"""The asynchronous core: the only place that knows about time, threads and retries."""

from pennylane_qexec.engine.carrier import prepares_late
from pennylane_qexec.engine.engine import Engine, wait
from pennylane_qexec.engine.history import History, Row

__all__ = ["Engine", "History", "Row", "prepares_late", "wait"]
