"""Who asks: API tokens, and the short-lived tokens that IBM's client gets for them from the server's identity route."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import jwt

from pennylane_qexec.server.records import Records, User

_ALGORITHM = "HS256"
_SECRET = "access tokens"
LIFETIME = 3600.0
"""Of access tokens, in seconds."""

# The time is compared with the server's clock, below.
_OPTIONS: Any = {"require": ["iat", "exp", "sub", "token"], "verify_exp": False, "verify_iat": False}


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A short-lived token: a JSON Web Token, signed with a secret of the store.

    Attributes:
        text: the token.
        issued: when it was made, in seconds since 1970.
        expires: until when it is valid, in seconds since 1970.
    """

    text: str
    issued: int
    expires: int


@final
class Tokens:
    """Finds out who asks.

    Args:
        records: which have the API tokens.
        lifetime: of access tokens, in seconds.
        clock: tells the time, in seconds since 1970.
    """

    def __init__(self, records: Records, lifetime: float = LIFETIME, clock: Callable[[], float] = time.time) -> None:
        self._records = records
        self._lifetime = lifetime
        self._clock = clock
        self._secret = records.secret(_SECRET)

    def issue(self, api_token: str, lifetime: float | None = None) -> AccessToken | None:
        """Make an access token for who shows an API token; ``None`` if that is nobody's.

        Args:
            api_token: the API token.
            lifetime: of this one, in seconds; default: that of all.
        """
        user = self._records.find(api_token)
        if user is None:
            return None
        issued = int(self._clock())
        expires = issued + round(self._lifetime if lifetime is None else lifetime)
        claims = {"sub": user.name, "token": user.token, "iat": issued, "exp": expires}
        return AccessToken(jwt.encode(claims, self._secret, _ALGORITHM), issued, expires)

    def find(self, token: str) -> User | None:
        """Whose a token is, an API token or an access token.

        Returns:
            The user; ``None`` if it is nobody's, has expired, or the API token was revoked that it comes from.
        """
        if token.count(".") != 2:  # API tokens have no point, access tokens have two
            return self._records.find(token)
        try:
            claims = jwt.decode(token, self._secret, algorithms=[_ALGORITHM], options=_OPTIONS)
        except jwt.InvalidTokenError:
            return None
        expires, number = claims["exp"], claims["token"]
        if type(expires) is not int or type(number) is not int or self._clock() >= expires:
            return None
        user = self._records.user_of(number)
        return user if user is not None and user.name == claims["sub"] else None
