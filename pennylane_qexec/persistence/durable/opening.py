"""Opening durable runs: for programs, and for clusters that record what they run."""

from __future__ import annotations

import logging
import os
import platform
import secrets
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self, final

from pennylane_qexec.concurrency import context
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.persistence import store as stores
from pennylane_qexec.persistence.durable.run import OpenRun
from pennylane_qexec.persistence.store import Store
from pennylane_qexec.policies.budgets import Budget, budget_of
from pennylane_qexec.redaction import veiled
from pennylane_qexec.redaction.display import even_incomplete, printable

logger = logging.getLogger("pennylane_qexec")

_LEASE = 60.0

_MOMENT = 1.0  # seconds

_PACKAGES = ("pennylane-qexec", "pennylane", "pennylane-lightning", "qiskit", "qiskit-aer", "numpy")

_SHOWN = 400


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


@final
class DurableRun:
    """What :func:`durable_run` opens. Use it in a ``with`` statement.

    Attributes:
        name: of the run.
    """

    def __init__(self, name: str, store: Any, lease: float, budget: Budget | None) -> None:
        self.name = name
        self._store = store
        self._lease = lease
        self._budget = budget
        self._is_open = False
        self._run: OpenRun | None = None

    @property
    def replayed(self) -> int:
        """How many circuits were answered from the store, since the run was entered."""
        return self._entered("replayed circuits").recovery.replayed

    @property
    def picked_up(self) -> int:
        """How many circuits were fetched from backends that they had been sent to before."""
        return self._entered("picked up circuits").recovery.picked_up

    @property
    def executed(self) -> int:
        """How many circuits were run."""
        return self._entered("run circuits").completions.executed

    def mark(self, name: str, value: Any = None) -> None:
        """Name this place in the run, so that the run can be forked here: ``qexec runs fork NAME NEW --at MARK``.

        When the program runs again, it sets its marks again, and they stay as they are.

        Args:
            name: of the mark, such as ``"step 40"``; each is set once by a program.
            value: what the program has computed here, such as the energy: a real number, which the dashboard plots.

        Raises:
            ConfigurationError: the run is not open, this program has set the mark already, the name is a number, or
                none that could be typed, or the value is no number.
        """
        if not self._is_open:
            raise ConfigurationError(f"the durable run {self.name!r} is not open: set marks in its 'with' block.")
        try:
            number = None if value is None else float(value)
        except (TypeError, ValueError) as error:
            raise ConfigurationError(f"value={value!r} of the mark {name!r} must be a real number.") from error
        self._entered("marks").mark(name, number)

    def _entered(self, what: str) -> OpenRun:
        if self._run is None:
            raise ConfigurationError(
                f"the durable run {self.name!r} has no {what}: use it in a 'with' statement first."
            )
        return self._run

    def __enter__(self) -> Self:
        """Open the store, and let circuits belong to the run: those asked for in this context, and in other threads."""
        if self._is_open:
            raise ConfigurationError(f"the durable run {self.name!r} is open already.")
        run = open_run(self.name, self._store, self._lease, self._budget)
        if self._budget is not None:
            try:
                self._budget.at_least(run.journal.usage())
            except BaseException:
                run.close(finished=False)
                raise
            self._budget.__enter__()
        self._run, self._is_open = run, True
        context.enter_run(run)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for all circuits of the run; after an error, leave those at backends there, and say which they are."""
        run = self._entered("end")
        context.leave_run(run)
        if self._budget is not None:
            self._budget.__exit__(kind, error, traceback)
        try:
            run.close(finished=error is None)
        finally:
            self._is_open = False

    @even_incomplete
    def __repr__(self) -> str:
        return f"<durable run {self.name!r}>"


def records(store: Any) -> OpenRun:
    """Record what a cluster runs, in a run of its own that nobody goes on with."""
    name = f"cluster-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
    return open_run(name, store, _LEASE, None, resumes=False)


def close_behind(run: OpenRun) -> None:
    """Close what :func:`records` has opened, as its cluster was forgotten: wherever this is called, it may not wait."""
    thread = threading.Thread(target=run.close, args=(True,), name="qexec-close", daemon=True)
    with suppress(RuntimeError):  # a program that is ending may not start any
        thread.start()
        thread.join(_MOMENT)


def open_run(name: str, given: Any, lease: float, budget: Budget | None, resumes: bool = True) -> OpenRun:
    """Open the store, and read what is recorded.

    Args:
        name: of the run.
        given: the store, or what names it.
        lease: seconds after which a process that is not heard of counts as dead.
        budget: a limit for the run.
        resumes: whether the run asks for what was left when it goes on.
    """
    store, now = stores.open_store(given), _versions()
    try:
        run = OpenRun(name, store, lease, budget, now, resumes, closes_store=store is not given)
    except BaseException:
        if store is not given:
            store.close()
        raise
    _warn_of_other(name, run.begun_with, now)
    return run


def _versions() -> str:
    """The versions of Python and of the packages that results depend on most, as text."""
    return ", ".join([f"python {platform.python_version()}", *(f"{name} {version(name)}" for name in _PACKAGES)])


def _warn_of_other(run: str, then: str, now: str) -> None:
    """Say that a run goes on with other versions than it was begun with."""
    changed = sorted(set(then.split(", ")) - set(now.split(", ")))
    if then and changed:
        logger.warning(
            "the durable run %r was begun with %s; now it is %s: results may differ in the last digits",
            run,
            printable(", ".join(changed)[:_SHOWN]),
            ", ".join(sorted(set(now.split(", ")) - set(then.split(", ")))),
        )
