"""Secrets that are known by where they stand: after a name such as ``token=``, or in a URL.

In texts they have several forms: as they are, quoted, escaped, encoded.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

LONG = 6
"""Characters from which on a secret is looked for anywhere; a shorter one may be a part of ordinary words."""

_ORDINARY = re.compile(r"[a-z]{1,12}|[0-9]{1,7}")  # a word or a number, which may be a part of others
_MOST_REPEATED = 2  # a text in a repr of a repr


@lru_cache(maxsize=1024)
def forms(secret: str) -> tuple[str, ...]:
    """The texts that stand for a secret of some length, the longest first.

    Args:
        secret: the secret.
    """
    found = dict.fromkeys(form for form in _forms(secret) if len(form) >= LONG)
    return tuple(sorted(found, key=len, reverse=True))


@lru_cache(maxsize=1024)
def alone(secret: str) -> re.Pattern[str]:
    """Finds a secret that is as short as an ordinary word, or is one, where it can hardly be anything else.

    Short ones are found in quotes, after ``=``, or between ``:`` and ``@``; words of some length also between spaces.
    """
    text = re.escape(secret)
    if len(secret) >= LONG:
        return re.compile(rf"(?<![A-Za-z0-9]){text}(?![A-Za-z0-9])")
    return re.compile(rf"(?<=['\"=]){text}(?=['\"&;,)\]}}\s\\]|$)|(?<=:){text}(?=@)")


def is_ordinary(secret: str) -> bool:
    """Whether a secret may be a part of words or numbers that have nothing to do with it."""
    return len(secret) < LONG or _ORDINARY.fullmatch(secret) is not None


def _forms(secret: str) -> Iterator[str]:
    if not is_ordinary(secret):
        yield secret
    encoded = secret.encode(errors="surrogatepass")
    for text in (secret, _latin(encoded)):
        yield from _escaped(text) if text != secret or not is_ordinary(secret) else ()
    for quoted in (quote(encoded, safe=""), quote(encoded), quote_plus(encoded)):
        if quoted != secret:
            yield quoted
            yield re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), quoted)
    yield from _based(encoded)
    yield encoded.hex()


def _escaped(secret: str) -> Iterator[str]:
    """As it is in reprs, in JSON and in HTML, and in what these are in."""
    several = {secret}
    for _ in range(_MOST_REPEATED):
        several |= {escaped for text in several for escaped in _once_escaped(text)}
    yield from several
    yield html.escape(secret)
    yield shlex.quote(secret).strip("'")


def _once_escaped(text: str) -> Iterator[str]:
    bare = repr(text)[1:-1]
    yield bare
    yield bare.replace("'", "\\'") if "\\'" not in bare else bare.replace("\\'", "'")  # where it is a part
    yield ascii(text)[1:-1]
    yield json.dumps(text)[1:-1]
    yield json.dumps(text, ensure_ascii=False)[1:-1]


def _latin(encoded: bytes) -> str:
    """As the repr of bytes has it."""
    return repr(encoded)[2:-1]


def _based(encoded: bytes) -> Iterator[str]:
    """In Base64, whatever stands before it: what does not depend on its neighbours."""
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + encoded).decode().rstrip("=")
        bits = 8 * (before + len(encoded))
        inner = whole[(8 * before + 5) // 6 : bits // 6]
        yield inner
        yield inner.replace("+", "-").replace("/", "_")


SHOWN = "***"

_ENDINGS = (
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "api_key",
    "access_key",
    "secret_key",
    "private_key",
    "account_key",
    "shared_key",
    "auth_key",
    "credential",
    "credentials",
    "connection_string",
    "authorization",
)
_JOINED = tuple([name.replace("_", "") for name in _ENDINGS])
_HINTS = ("pass", "secret", "token", "key", "credential", "string", "authorization")
_WHOLE = ("key", "pass", "pwd", "auth", "sig", "signature")
"""Names of options and parameters; of variables in the environment, they mean other things."""

_NAMES = "|".join(name.replace("_", "[_-]?") for name in _ENDINGS)
_IN = r"(?:[^{0}\\\n]|\\.)*"  # quotes
_IN_ESCAPED = r"(?:[^{0}\\\n]|\\[^{0}\n])*"  # quotes that are inside of others
_QUOTED = "|".join([rf"{quote}{_IN.format(quote)}|\\{{1,3}}{quote}{_IN_ESCAPED.format(quote)}" for quote in ("'", '"')])
_UNLESS_HIDDEN = r"(?!\*\*\*[:.]?(?:\s|$))"  # so that the colon or stop after it stays
_BARE = rf"{_UNLESS_HIDDEN}(?!\.\.\.|None\b|True\b|False\b)" r"[^\s&;,'\"()\[\]{}<>\\]+"

_AFTER_A_NAME = re.compile(rf"((?:{_NAMES})(?:\\{{0,3}}['\"]\]?)?=)(?:{_QUOTED}|{_BARE})", re.IGNORECASE)
_AFTER_A_KEY = re.compile(
    rf"((?:{_NAMES})(?:\\{{0,3}}['\"]\s{{0,3}}:|(?:\\{{0,3}}['\"]\]?)?\s{{0,3}}=)\s{{0,3}})(?:{_QUOTED})", re.IGNORECASE
)
_AUTHORIZATION = re.compile(
    r"(authorization\\?['\"]?\s{0,3}[:=]\s{0,3}\\?['\"]?(?:[a-z]{3,10}\s)?)[^\s'\",\\]+", re.IGNORECASE
)
_BEARER = re.compile(r"(\bbearer\s)(?=[^\s\d]{0,200}\d)[\w.~+/=-]{8,}", re.IGNORECASE)
_PARAMETER = re.compile(rf"([?&;](?:{'|'.join(_WHOLE)})=){_UNLESS_HIDDEN}[^\s&;,'\"]+", re.IGNORECASE)
_USER_AND_PASSWORD = re.compile(r"(://[^\s/@:'\"?#]{0,256}:)(?!\d{1,5}/)(?:(?!://)[^\s'\"]){1,1024}@")
_USER_ALONE = re.compile(r"(https?://)[^\s/@:'\"?#]{1,256}@", re.IGNORECASE)

_ARGUMENT = re.compile(r"(-{0,2}([A-Za-z_][\w.-]{0,100})=).*", re.DOTALL)
_OPENING = re.compile(r"\\{0,3}['\"]")
_SHORT = "-p"


@lru_cache(maxsize=4096)
def is_secret(name: str) -> bool:
    """Whether what has this name is secret, such as ``"api_key"``, ``"--token"``, ``"AccountKey"``."""
    return re.sub(r"[\W_]", "", name).lower().endswith(_JOINED)


@lru_cache(maxsize=4096)
def is_secret_option(name: str) -> bool:
    """Whether the option, or the parameter of a URL, of this name is secret."""
    return is_secret(name) or name.strip("-").lower() in _WHOLE


def scrub_named(text: str) -> str:
    """A text without what follows names such as ``token=``, and without the passwords of URLs."""
    lowered = text.lower()
    if any(word in lowered for word in _HINTS):  # to look for a word is much faster than to look for a pattern
        for pattern in (_AUTHORIZATION, _AFTER_A_NAME, _AFTER_A_KEY):
            text = pattern.sub(_hidden, text)
    if "?" in text or "&" in text or ";" in text:
        text = _PARAMETER.sub(_hidden, text)
    if "://" in text:
        text = _USER_AND_PASSWORD.sub(rf"\1{SHOWN}@", text)
        text = _USER_ALONE.sub(rf"\1{SHOWN}@", text)
    return _BEARER.sub(rf"\1{SHOWN}", text) if "bearer" in lowered else text


def scrub_argv(arguments: Sequence[str]) -> list[str]:
    """The arguments of a program without the values of options that are named like secrets.

    Args:
        arguments: as ``sys.argv``.

    Returns:
        As many arguments: ``["vqe.py", "--token", "***", "API_KEY=***", "postgresql://me:***@host/db"]``.
    """
    return list(_scrubbed(arguments))


def without_secret_values(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options without those that are named like secrets, also inside of others; for files that are kept."""
    return {
        name: without_secret_values(value) if isinstance(value, Mapping) else value
        for name, value in options.items()
        if not (isinstance(name, str) and is_secret(name))
    }


