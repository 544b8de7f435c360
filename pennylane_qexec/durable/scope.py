"""Which durable run what is asked for here belongs to: that of the context, or the only one of the process."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

from pennylane_qexec.engine import nesting
from pennylane_qexec.errors import ConfigurationError

if TYPE_CHECKING:
    from pennylane_qexec.durable.run import DurableRun

_of_context: ContextVar[tuple[DurableRun, ...]] = ContextVar("qexec_durable_runs", default=())
_open: list[DurableRun] = []


def enter(run: DurableRun) -> None:
    """Let circuits belong to a run: those of this context and of copies of it, and those of threads that have none."""
    _open.append(run)
    _of_context.set((*_of_context.get(), run))


def leave(run: DurableRun) -> None:
    """Let no more circuits belong to a run."""
    if run in _open:
        _open.remove(run)
    _of_context.set(tuple(each for each in _of_context.get() if each is not run))


def current() -> DurableRun | None:
    """The run that circuits asked for here belong to; ``None`` inside of a batch that is recorded itself.

    Raises:
        ConfigurationError: several are open, and this thread is not of the context of any.
    """
    if not _open or nesting.recorded():
        return None
    here = [run for run in _open if run.is_here]
    for run in reversed(_of_context.get()):
        if run in here:
            return run
    if len(here) > 1:
        names = ", ".join(repr(run.name) for run in here)
        raise ConfigurationError(
            f"the durable runs {names} are open, and this thread belongs to none of them: start it with "
            "contextvars.copy_context().run, in the block of the run that it belongs to."
        )
    return here[0] if here else None
