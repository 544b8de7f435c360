"""Stores: records of runs, jobs and cached results that outlive the process. They know nothing of PennyLane."""

import importlib
from typing import TYPE_CHECKING, Any

from pennylane_qexec.persistence.store.base import CHANGES, State, Store
from pennylane_qexec.persistence.store.records import Cached, CacheInfo, Ended, Mark, NewJob, Run, StoredJob

if TYPE_CHECKING:
    from pennylane_qexec.persistence.store.sql import open_store

__all__ = [
    "CHANGES",
    "CacheInfo",
    "Cached",
    "Ended",
    "Mark",
    "NewJob",
    "Run",
    "State",
    "Store",
    "StoredJob",
    "open_store",
]


def __getattr__(name: str) -> Any:
    """``open_store``, imported when it is first used: SQLAlchemy comes with it."""
    if name == "open_store":
        return importlib.import_module(f"{__name__}.sql").open_store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
