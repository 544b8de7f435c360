"""The secrets that this process has seen, and taking them out of texts."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn, final
from urllib.parse import parse_qsl, unquote, urlsplit

from pennylane_qexec.redaction.display import even_incomplete
from pennylane_qexec.redaction.named import (
    SHOWN,
    alone,
    forms,
    is_ordinary,
    is_secret,
    is_secret_option,
    scrub_named,
    secrets_in,
)

_OF_PATHS = ("CREDENTIAL", "CREDENTIALS")  # such as GOOGLE_APPLICATION_CREDENTIALS
_FLAGS = ("true", "false", "none", "null")
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

    @even_incomplete
    def __repr__(self) -> str:
        return SHOWN if self._value else "''"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not sent to another process: it has to be looked up again there.")


def hidden(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of which all texts may be secret, with these hidden."""
    return {name: Hidden(one) if isinstance(one, str) else one for name, one in arguments.items()}


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


def know_named(options: Any, deep: int = 6) -> None:
    """Remember what is named like a secret in plain data, such as ``{"token": ...}``, and the passwords of URLs."""
    if isinstance(options, str):
        know_url(options)
    elif deep and isinstance(options, Mapping):
        for name, value in options.items():
            if isinstance(value, str) and isinstance(name, str) and is_secret(name):
                know(value)
            know_named(value, deep - 1)
    elif deep and isinstance(options, list | tuple):
        for part in options:
            know_named(part, deep - 1)


def know_url(text: str) -> None:
    """Remember the password of a URL, and the values of its parameters that are named like secrets."""
    if "://" not in text:
        return
    try:
        url = urlsplit(text)
        parameters = parse_qsl(url.query)
    except ValueError:  # no URL
        return
    for secret in (url.password or "", unquote(url.password or "")):
        know(secret)
    for name, value in parameters:
        if is_secret_option(name):
            know(value)


def scrub(text: str, *secrets: str | Hidden) -> str:
    """A text without secrets: each is replaced by ``***``.

    They are found as they are, and as they are in a repr, in JSON, HTML, a URL, Base64 or hexadecimal. So are the
    passwords of URLs, and what follows a name such as ``token=``, of which nobody has said that they are secret.

    Args:
        text: the text, such as an error's message.
        secrets: what must not be in it, besides all tokens that this process has looked up or was given, and the values
            of environment variables and of the program's arguments that are named like secrets.
    """
    return Finder(secrets).scrub(text)


def has_secret(name: str) -> bool:
    """Whether a name has a secret in it, so that it must not be shown or stored.

    Secrets that are ordinary words or short numbers do not count: a name may well have them by chance.
    """
    return scrub_named(name) != name or any(
        form in name for secret in Finder() if not is_ordinary(secret) for form in forms(secret)
    )


@final
class Finder:
    """Finds what is secret now, in any number of texts.

    Args:
        secrets: see :func:`scrub`.
    """

    def __init__(self, secrets: tuple[str | Hidden, ...] = ()) -> None:
        self._secrets = list(map(Hidden, _longest_first(secrets)))

    def scrub(self, text: str) -> str:
        """A text without secrets."""
        return scrub_named(self._without_known(text))

    def shows(self, text: str) -> bool:
        """Whether a text shows something that is secret."""
        return self.scrub(text) != text

    def shows_known(self, text: str) -> bool:
        """Whether a text shows one of the secrets, whatever else it shows after names such as ``token=``."""
        return self._without_known(text) != text

    def __iter__(self) -> Iterator[str]:
        """The secrets."""
        return map(Hidden.reveal, self._secrets)

    def __bool__(self) -> bool:
        """Whether any secret is known."""
        return bool(self._secrets)

    def _without_known(self, text: str) -> str:
        for secret in self:
            for form in forms(secret):
                if form in text:
                    text = text.replace(form, SHOWN)
            if is_ordinary(secret) and secret in text:
                text = alone(secret).sub(SHOWN, text)
        return text


def _longest_first(secrets: tuple[str | Hidden, ...]) -> list[str]:
    """A secret may be a part of another."""
    texts = {one.reveal() if isinstance(one, Hidden) else one for one in (*_known, *secrets)}
    names = [name for name in list(os.environ) if is_secret(name) and not name.endswith(_OF_PATHS)]
    given = [*[os.environ.get(name, "") for name in names], *secrets_in(sys.argv)]
    texts.update(value for value in given if len(value) >= _SHORTEST and value.lower() not in _FLAGS)
    return sorted(filter(None, texts), key=len, reverse=True)
