"""What PennyLane and Autograd keep once for the whole process, made safe for threads.

A cluster runs circuits in threads, and its users differentiate in threads. Opening one replaces the few functions that
would let threads change each other's circuits, derivatives and totals, without an error. The changes stay once made:
taking them out while some thread works would do the damage that they prevent.

*Levels of differentiation.* Autograd numbers the derivatives in progress, and takes the higher number of two for the
inner derivative. It counts up where one begins and down where one ends, for the whole process. Threads that
differentiate at the same time count each other's: a derivative inside another one can get the same number, or a lower
one, and comes out wrong. A count per thread would not do, as a derivative can have its inner one computed in another
thread. So each gets a number that no other ever had: one that begins inside another begins later, and its number is
higher.

*Recording.* PennyLane 0.45 keeps the operations that a quantum function records on one stack for the whole process. An
operator made in any other thread lands in the circuit that is being recorded. The five functions that touch the stack
get code that uses a stack per thread. Their code is exchanged, not the functions themselves: wherever
``@QueuingManager.stop_recording()`` stands in PennyLane, the decorated function took hold of ``stop_recording`` when it
was imported, and would go on with the old stack.

*Totals.* A ``qml.Tracker`` adds to its totals by reading and then writing. Of two threads that execute on one device at
the same time, one's executions could go uncounted.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from types import FunctionType
from typing import Any

import pennylane as qml
from autograd import tracer
from pennylane import Tracker
from pennylane.queuing import AnnotatedQueue, QueuingManager
from pennylane.tape import QuantumTape

from pennylane_qexec.errors import ConfigurationError

# Levels of differentiation

# Derivatives in progress keep the numbers they have; what begins inside them has to be above.
_levels = itertools.count(1 << 32)


@contextmanager
def _new_trace(self: Any) -> Iterator[int]:
    yield next(_levels)


def check_levels() -> None:
    """Make sure that Autograd counts as expected.

    Raises:
        ConfigurationError: it does not.
    """
    stack = getattr(tracer, "trace_stack", None)
    if "new_trace" not in vars(type(stack)) or getattr(stack, "__dict__", {}).keys() != {"top"}:
        raise ConfigurationError(
            f"autograd {version('autograd')} is not known to this version of pennylane-qexec (its trace_stack, which "
            "counts derivatives, must be made safe for threads). Install 'autograd>=1.7,<1.9', or a newer "
            "pennylane-qexec."
        )


def make_unique() -> None:
    """Give every derivative that begins from now on a number of its own."""
    # Other modules hold the stack by name, so its method is replaced and not the stack.
    tracer.TraceStack.new_trace = _new_trace


# Recording

_KNOWN_VERSIONS = ("0.45.",)
_WAIT_FOR_RECORDERS = 60.0


class _Stack(threading.local):
    """The active recording contexts of the current thread, innermost last."""

    def __init__(self) -> None:
        self.contexts: list[Any] = []


# The code of the functions below runs as that of PennyLane's, which do not see the names of this module. What they
# need is an attribute of QueuingManager.


def add_active_queue(cls: Any, queue: Any) -> None:
    """Make a queue the innermost one of this thread."""
    cls._stack_per_thread.contexts.append(queue)


def remove_active_queue(cls: Any) -> Any:
    """Take away this thread's innermost queue."""
    return cls._stack_per_thread.contexts.pop()


def recording(cls: Any) -> bool:
    """Whether this thread records."""
    return bool(cls._stack_per_thread.contexts)


def active_context(cls: Any) -> Any:
    """The innermost queue of this thread, if it records."""
    contexts = cls._stack_per_thread.contexts
    return contexts[-1] if contexts else None


def stop_recording(cls: Any) -> Iterator[None]:
    """Suspend this thread's recording; a context manager is made of it in PennyLane."""
    stack = cls._stack_per_thread
    suspended, stack.contexts = stack.contexts, []
    try:
        yield
    finally:
        stack.contexts = suspended


