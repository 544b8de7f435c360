"""The totals of PennyLane's Tracker, with no count lost between threads.

A tracker adds to its totals by reading and then writing. Of two threads that execute on one device at the same time,
one's executions could go uncounted.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

from pennylane import Tracker

from pennylane_qexec.errors import ConfigurationError


def check() -> None:
    """Make sure that a tracker adds up where expected.

    Raises:
        ConfigurationError: it does not.
    """
    if "update" not in vars(Tracker):
        raise ConfigurationError(
            "this pennylane is not known to this version of pennylane-qexec (its Tracker, which must be made safe for "
            "threads, lacks update). Install 'pennylane>=0.45,<0.46', or a newer pennylane-qexec."
        )


def add_one_at_a_time() -> None:
    """Let one thread at a time add to the totals of trackers."""
    adding, update = threading.RLock(), Tracker.update

    @functools.wraps(update)
    def locked_update(self: Any, **values: Any) -> None:
        with adding:
            update(self, **values)

    Tracker.update = locked_update
