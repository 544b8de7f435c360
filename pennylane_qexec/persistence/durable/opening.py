"""Opening durable runs: for programs, and for clusters that record what they run."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.persistence.durable.run import DurableRun
from pennylane_qexec.persistence.store import Store
from pennylane_qexec.policies.budgets import Budget, budget_of
from pennylane_qexec.redaction import veiled

_LEASE = 60.0

_MOMENT = 1.0  # seconds


@veiled
def durable_run(
    name: str,
    store: str | os.PathLike[str] | Store,
    *,
    lease: float = _LEASE,
    budget: Budget | Mapping[str, float] | None = None,
) -> DurableRun:
    """Record every circuit that is asked for in a ``with`` block, so that the program can be run again after a crash.

    When it runs again, circuits that had finished are answered from the store, jobs that are at a backend with a queue
    are picked up there by their ids, and only the rest runs. What was run is not run or paid for again. Executors with
    a seed draw the shots of a circuit by its content and how often it was asked for in the run, so that a program that
    does the same again gets the same, bit for bit, wherever it was interrupted.

    Two processes with the same run and store share the work: each circuit runs in one of them.

    Args:
        name: of the run; the program goes on with the run of this name, if the store has one.
        store: a file such as ``"vqe.db"``, ``"sqlite:///vqe.db"`` or ``"postgresql+psycopg://..."``; see
            :func:`~pennylane_qexec.persistence.store.open_store`.
        lease: seconds after which a process that is not heard of counts as dead, so that another one takes over.
        budget: a limit for the run; what it used before it was interrupted counts.

    Returns:
        What is to be used in a ``with`` statement.

    Raises:
        ConfigurationError: the name or the store is none.
        StoreError: on entering, the store cannot be opened; later, it cannot be written.
        ReplayMismatchError: in the block, the program asks for other circuits than it did before.
    """
    if isinstance(lease, bool) or not isinstance(lease, int | float) or not lease > 0:
        raise ConfigurationError(f"lease={lease!r} must be a number of seconds above 0.")
    return DurableRun(name, store, lease, budget_of(budget))


def records(store: Any) -> DurableRun:
    """Record what a cluster runs, in a run of its own that nobody goes on with. It is open."""
    name = f"cluster-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    run = DurableRun(name, store, _LEASE, None, resumes=False)
    run.open()
    return run


def close(run: DurableRun | None) -> None:
    """Close what :func:`records` has opened, if it has."""
    if run is not None:
        run.close(finished=True)


def close_behind(run: DurableRun) -> None:
    """Close what :func:`records` has opened, as its cluster was forgotten: wherever this is called, it may not wait."""
    thread = threading.Thread(target=run.close, args=(True,), name="qexec-close", daemon=True)
    with suppress(RuntimeError):  # a program that is ending may not start any
        thread.start()
        thread.join(_MOMENT)
