"""Exceptions and logs without secrets: neither in what they say, nor in the variables that a traceback may show."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from itertools import islice
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from pennylane_qexec.redaction.known import Finder, Hidden, know_named, scrub

_DEEPEST = 6
_MOST, _MOST_TEXTS = 200, 5000
_LONGEST = 20_000
_NOTE = "as it was raised, without what is secret:\n"


def without_secrets(error: Exception, *secrets: str | Hidden) -> Exception:
    """An error as it may be shown to anybody.

    Args:
        error: an error, perhaps of somebody else's code.
        secrets: see :func:`~pennylane_qexec.redaction.scrub`.

    Returns:
        The error itself if neither it, nor what it came from, nor the variables of its traceback show a secret. If only
        the variables do, the error without its traceback. Else an error of the same class as far as possible, and of
        one of ``ConnectionError``, ``TimeoutError``, ``ValueError`` and ``RuntimeError`` otherwise, which says the
        same without what is secret. The traceback, as a text, is among its notes.
    """
    finder, errors = Finder(secrets), list(chain(error))
    if any(finder.shows(text) for one in errors for text in texts(one)):
        told = traceback.format_exception(error)
        return _noted(_Copies(finder).of(error), told, finder)
    if any(frames_show(one.__traceback__, finder) for one in errors):
        told = traceback.format_exception(error)
        return _noted(without_frames(error), told, finder)
    return error


def without_frames(error: Exception) -> Exception:
    """The error, which forgets where it was raised, as do those that it came from."""
    for one in chain(error):
        one.__traceback__ = None
    return error


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error, and what it came from."""
    seen: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, BaseException) and all(one is not other for other in seen):
            seen.append(one)
            inside = [argument for argument in one.args if isinstance(argument, BaseException)]
            waiting += [one.__cause__, one.__context__, *inside, *getattr(one, "exceptions", ())]
    return iter(seen)


def texts(error: BaseException) -> list[str]:
    """All that an error says."""
    return [_said(error), repr(error.args), *map(str, getattr(error, "__notes__", ()))]


def frames_show(frames: TracebackType | None, finder: Finder) -> bool:
    """Whether a traceback that shows the values of variables would show a secret in one that is plain data."""
    if not finder:
        return False
    values = [value for frame, _ in traceback.walk_tb(frames) for value in list(frame.f_locals.values())]
    return any(map(finder.shows_known, islice(_texts_in(values, _DEEPEST), _MOST_TEXTS)))


def _texts_in(value: Any, deep: int) -> Iterator[str]:
    """The texts in plain data."""
    if isinstance(value, str):
        yield value[:_LONGEST]
    elif isinstance(value, bytes):
        yield repr(value[:_LONGEST])
    elif deep and isinstance(value, Mapping):
        for item in islice(value.items(), _MOST):
            yield from _texts_in(item, deep - 1)
    elif deep and isinstance(value, list | tuple | set | frozenset):
        for part in islice(value, _MOST):
            yield from _texts_in(part, deep - 1)


class _Copies:
    """Makes copies of errors that say the same without secrets, one of each.

    Args:
        finder: knows what is secret.
    """

    def __init__(self, finder: Finder) -> None:
        self._finder = finder
        self._made: dict[int, BaseException | None] = {}

    def of(self, error: Any) -> Any:
        """The copy of an error; ``None`` for none, and for one inside of itself."""
        if error is None:
            return None
        if id(error) not in self._made:
            self._made[id(error)] = None
            made = self._made[id(error)] = self._copied(error)
            made.__cause__, made.__context__ = self.of(error.__cause__), self.of(error.__context__)
            made.__suppress_context__ = error.__suppress_context__
        return self._made[id(error)]

    def _copied(self, error: BaseException) -> BaseException:
        said = self._finder.scrub(_said(error))
        try:
            made = self._alike(error)
            if _said(made) == said and not any(map(self._finder.shows, texts(made))):
                return made
        except Exception:  # a class of somebody else's may do what it likes
            pass
        kinds = (ConnectionError, TimeoutError, ValueError, RuntimeError)
        other = next((kind for kind in kinds if isinstance(error, kind)), RuntimeError)
        return other(f"{type(error).__name__}: {said}")

    def _alike(self, error: BaseException) -> BaseException:
        kind: Any = type(error)
        arguments = self._value(error.args)
        paths = [getattr(error, "filename", None), None, getattr(error, "filename2", None)]
        files = self._value(paths) if isinstance(error, OSError) and paths[0] is not None else ()
        made: BaseException = kind.__new__(kind, *arguments, *files)
        made.args = arguments
        made.__dict__.update(self._value(vars(error)))
        return made

    def _value(self, value: Any, deep: int = _DEEPEST) -> Any:
        """The value of an attribute or argument."""
        if isinstance(value, str):
            return self._finder.scrub(value)
        if isinstance(value, bytes):
            return b"***" if self._finder.shows(repr(value)) else value
        if isinstance(value, BaseException):
            return self.of(value)
        if deep and type(value) in (list, tuple):
            return type(value)([self._value(part, deep - 1) for part in value])
        if deep and type(value) is dict:
            return {name: self._value(part, deep - 1) for name, part in value.items()}
        return value


def _noted(error: Exception, told: list[str], finder: Finder) -> Exception:
    if not any(str(note).startswith(_NOTE) for note in getattr(error, "__notes__", ())):
        error.add_note(_NOTE + finder.scrub("".join(told)).rstrip())
    return error


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # a class of somebody else's may do what it likes
        return ""


class _WithoutSecrets(logging.Filter):
    """Takes secrets out of records, before any handler sees them."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass; one that shows a secret, without it."""
        said = record.getMessage()
        scrubbed = scrub(said)
        if scrubbed != said:
            record.msg, record.args = scrubbed, None
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, Exception):
            safe = without_secrets(error)
            record.exc_info = (type(safe), safe, safe.__traceback__)
        return True


_filter = _WithoutSecrets()


def install() -> None:
    """Have this package log without secrets."""
    logging.getLogger("pennylane_qexec").addFilter(_filter)


P = ParamSpec("P")
T = TypeVar("T")


def veiled(function: Callable[P, T]) -> Callable[P, T]:
    """A function whose errors show no secret, nor do the variables of their tracebacks from here on.

    What is named like a secret among its arguments, or inside of them, is remembered as one.

    Args:
        function: is given secrets, among its arguments or inside of them.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        know_named([args, kwargs])
        try:
            return function(*args, **kwargs)
        except Exception as error:
            failure = without_secrets(error)
            if failure is error and error.__traceback__ is not None:
                raise
        del args, kwargs  # else a traceback that shows variables shows them
        # Raised out here, it does not remember what was raised in there.
        raise failure

    return call
