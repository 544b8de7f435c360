"""Where functions are compiled while other work goes on: one thread, which is there as long as there is work."""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable, Hashable

from pennylane_qexec import interrupts, isolation


class Workshop:
    """Does one task after the other in a thread of its own.

    The thread does not keep the program from ending, but for the task that it is at: a compiler that is left running
    while Python ends would abort the process.
    """

    def __init__(self) -> None:
        self._tasks: dict[Hashable, Callable[[], None]] = {}
        self._current: Hashable = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, key: Hashable, task: Callable[[], None]) -> None:
        """Have a task done, some time.

        Args:
            key: tells tasks apart: one that waits, or is being done, is not added again.
            task: must not raise.
        """
        # Tracing records operations, and must not do so into the circuit that another thread records.
        isolation.install()
        with self._changed:
            if key in self._tasks or key == self._current:
                return
            self._tasks[key] = task
            if self._thread is None:
                _at_work.add(self)
                self._thread = threading.Thread(target=self._work, name="qexec-jax", daemon=True)
                self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until there is nothing to do; whether that came to be within ``timeout`` seconds."""
        with self._changed:
            return interrupts.wait(lambda seconds: self._changed.wait_for(self._is_idle, seconds), timeout)

    def _is_idle(self) -> bool:
        return self._thread is None or not self._thread.is_alive()

    def close(self) -> None:
        """Forget the tasks that have not begun."""
        with self._changed:
            self._tasks.clear()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._tasks:
                    self._thread = self._current = None
                    self._changed.notify_all()
                    return
                self._current = next(iter(self._tasks))
                task = self._tasks.pop(self._current)
            task()


_at_work: weakref.WeakSet[Workshop] = weakref.WeakSet()


@atexit.register
def _leave() -> None:
    for workshop in list(_at_work):
        workshop.close()
        try:
            workshop.wait()
        except KeyboardInterrupt:
            interrupts.end_now()
