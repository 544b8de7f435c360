"""Secrets in memory: not shown by what shows values, and taken out of what other libraries say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pennylane_qexec.redaction import Hidden, know, scrub, without_secrets
from pennylane_qexec.redaction.exceptions import chain, texts
from pennylane_qexec.redaction.known import Finder

__all__ = ["Hidden", "guarded", "know", "scrub"]

T = TypeVar("T")


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
    finder = Finder(secrets)
    if not any(finder.shows(text) for one in chain(error) for text in texts(one)):
        return without_secrets(error, *secrets)  # the variables of its traceback may show one
    said = finder.scrub(f"{type(error).__name__}: {error}")
    kinds = (ConnectionError, TimeoutError, ValueError, RuntimeError)
    kind = next((kind for kind in kinds if isinstance(error, kind)), RuntimeError)
    return kind(said)
