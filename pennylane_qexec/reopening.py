"""Clusters that are sent to other processes: each is opened there once, however often it arrives.

A process forked from one with clusters cannot use them, nor those that are sent to it: start processes by ``spawn`` or
``forkserver``.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

_open: WeakValueDictionary[str, Any] = WeakValueDictionary()
_lock = threading.RLock()


def new_token(cluster: Any) -> str:
    """A name for a cluster that is the same in all processes."""
    token = uuid.uuid4().hex
    _open[token] = cluster
    return token


def arrived(token: str, build: Callable[[], Any]) -> Any:
    """The cluster of that name in this process; opened now if it has not been, or is closed.

    Args:
        token: its name.
        build: opens it.
    """
    with _lock:
        cluster = _open.get(token)
        if cluster is None or cluster.closed:
            cluster = _open[token] = build()
        return cluster
