"""What people see of things: text in printable characters, and objects that are not complete yet."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

T = TypeVar("T")


def printable(text: str) -> str:
    r"""A text that does nothing to a terminal: control characters are shown as ``\x1b``, but for ends of lines."""
    if text.isprintable():
        return text
    return "".join([one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text])


def even_incomplete(representation: Callable[[T], str]) -> Callable[[T], str]:
    """A ``__repr__`` for objects whose ``__init__`` has not ended, or was left by an error.

    Debuggers and tracebacks show them, and would fail themselves.
    """

    @wraps(representation)
    def represented(self: T) -> str:
        try:
            return representation(self)
        except AttributeError:
            return f"<{type(self).__name__}, incomplete>"

    return represented
