"""The context of a call: how deep it is inside running batches, what counts for it, and who notes its outcomes.

It is one value in one context variable, so it goes where Python's contexts go. Copies of the caller's context run

- batches in an executor's threads, and what is called when their jobs end,
- circuits that a durable run asks for on behalf of a caller, and what is called when those end,
- functions that run later, and the threads of experiments, whose changes their caller does not see.

A batch in the calling thread runs in the caller's own context, see :func:`inside`. Other threads begin with an empty
one, as do processes. The engine's thread has that of whoever woke it, which means nothing there.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import Any, NamedTuple

from pennylane_qexec.concurrency import interrupts
from pennylane_qexec.errors import ConfigurationError


class CallContext(NamedTuple):
    """What holds for the code that asks. A named tuple, as a changed copy of one costs a quarter of a dataclass's.

    Attributes:
        depth: how many batches it runs inside of, of whatever clusters; 0 outside of all.
        recorded: whether it runs inside of a batch that a durable run records.
        function_depth: how many functions that run later it runs inside of.
        awaited: notes the futures that it waits for.
        outcome_log: notes the outcomes of its circuits.
        holds: the locks that it holds.
        budgets: the budgets that count for it.
        runs: the durable runs that it belongs to, the innermost last.
    """

    depth: int = 0
    recorded: bool = False
    function_depth: int = 0
    awaited: AwaitedFutures | None = None
    outcome_log: OutcomeLog | None = None
    holds: tuple[_Hold, ...] = ()
    budgets: tuple[Any, ...] = ()
    runs: tuple[Any, ...] = ()


_OUTSIDE = CallContext()
_context: ContextVar[CallContext] = ContextVar("pennylane_qexec_call", default=_OUTSIDE)

current: Callable[[], CallContext] = _context.get
"""The context of the code that asks."""


def set_current(new: CallContext) -> None:
    """Let something else hold from now on, in this context and in those copied from it."""
    _context.set(new)


@contextmanager
def inside(
    batch_depth: int | None = None,
    recorded: bool = False,
    awaited: AwaitedFutures | None = None,
    budgets: tuple[Any, ...] | None = None,
) -> Iterator[None]:
    """Mark what is called as running inside a batch.

    Args:
        batch_depth: the depth of the batch itself; default: that of the code that asks.
        recorded: whether a durable run records the batch, so that what is asked for inside of it need not be.
        awaited: notes what is waited for; default: what does already.
        budgets: those that count; default: those that do already.
    """
    before = _context.get()
    now = before._replace(
        depth=(before.depth if batch_depth is None else batch_depth) + 1,
        recorded=recorded or before.recorded,
        awaited=awaited or before.awaited,
        budgets=before.budgets if budgets is None else budgets,
    )
    _context.set(now)
    try:
        yield
    finally:
        after = _context.get()
        _context.set(before if after is now else _restored(before, now, after))


def _restored(before: CallContext, now: CallContext, after: CallContext) -> CallContext:
    """A context without one change; what else has changed since, such as a budget that was entered, stays."""
    fields = zip(before, now, after, strict=True)
    return CallContext._make(last if old is new else old for old, new, last in fields)


_open_runs: list[Any] = []


def enter_run(run: Any) -> None:
    """Let circuits belong to a run: those of this context and of copies of it, and those of threads that have none."""
    _open_runs.append(run)
    here = _context.get()
    _context.set(here._replace(runs=(*here.runs, run)))


def leave_run(run: Any) -> None:
    """Let no more circuits belong to a run."""
    if run in _open_runs:
        _open_runs.remove(run)
    here = _context.get()
    _context.set(here._replace(runs=tuple(each for each in here.runs if each is not run)))


def current_run() -> Any:
    """The durable run that circuits asked for here belong to; ``None`` inside of a batch that is recorded itself.

    Raises:
        ConfigurationError: several are open, and this thread is not of the context of any.
    """
    here = _context.get()
    if not _open_runs or here.recorded:
        return None
    runs = [run for run in _open_runs if run.is_here]
    for run in reversed(here.runs):
        if run in runs:
            return run
    if len(runs) > 1:
        names = ", ".join(repr(run.name) for run in runs)
        raise ConfigurationError(
            f"the durable runs {names} are open, and this thread belongs to none of them: start it with "
            "contextvars.copy_context().run, in the block of the run that it belongs to."
        )
    return runs[0] if runs else None


class AwaitedFutures:
    """The futures that a batch waits for: if nobody waits for the batch any more, nobody waits for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._futures: list[Sequence[Future[Any]]] = []
        self._given_up = False

    def give_up(self) -> None:
        """Cancel what is waited for, now and from now on."""
        with self._lock:
            self._given_up = True
            futures = [future for several in self._futures for future in several]
        for future in futures:
            future.cancel()

    @contextmanager
    def waiting_for(self, futures: Sequence[Future[Any]]) -> Iterator[None]:
        """While this lasts, the batch waits for futures."""
        with self._lock:
            self._futures.append(futures)
            given_up = self._given_up
        if given_up:
            for future in futures:
                future.cancel()
        try:
            yield
        finally:
            with self._lock:
                self._futures.remove(futures)


def waiting_for(futures: Sequence[Future[Any]]) -> AbstractContextManager[None]:
    """While this lasts, whoever calls it waits for futures."""
    awaited = _context.get().awaited
    return nullcontext() if awaited is None else awaited.waiting_for(futures)


class ChainLock:
    """A lock that belongs to a chain of calls, not to a thread.

    What is called while it is held may enter it again, also in another thread, as jobs take the context variables of
    their caller with them: there the caller waits, and waiting for it would never end.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def held(self) -> AbstractContextManager[Any]:
        """Hold the lock."""
        if any(hold.lock is self and not hold.over for hold in _context.get().holds):
            return _HELD_ALREADY
        return _Hold(self, self._lock)


class _Hold:
    """One time that a lock is held; contexts copied meanwhile see when it is over."""

    __slots__ = ("_inner", "lock", "over")

    def __init__(self, lock: ChainLock, inner: threading.Lock) -> None:
        self.lock = lock
        self.over = False
        self._inner = inner

    def __enter__(self) -> None:
        interrupts.acquire(self._inner)
        here = _context.get()
        _context.set(here._replace(holds=(*here.holds, self)))

    def __exit__(self, *error: object) -> None:
        self.over = True
        here = _context.get()
        _context.set(here._replace(holds=tuple([hold for hold in here.holds if hold is not self])))
        self._inner.release()


_HELD_ALREADY: AbstractContextManager[Any] = nullcontext()


class OutcomeLog:
    """Collects the outcomes of circuits run in a context, and passes them on to the log around it.

    Attributes:
        outcomes: the outcomes, in the order in which they came.
    """

    def __init__(self) -> None:
        self.outcomes: list[Any] = []
        self._around = _context.get().outcome_log

    def note(self, outcomes: Sequence[Any]) -> None:
        """Add outcomes."""
        self.outcomes.extend(outcomes)
        if self._around is not None:
            self._around.note(outcomes)


def note(outcomes: Sequence[Any]) -> None:
    """Add outcomes to the log of the current context, if there is one; inside of a batch they are part of it."""
    here = _context.get()
    if here.outcome_log is not None and not here.depth:
        here.outcome_log.note(outcomes)
