"""Futures that know whether somebody waits for them."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Generic, TypeVar

T = TypeVar("T")


class AskedFuture(Future[T], Generic[T]):
    """A future that notices when somebody waits for it: by :meth:`result`, or by :func:`concurrent.futures.wait`."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = False

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
        """
        self._asked = True
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What :meth:`result` would raise, as soon as that is known; ``None`` if nothing.

        Args:
            timeout: seconds to wait for it; ``None`` for as long as it takes.
        """
        self._asked = True
        return super().exception(timeout)
