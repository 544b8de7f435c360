"""The text around what is stored: JSON with a format and a version, always written in the same way."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

from pennylane_qexec.errors import ConfigurationError

VERSION = 1
"""Of the texts that are written. Readers read this one and all before."""

T = TypeVar("T")


def text_of(kind: str, content: dict[str, Any]) -> str:
    """A document of some kind, such as ``"circuit"``: canonical JSON in ASCII.

    Raises:
        ConfigurationError: it has a whole number of thousands of digits.
    """
    try:
        return canonical({**content, "format": _FORMAT + kind, "version": VERSION})
    except ValueError as error:
        raise ConfigurationError(f"this {kind} cannot be written ({error}): leave such numbers out.") from error


def content_of(kind: str, text: Any) -> dict[str, Any]:
    """What is in a document of some kind.

    Raises:
        ConfigurationError: the text is no such document, or of a later version.
    """
    if not isinstance(text, str):
        raise ConfigurationError(f"a stored {kind} must be text, not {type(text).__name__}.")
    try:
        document = _DECODER.decode(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"the text is no stored {kind} ({error}): {_start(text)}") from error
    if not isinstance(document, dict) or document.pop("format", None) != _FORMAT + kind:
        raise ConfigurationError(
            f'the text is no stored {kind}: it does not say "format": "{_FORMAT}{kind}". {_start(text)}'
        )
    version = document.pop("version", None)
    if type(version) is not int or version < 1:
        raise ConfigurationError(f"the stored {kind} has version {version!r}, which must be a number of at least 1.")
    if version > VERSION:
        raise ConfigurationError(
            f"the stored {kind} has version {version}, and {VERSION} is the latest known: install a later "
            "pennylane-qexec."
        )
    return document


def guarded(doing: str, work: Callable[[], T]) -> T:
    """What some work on nested values gives.

    Raises:
        ConfigurationError: they are nested too deeply, or in themselves.
    """
    try:
        return work()
    except RecursionError as error:
        raise ConfigurationError(f"{doing} is nested too deeply, or contains itself: make it flatter.") from error


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _start(text: str) -> str:
    return f"It begins with {text[:40]!r}."


_FORMAT = "pennylane-qexec "

canonical: Callable[[Any], str] = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
"""JSON with sorted keys and without spaces, in ASCII."""

_DECODER = json.JSONDecoder(parse_constant=_refuse)
