"""The engine's thread: an event loop that starts when it is first needed, and ends when its owner is gone."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any


class LoopThread:
    """One daemon thread with an event loop.

    Args:
        on_error: a bound method, called as asyncio's exception handler when a callback or task fails. It does not keep
            its object alive.
    """

    def __init__(self, on_error: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]) -> None:
        self._on_error = weakref.WeakMethod(on_error)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def is_current(self) -> bool:
        """Whether this is called in the thread itself."""
        return threading.current_thread() is self._thread

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Let the thread call a function; start the thread if it does not run. Not safe to call from two threads."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._loop.set_exception_handler(_handler(self._on_error))
            self._thread = threading.Thread(target=_serve, args=(self._loop,), daemon=True, name="qexec-engine")
            self._thread.start()
            weakref.finalize(self, _stop, self._loop)
        self._loop.call_soon_threadsafe(function, *arguments)

    def end(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run a coroutine in the thread as the last thing it does, and wait for its end."""
        if self._loop is not None and self._thread is not None:
            asyncio.run_coroutine_threadsafe(last(), self._loop).result()
            _stop(self._loop)
            self._thread.join()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.close()


def _stop(loop: asyncio.AbstractEventLoop) -> None:
    if not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)


def _handler(reference: weakref.WeakMethod[Any]) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        method = reference()
        if method is not None:
            method(loop, context)

    return handle
