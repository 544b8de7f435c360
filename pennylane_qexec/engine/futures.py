"""Futures that know whether somebody waits for them."""

from __future__ import annotations

import logging
from concurrent.futures import CancelledError, Future
from typing import Generic, TypeVar

from pennylane_qexec import interrupts
from pennylane_qexec.engine.loop import in_engine_thread
from pennylane_qexec.errors import ConfigurationError

T = TypeVar("T")

logger = logging.getLogger("pennylane_qexec")


class AskedFuture(Future[T], Generic[T]):
    """A future that notices when somebody waits for it: by :meth:`result`, or by :func:`concurrent.futures.wait`.

    Attributes:
        started: when the batch began that runs it now; UTC, in seconds since 1970; ``None`` before.
    """

    def __init__(self) -> None:
        super().__init__()
        self._asked = False
        self.started: float | None = None

    @property
    def asked(self) -> bool:
        """Whether somebody has begun to wait for it."""
        return self._asked or bool(self._waiters)

    def result(self, timeout: float | None = None) -> T:
        """The result, as soon as it is there.

        Args:
            timeout: seconds to wait for it; ``None`` for as long as it takes.

        Raises:
            TimeoutError: it was not there in time.
            concurrent.futures.CancelledError: the future was cancelled.
            ConfigurationError: this was called by what is called when a job ends, and the result is not there.
        """
        self._wait(timeout)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What :meth:`result` would raise, as soon as that is known; ``None`` if nothing.

        Args:
            timeout: seconds to wait for it; ``None`` for as long as it takes.
        """
        self._wait(timeout)
        return super().exception(0)

    def _wait(self, timeout: float | None) -> None:
        self._asked = True
        if self.done():
            return
        if timeout is None and in_engine_thread():
            raise ConfigurationError(
                "a function called when a job ends (add_done_callback) waits for another future, but it is called by "
                "the thread that would bring the result. Give the other future a callback, or wait in a thread of your "
                "own."
            )
        interrupts.wait(self._has_ended, timeout)

    def _has_ended(self, timeout: float | None) -> bool:
        try:
            super().exception(timeout)
        except TimeoutError:
            return False
        except CancelledError:
            pass
        return True


def resolve(future: AskedFuture[T], value: T | BaseException) -> None:
    """Bring a future to its end, unless it was cancelled; a value that is an exception is raised from it."""
    try:
        if future.set_running_or_notify_cancel():
            if isinstance(value, BaseException):
                future.set_exception(value)
            else:
                future.set_result(value)
    except BaseException:
        # Errors of callbacks are logged by the future; what is no error, such as sys.exit(), must not end the engine.
        logger.exception("what was called when a job ended did not return")
