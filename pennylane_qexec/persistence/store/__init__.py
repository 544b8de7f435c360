"""Stores: records of runs, jobs and cached results that outlive the process. They know nothing of PennyLane."""

import importlib
from typing import TYPE_CHECKING, Any

from pennylane_qexec.persistence.store.base import CHANGES, State, Store
from pennylane_qexec.persistence.store.records import (
    BackendResults,
    Cached,
    CacheInfo,
    Ended,
    ExperimentRun,
    Mark,
    NewExperimentRun,
    NewJob,
    Run,
    StoredExperiment,
    StoredJob,
)

if TYPE_CHECKING:
    from pennylane_qexec.persistence.store.sql import open_store

__all__ = [
    "CHANGES",
    "BackendResults",
    "CacheInfo",
    "Cached",
    "Ended",
    "ExperimentRun",
    "Mark",
    "NewExperimentRun",
    "NewJob",
    "Run",
    "State",
    "Store",
    "StoredExperiment",
    "StoredJob",
    "open_store",
]


def __getattr__(name: str) -> Any:
    """``open_store``, imported when it is first used: SQLAlchemy comes with it."""
    if name == "open_store":
        return importlib.import_module(f"{__name__}.sql").open_store
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
