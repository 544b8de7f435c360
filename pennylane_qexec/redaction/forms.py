"""The forms in which a secret is found in texts: as it is, quoted, escaped, encoded."""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Iterator
from functools import lru_cache
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
