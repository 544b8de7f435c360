"""Who asks: a user by a token; without tokens, whoever asks from this machine."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Callable, Mapping
from typing import final
from urllib.parse import urlsplit

import jwt
from fastapi import Request

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.server.errors import ApiError, Code
from pennylane_qexec.server.records import Records, User
from pennylane_qexec.server.tokens import LIFETIME, AccessToken, Tokens

LOCAL = User("local", admin=True)
"""Everybody, on a server without tokens."""

_LATELY = 1.0  # seconds for which it is remembered that a store has no token
_LONGEST = 4096  # characters of a token
_ALGORITHM = "HS256"


@final
class Authentication:
    """Tells who sent a request.

    Args:
        records: which have the tokens.
        given: tokens by the names of their users, beside those of the records.
        required: whether requests need a token though there is none yet.
        clock: seconds, from any start.
    """

    def __init__(
        self,
        records: Records,
        given: Mapping[str, str] | None = None,
        required: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens = Tokens(records)
        self._records = records
        self._given = {name: _digest(token) for name, token in (given or {}).items()}
        self._required = required or bool(given)
        self._clock = clock
        self._open_until = -1.0

    @staticmethod
    def check(given: Mapping[str, str]) -> None:
        """Refuse tokens that make no sense.

        Raises:
            ConfigurationError: they do not.
        """
        for name, token in given.items():
            if not (isinstance(name, str) and name and isinstance(token, str) and token):
                raise ConfigurationError(f"tokens={{{name!r}: ...}}: give a text for the token of each user's name.")

    def required(self) -> bool:
        """Whether requests need a token: once one was made, all do, also when it was revoked."""
        if self._required:
            return True
        now = self._clock()
        if now >= self._open_until:
            if self._records.tokens():
                self._required = True
            else:
                self._open_until = now + _LATELY
        return self._required

    def known(self, request: Request) -> User | None:
        """Who sent a request, if that can be told without the records; ``None`` if :meth:`user` has to be asked.

        Raises:
            ApiError: it comes from elsewhere, and there are no tokens.
        """
        if self._required or self._clock() >= self._open_until:
            return None
        _check_local(request)
        return LOCAL

    def user(self, request: Request) -> User:
        """Who sent a request. This blocks.

        Raises:
            ApiError: it has no token, or one that nobody has; or it comes from elsewhere, and there are no tokens.
        """
        if not self.required():
            _check_local(request)
            return LOCAL
        scheme, _, token = request.headers.get("authorization", "").strip().partition(" ")
        user = self.find(token.strip()) if scheme.lower() in ("bearer", "apikey") else None
        if user is None:
            raise ApiError(
                401,
                Code.NO_CREDENTIALS,
                "this server knows its users by tokens, and the request has none that it knows.",
                "Whoever runs the server makes one with `qexec server-token`.",
                {"WWW-Authenticate": "Bearer"},
            )
        return user

    def access_token(self, token: str, lifetime: float = LIFETIME) -> AccessToken | None:
        """The token for so many seconds for a user's own one; ``None`` if that is nobody's. This blocks."""
        if not self.required():
            return _issued(LOCAL.name, secrets.token_bytes(32), lifetime)
        for name, digest in self._given.items():
            if hmac.compare_digest(_digest(token), digest):
                return _issued(name, digest, lifetime)
        return self._tokens.issue(token, lifetime)

    def find(self, token: str) -> User | None:
        """Whose a token is, the user's own or a short-lived one; ``None`` if it is nobody's. This blocks."""
        if not token or len(token) > _LONGEST:
            return None
        for name, digest in self._given.items():
            if hmac.compare_digest(_digest(token), digest) or _is_issued(token, name, digest):
                return User(name)
        return self._tokens.find(token)


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


# Short-lived tokens of users who are not in the records: signed by the digest of the user's own token


def _issued(name: str, key: bytes, lifetime: float) -> AccessToken:
    now = int(time.time())
    expires = now + round(lifetime)
    claims = {"sub": name, "iat": now, "exp": expires}
    return AccessToken(jwt.encode(claims, key, _ALGORITHM), now, expires)


def _is_issued(token: str, name: str, key: bytes) -> bool:
    try:
        claims = jwt.decode(token, key, [_ALGORITHM], {"require": ["sub", "exp"]})
    except jwt.InvalidTokenError:
        return False
    return bool(claims["sub"] == name)


# Without tokens


def _check_local(request: Request) -> None:
    """Refuse what does not come from this machine, and what a page of the web has made a browser send.

    A name with a dot in it may be anybody's, also if it leads to this machine.
    """
    client = request.client.host if request.client else ""
    host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    origin = request.headers.get("origin")
    names = [host] if origin is None else [host, urlsplit(origin).hostname or "."]
    if not _is_local(client) or not all(map(_is_local, names)):
        raise ApiError(
            403,
            Code.NOT_ALLOWED,
            "this server has no tokens, and so it answers its own machine only.",
            "Make tokens with `qexec server-token` to use it from elsewhere.",
        )


def _is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return "." not in host or host.endswith(".localhost")
