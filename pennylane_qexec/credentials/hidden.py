"""Secrets in memory: not shown by what shows values, and taken out of what other libraries say."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar, final
from urllib.parse import quote

T = TypeVar("T")

_SHOWN = "***"
_SHORTEST = 4  # what is shorter is in every other word


@final
class Hidden:
    """A text that is not shown, not even by debuggers and tracebacks that show the values of variables.

    It is not pickled either: another process looks its secrets up again.

    Args:
        value: the text.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return _SHOWN if self._value else "''"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not sent to another process: it has to be looked up again there.")


class _Known:
    """The secrets that this process has seen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._secrets: list[Hidden] = []

    def add(self, secret: str) -> None:
        with self._lock:
            if all(one.reveal() != secret for one in self._secrets):
                self._secrets.append(Hidden(secret))

    def __iter__(self) -> Iterator[Hidden]:
        with self._lock:
            return iter(list(self._secrets))


_known = _Known()


def know(secret: str) -> None:
    """Remember that a text is secret, so that :func:`scrub` takes it out of others."""
    if len(secret) >= _SHORTEST:
        _known.add(secret)


def scrub(text: str, *secrets: str | Hidden) -> str:
    """A text without secrets: each is replaced by ``***``.

    Args:
        text: the text, such as an error's message.
        secrets: what must not be in it, besides all tokens that this process has looked up or was given.
    """
    for secret in _longest_first(secrets):
        for form in (secret, quote(secret, safe="")):
            text = text.replace(form, _SHOWN)
    return text


def guarded(call: Callable[[], T], *secrets: str | Hidden) -> T:
    """Call a function of somebody else's library, and raise what it raises without secrets.

    An error that shows none is raised as it is. Of one that does, its kind and what it says without the secret are
    left: a ``ConnectionError``, ``TimeoutError``, ``ValueError`` or ``RuntimeError``.

    Args:
        call: the function, without arguments.
        secrets: see :func:`scrub`.
    """
    try:
        return call()
    except Exception as error:
        failure = _scrubbed(error, secrets)
    # Raised out here, it does not remember what was raised in there, which may show the secret.
    raise failure


def _scrubbed(error: Exception, secrets: tuple[str | Hidden, ...]) -> Exception:
    if not any(_shows(text, secrets) for one in _chain(error) for text in _texts(one)):
        return error
    said = scrub(f"{type(error).__name__}: {error}", *secrets)
    kinds = (ConnectionError, TimeoutError, ValueError, RuntimeError)
    kind = next((kind for kind in kinds if isinstance(error, kind)), RuntimeError)
    return kind(said)


def _shows(text: str, secrets: tuple[str | Hidden, ...]) -> bool:
    return scrub(text, *secrets) != text


def _texts(error: BaseException) -> list[str]:
    return [str(error), repr(error.args), *getattr(error, "__notes__", ())]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it came from."""
    seen: list[Any] = []
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and all(one is not other for other in seen):
            seen.append(one)
            waiting += [one.__cause__, one.__context__]
    return iter(seen)


def _longest_first(secrets: tuple[str | Hidden, ...]) -> list[str]:
    """A secret may be a part of another."""
    texts = {one.reveal() if isinstance(one, Hidden) else one for one in (*_known, *secrets)}
    return sorted(filter(None, texts), key=len, reverse=True)