def secrets_in(arguments: Sequence[str]) -> list[str]:
    """The values of options of a program that are named like secrets, but for that of ``-p``, which may be anything."""
    found = []
    for argument, before in zip(arguments, ["", *arguments], strict=False):
        named = _ARGUMENT.fullmatch(argument)
        if named is not None and is_secret(named[2]):
            found.append(argument[len(named[1]) :])
        elif _takes_a_secret(before) and before != _SHORT and not argument.startswith("--"):
            found.append(argument)
    return found


def _takes_a_secret(argument: str) -> bool:
    """Whether the next argument is the value of an option that is named like a secret."""
    return argument == _SHORT or (argument.startswith("-") and "=" not in argument and is_secret_option(argument))


def _scrubbed(arguments: Sequence[str]) -> Iterator[str]:
    before = ""
    for argument in map(str, arguments):
        named = _ARGUMENT.fullmatch(argument)
        if _takes_a_secret(before) and not argument.startswith("--"):
            before = ""
            yield SHOWN
            continue
        before = argument
        if named is not None and is_secret_option(named[2]):
            yield named[1] + SHOWN
        elif argument.startswith(_SHORT) and argument != _SHORT:
            yield _SHORT + SHOWN
        else:
            yield scrub_named(argument)


def _hidden(found: re.Match[str]) -> str:
    """What was found, with the quote that opens, without what is in the quotes."""
    opening = _OPENING.match(found[0], found.end(1) - found.start())
    return f"{found[1]}{opening[0] if opening else ''}{SHOWN}"