_REPLACEMENTS: tuple[Callable[..., Any], ...] = (
    add_active_queue,
    remove_active_queue,
    recording,
    active_context,
    stop_recording,
)


def _function(name: str) -> FunctionType | None:
    """PennyLane's function under a class method, if there is one as expected."""
    method = vars(QueuingManager).get(name)
    if not isinstance(method, classmethod):
        return None
    function = inspect.unwrap(method.__func__)  # stop_recording is the generator function under a context manager
    return function if isinstance(function, FunctionType) else None


class _NoLock:
    """In place of a lock that kept recorders in different threads from each other.

    Threads that hold the old lock, or wait for it, when it is replaced, release it through this one.
    """

    def __init__(self, old: Any) -> None:
        self._old = old

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        return True

    def release(self) -> None:
        if self._old._is_owned():
            self._old.release()


def make_local() -> None:
    """Give every thread a stack of its own; the calling thread's is the one that there was.

    Raises:
        ConfigurationError: another thread has been recording for a minute, or recording is suspended in this one.
    """
    records = AnnotatedQueue._lock._is_owned()
    # A thread holds one of the old locks while it records: with both in hand, whatever is on the old stack is ours.
    with _held(QuantumTape._lock), _held(AnnotatedQueue._lock):
        stack = QueuingManager._stack_per_thread = _Stack()
        stack.contexts = QueuingManager._active_contexts
        if records and not stack.contexts:  # what suspended it would put it back where nobody looks any more
            raise ConfigurationError(
                "recording is suspended by QueuingManager.stop_recording(), so it cannot be made safe for threads now. "
                "Open the cluster before the circuit is recorded."
            )
        for replacement in _REPLACEMENTS:
            function = _function(replacement.__name__)
            assert function is not None  # see check()
            function.__code__ = replacement.__code__
        AnnotatedQueue._lock = _NoLock(AnnotatedQueue._lock)
        QuantumTape._lock = _NoLock(QuantumTape._lock)


@contextmanager
def _held(lock: Any) -> Iterator[None]:
    if not lock.acquire(timeout=_WAIT_FOR_RECORDERS):
        raise ConfigurationError(
            f"another thread has been recording a circuit for {_WAIT_FOR_RECORDERS:g} s, so recording cannot be made "
            "safe for threads now. Open the cluster before starting threads that record circuits."
        )
    try:
        yield
    finally:
        lock.release()


def check_recording() -> None:
    """Make sure that PennyLane records as expected.

    Raises:
        ConfigurationError: it does not.
    """
    missing = [function.__name__ for function in _REPLACEMENTS if _function(function.__name__) is None]
    if "_active_contexts" not in vars(QueuingManager):
        missing.append("_active_contexts")
    if "_lock" not in vars(AnnotatedQueue) or "_lock" not in vars(QuantumTape):
        missing.append("_lock")
    if missing or not qml.__version__.startswith(_KNOWN_VERSIONS):
        raise ConfigurationError(
            f"pennylane {qml.__version__} is not known to this version of pennylane-qexec (its recording queue must be "
            f"made safe for threads{', and lacks ' + ', '.join(missing) if missing else ''}). "
            "Install 'pennylane>=0.45,<0.46', or a newer pennylane-qexec."
        )


# Totals of trackers


def check_totals() -> None:
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


# Installing all of it

_installing = threading.Lock()
_installed = False


def installed() -> bool:
    """Whether PennyLane and Autograd have been made safe for threads in this process."""
    return _installed


def install() -> None:
    """Make PennyLane record, and Autograd differentiate, safely in threads from now on. Again: does nothing.

    Raises:
        ConfigurationError: this version of PennyLane or Autograd keeps its state in a way not known here, or another
            thread has been recording for a minute.
    """
    global _installed
    with _installing:
        if _installed:
            return
        check_recording()
        check_levels()
        check_totals()
        make_local()
        make_unique()
        add_one_at_a_time()
        _installed = True
