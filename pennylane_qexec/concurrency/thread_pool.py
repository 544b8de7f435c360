"""A pool of daemon threads that are reused, and a way to ask many at a time of whom some may never answer."""

from __future__ import annotations

import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


def tamed(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function. What it raises beside the rules becomes an error: a panic of Rust (in Qiskit), ``sys.exit()``.

    So does the end of an iterator, which nobody may raise through a future. Ctrl-C, which only the main thread gets, is
    passed on.
    """
    try:
        return function(*arguments)
    except StopIteration as error:
        raise RuntimeError(f"{type(error).__name__}: {error}") from error
    except Exception:
        raise
    except BaseException as fatal:
        if isinstance(fatal, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
            raise
        raise RuntimeError(f"{type(fatal).__name__}: {fatal}") from fatal


class ThreadPool:
    """Warm daemon threads that run functions. They end when the pool is closed or forgotten.

    Args:
        hands: the most functions at the same time; threads are started when first needed.
        name: of the threads.
    """

    def __init__(self, hands: int, name: str) -> None:
        self._hands = hands
        self._name = name
        self._threads = 0
        self._lock = threading.Lock()
        self._board = _TaskQueue()
        self._end = weakref.finalize(self, self._board.close)

    def ready(self) -> None:
        """Have at least one thread. A program that is ending may not start any (Python 3.12)."""
        with self._lock:
            if not self._threads:
                self._start_thread()

    def submit(self, function: Callable[[], Any]) -> Future[Any]:
        """Run a function in one of the threads."""
        future: Future[Any] = Future()
        with self._lock:
            if self._board.put(future, function) and self._threads < self._hands:
                self._start_thread()
        return future

    def _start_thread(self) -> None:
        name = f"{self._name}-{self._threads + 1}"
        try:
            threading.Thread(target=_work, args=(self._board,), daemon=True, name=name).start()
        except RuntimeError:
            if not self._threads:
                raise
            return  # those that are there will do it, one after the other
        self._threads += 1

    def add_hand(self) -> None:
        """Allow one thread more, in place of one that may never come back."""
        self._hands += 1

    def close(self) -> None:
        """End the threads when they have finished what they do."""
        self._end()


class _TaskQueue:
    """The tasks of a pool, and how many of its threads wait for one. It does not know the pool, which may go away."""

    def __init__(self) -> None:
        self.tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = 0

    def put(self, future: Future[Any], function: Callable[[], Any]) -> bool:
        """Add a task; says whether no thread waits for it."""
        with self._lock:
            nobody_waits = self._idle <= 0
            self._idle -= 1
        self.tasks.put((future, function))
        return nobody_waits

    def free(self) -> None:
        """A thread has finished its task."""
        with self._lock:
            self._idle += 1

    def close(self) -> None:
        """Let the threads end, one after the other."""
        self.tasks.put(None)


def _work(board: _TaskQueue) -> None:
    board.free()
    while (task := board.tasks.get()) is not None:
        future, function = task
        if future.set_running_or_notify_cancel():
            try:
                future.set_result(tamed(function))
            except Exception as error:
                future.set_exception(error)
        del task, future, function
        board.free()
    board.close()


def asked(question: Callable[[], T]) -> Future[T]:
    """Call a function in a thread of its own, which does not keep the program from ending."""
    future: Future[T] = Future()

    def ask() -> None:
        try:
            future.set_result(question())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=ask, name="pennylane_qexec asks", daemon=True).start()
    return future
