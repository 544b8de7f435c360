"""Who may see the pages, and what keeps pages of other origins from changing anything."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from typing import final
from urllib.parse import urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pennylane_qexec.server.api import Authentication
from pennylane_qexec.server.errors import ApiError, Code
from pennylane_qexec.server.records import User

COOKIE = "qexec_session"
HOURS = 12
"""For which a browser stays signed in."""

_SAFE_METHODS = frozenset({"GET", "HEAD"})


@final
class Access:
    """Signs browsers in by tokens, and knows them by a cookie.

    Args:
        authentication: that of the server: without tokens, whoever asks from this machine is its admin.
        secret: of the store, by which forms are recognized.
    """

    def __init__(self, authentication: Authentication, secret: str) -> None:
        self._authentication = authentication
        self._secret = secret.encode()

    def user(self, request: Request) -> User | None:
        """Who asks; ``None`` if the browser is not signed in. This blocks.

        Raises:
            ApiError: there are no tokens, and the request comes from elsewhere than this machine.
        """
        if not self._authentication.required():
            return self._authentication.user(request)
        return self._authentication.find(request.cookies.get(COOKIE, ""))

    def sign_in(self, token: str) -> str | None:
        """What the cookie of a browser is for who shows a token; ``None`` if that is nobody's. This blocks."""
        issued = self._authentication.access_token(token.strip(), HOURS * 3600)
        return None if issued is None else issued.text

    @property
    def signs_in(self) -> bool:
        """Whether browsers have to sign in. This blocks."""
        return self._authentication.required()

    def form_token(self, request: Request) -> str:
        """What forms of a page have to send back."""
        return hmac.new(self._secret, request.cookies.get(COOKIE, "").encode(), hashlib.sha256).hexdigest()

    def check_origin(self, request: Request, form: Mapping[str, str]) -> None:
        """Refuse a change that no page of this dashboard has asked for.

        Raises:
            ApiError: none has.
        """
        if request.method in _SAFE_METHODS:
            return
        site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
        elsewhere = site not in (None, "same-origin") or (
            origin is not None and urlsplit(origin).netloc != request.headers.get("host")
        )
        sent = request.headers.get("x-form-token") or form.get("form_token", "")
        if elsewhere or not hmac.compare_digest(sent.encode(), self.form_token(request).encode()):
            raise ApiError(
                403,
                Code.NOT_ALLOWED,
                "this did not come from a page of the dashboard.",
                "Load the page again, and retry.",
            )


_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@final
class SecurityHeaders:
    """Puts headers on every answer of an application: nothing comes from elsewhere, and nobody frames the pages.

    Args:
        app: the application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, with_headers if scope["type"] == "http" else send)
