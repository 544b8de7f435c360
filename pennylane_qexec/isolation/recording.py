"""PennyLane's recording queue, made one per thread.

PennyLane 0.45 keeps the operations that a quantum function records on one stack for the whole process. An operator
made in any other thread lands in the circuit that is being recorded, without an error. The five class methods that
touch the stack are replaced by ones that use a stack per thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pennylane as qml
from pennylane.queuing import AnnotatedQueue, QueuingManager
from pennylane.tape import QuantumTape

from pennylane_qexec.errors import ConfigurationError

_REPLACED = ("add_active_queue", "remove_active_queue", "recording", "active_context", "stop_recording")
_KNOWN_VERSIONS = ("0.45.",)
_WAIT_FOR_RECORDERS = 60.0


class _Stack(threading.local):
    """The active recording contexts of the current thread, innermost last."""

    def __init__(self) -> None:
        self.contexts: list[Any] = []


_stack = _Stack()


def _add_active_queue(cls: type, queue: Any) -> None:
    _stack.contexts.append(queue)


def _remove_active_queue(cls: type) -> Any:
    return _stack.contexts.pop()


def _recording(cls: type) -> bool:
    return bool(_stack.contexts)


def _active_context(cls: type) -> Any:
    return _stack.contexts[-1] if _stack.contexts else None


@contextmanager
def _stop_recording(cls: type) -> Iterator[None]:
    suspended, _stack.contexts = _stack.contexts, []
    try:
        yield
    finally:
        _stack.contexts = suspended


class _NoLock:
    """In place of a lock that kept recorders in different threads from each other.

    Threads that hold the old lock, or wait for it, when it is replaced, release it through this one.
    """

    def __init__(self, old: Any) -> None:
        self._old = old

    def acquire(self, *_: Any) -> bool:
        return True

    def release(self) -> None:
        if self._old._is_owned():
            self._old.release()


def make_local() -> None:
    """Give every thread a stack of its own; the calling thread's is the one that there was.

    Raises:
        ConfigurationError: another thread has been recording for a minute.
    """
    # A thread holds one of the old locks while it records: with both in hand, whatever is on the old stack is ours.
    with _held(QuantumTape._lock), _held(AnnotatedQueue._lock):
        _stack.contexts = QueuingManager._active_contexts
        for name in _REPLACED:
            setattr(QueuingManager, name, classmethod(globals()[f"_{name}"]))
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


def check() -> None:
    """Make sure that PennyLane records as expected.

    Raises:
        ConfigurationError: it does not.
    """
    missing = [name for name in (*_REPLACED, "_active_contexts") if name not in vars(QueuingManager)]
    if "_lock" not in vars(AnnotatedQueue) or "_lock" not in vars(QuantumTape):
        missing.append("_lock")
    if missing or not qml.__version__.startswith(_KNOWN_VERSIONS):
        raise ConfigurationError(
            f"pennylane {qml.__version__} is not known to this version of pennylane-qexec (its recording queue must be "
            f"made safe for threads{', and lacks ' + ', '.join(missing) if missing else ''}). "
            "Install 'pennylane>=0.45,<0.46', or a newer pennylane-qexec."
        )
