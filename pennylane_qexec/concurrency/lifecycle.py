"""How things end: objects that are closed in a ``with`` statement, and what happens at the end of the program.

A program that ends goes through the phases of :class:`ExitPhase`. What was submitted is waited for, as
``concurrent.futures`` does. What still runs at backends after that is cancelled there, as nobody can wait for it any
more. What ``weakref.finalize`` was given comes last: it stops the engines' threads and closes stores.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import sys
import threading
import weakref
from abc import abstractmethod
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, wait
from enum import IntEnum
from types import TracebackType
from typing import Protocol, Self

from pennylane_qexec.concurrency import interrupts

logger = logging.getLogger("pennylane_qexec")

PATIENCE = 10.0
"""Seconds that the end of a cluster, or of the program, waits for backends to take what is to be cancelled."""


class Closeable:
    """Closes itself at the end of a ``with`` block."""

    @abstractmethod
    def close(self) -> None:
        """Let go of everything."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


# What is done at the end of the program, and in which order


class ExitPhase(IntEnum):
    """What is done at the end of the program, in this order.

    All but the first phase come when all threads of the program have ended: until then these may ask for more.
    """

    WORK = 1
    """What was submitted is waited for, before pools are shut down."""
    REMOTE_JOBS = 2
    """What still runs at backends is cancelled."""
    SESSIONS = 3
    """Sessions at backends are closed."""
    RESULTS = 4
    """Results that caches keep are written."""
    PROCESSES = 5
    """Worker processes are ended."""
    COMPILERS = 6
    """Compiling in the background is stopped. That may take as long as one compilation, so it comes last."""


_changed = threading.Condition()
_hooks: list[tuple[int, ExitPhase, Callable[[], bool | None]]] = []
_expected: set[int] = set()
"""Processes that have not come to :func:`_leave` yet, although they will."""


def at_exit(phase: ExitPhase, hook: Callable[[], bool | None]) -> None:
    """Have a function called when this process ends, not those forked from it. Calling this again does nothing.

    Args:
        phase: when to call it.
        hook: called in the main thread, perhaps more than once. In the first phase it returns whether there was
            anything to wait for; as long as one of several does, all are called again, since what ends may begin
            something new. It is kept for ever: give a function, or a method of something that is never forgotten.
    """
    with _changed:
        if (os.getpid(), phase, hook) in _hooks:
            return
        if phase is not ExitPhase.WORK:
            # Anew for each, to come before the hooks of libraries imported meanwhile, as the one that ends JAX.
            atexit.register(_end)
        elif not _hooks_of(phase):
            _register_leave()
        _hooks.append((os.getpid(), phase, hook))


def wait_at_exit(wait: Callable[[], bool | None]) -> None:
    """Have something waited for at the end of the program: :func:`at_exit` in the first phase."""
    at_exit(ExitPhase.WORK, wait)


def _hooks_of(phase: ExitPhase) -> list[Callable[[], bool | None]]:
    return [hook for process, its_phase, hook in _hooks if (process, its_phase) == (os.getpid(), phase)]


def _end() -> None:
    """Go through all phases but the first. What fails does not keep the rest from being done."""
    for phase in sorted(ExitPhase)[1:]:
        for hook in _hooks_of(phase):
            try:
                hook()
            except BaseException:
                logger.exception("at the end of the program, %r failed", hook)


# Jobs that the program waits for before it ends

_WORTH_A_WORD = 2.0  # seconds after which somebody who waits for the end of a program wants to know why

_jobs: Counter[tuple[int, object]] = Counter()


def begin(owner: object, jobs: int) -> None:
    """Have jobs waited for when the program ends, each until :func:`end`; their owner is kept alive until then.

    An owner without a job, or with none yet, is waited for too.
    """
    wait_at_exit(_wait_for_jobs)
    with _changed:
        _jobs[os.getpid(), owner] += jobs


def end(owner: object, jobs: int = 1) -> None:
    """Jobs have come to their end."""
    with _changed:
        _jobs[os.getpid(), owner] -= jobs
        if _jobs[os.getpid(), owner] <= 0:
            del _jobs[os.getpid(), owner]
            _changed.notify_all()


