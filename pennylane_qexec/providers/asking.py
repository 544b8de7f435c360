"""Asking many at a time, of whom some may never answer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


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