def wait_for_jobs_of(owner: object) -> None:
    """Wait until all jobs of an owner have come to their end."""
    with _changed:
        interrupts.wait(lambda seconds: _changed.wait_for(lambda: (os.getpid(), owner) not in _jobs, seconds))


def _register_leave() -> None:
    """Have :func:`_leave` called at the end of the program.

    ``atexit`` would be too late: by then the interpreter has shut down the pools of ``concurrent.futures``, and a batch
    in a user's pool could submit nothing more. The pools' own hook is ``threading._register_atexit``, which calls what
    was registered last first; they register when they are imported, so that is done before. Where that private function
    is missing, or the program is ending already, ``atexit`` does for everything but pools.
    """
    for pools in ("concurrent.futures.thread", "concurrent.futures.process"):
        importlib.import_module(pools)
    register = getattr(threading, "_register_atexit", atexit.register)
    try:
        register(_leave)
        _expected.add(os.getpid())
    except RuntimeError:
        atexit.register(_leave)


def interrupted() -> bool:
    """Whether the end of the program was interrupted before anything could be waited for.

    A Ctrl-C that comes while the traceback of another one is printed ends what Python does at the end of a program.
    """
    return os.getpid() in _expected


def _leave() -> None:
    _expected.discard(os.getpid())
    # A process forked from one with clusters has its lists, but none of the threads that would bring them to an end.
    try:
        waited = True
        while waited or _is_awaited():
            waited = False
            for wait in _hooks_of(ExitPhase.WORK):
                waited = wait() or waited
    except KeyboardInterrupt:
        logger.warning("interrupted while waiting for the last jobs: %d have not ended", _left())
        if isinstance(vars(sys).get("last_value"), KeyboardInterrupt):
            interrupts.give_up()  # Ctrl-C has ended the program, and was pressed again
        atexit.unregister(_leave)
        interrupts.end_program()


def _wait_for_jobs() -> bool:
    with _changed:
        if not _is_awaited():
            return False
        if not _wait_until_none_is_left(_WORTH_A_WORD):
            logger.warning("the program ends when its last %d jobs have ended; Ctrl-C ends it now", _left())
            _wait_until_none_is_left()
    return True


def _wait_until_none_is_left(timeout: float | None = None) -> bool:
    return interrupts.wait(lambda seconds: _changed.wait_for(lambda: not _is_awaited(), seconds), timeout)


def _is_awaited() -> bool:
    return any(process == os.getpid() for process, _ in _jobs)


def _left() -> int:
    return sum(jobs for (process, _), jobs in _jobs.items() if process == os.getpid())


# Jobs at backends that are cancelled at the very end

_MORE = 2.0  # seconds


class HasRemoteJobs(Protocol):
    """What has jobs at backends. It is not kept alive."""

    def let_go(self) -> Future[None] | None:
        """Begin to cancel what it has at backends; ``None`` if there is nothing to wait for."""

    def say_what_is_left(self) -> None:
        """Say what could not be cancelled until now."""


_owners: dict[int, weakref.WeakSet[HasRemoteJobs]] = {}


def cancel_at_exit(owner: HasRemoteJobs) -> None:
    """Have an owner let go of what it has at backends when all threads of the program have ended."""
    with _changed:
        _owners.setdefault(os.getpid(), weakref.WeakSet()).add(owner)
        at_exit(ExitPhase.REMOTE_JOBS, _cancel_remote_jobs)


def _cancel_remote_jobs() -> None:
    owners = list(_owners[os.getpid()])
    if interrupted():
        interrupts.give_up()
    try:
        begun = {owner: future for owner in owners if (future := owner.let_go()) is not None}
        # They end by themselves, unless something that is called when a job ends hangs in an engine's thread.
        if not interrupts.wait(lambda seconds: not wait(begun.values(), seconds).not_done, PATIENCE + _MORE):
            _owners[os.getpid()].difference_update(owner for owner, future in begun.items() if not future.done())
    except KeyboardInterrupt:
        interrupts.give_up()
    for owner in owners:
        owner.say_what_is_left()
