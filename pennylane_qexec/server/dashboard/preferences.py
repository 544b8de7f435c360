"""How a person wants pages: which theme, and how often they are refreshed. Kept in a cookie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

THEMES = ("system", "light", "dark")
INTERVALS = {"0.5": "at once", "5": "every 5 s", "30": "every 30 s", "0": "never"}
"""How often pages are refreshed, in seconds, and what that is called."""

COOKIE = "qexec_preferences"
_YEAR = 365 * 86400


@dataclass(frozen=True)
class Preferences:
    """What a person wants.

    Attributes:
        theme: one of :data:`THEMES`.
        refresh: one of :data:`INTERVALS`.
    """

    theme: str = THEMES[0]
    refresh: str = "0.5"

    @classmethod
    def of(cls, request: Request) -> Self:
        """Those that a browser has sent; the defaults, if it has not, or makes no sense."""
        theme, _, refresh = request.cookies.get(COOKIE, "").partition(".r")
        return cls(
            theme if theme in THEMES else THEMES[0],
            refresh if refresh in INTERVALS else "0.5",
        )

    @property
    def pause(self) -> float:
        """Seconds between two refreshes; 0 for never."""
        return float(self.refresh)

    @property
    def themes(self) -> tuple[str, ...]:
        """All that there are."""
        return THEMES

    @property
    def intervals(self) -> dict[str, str]:
        """All that there are."""
        return INTERVALS


def remember(request: Request, form: dict[str, str]) -> Response:
    """Set the cookie, and go back to the page."""
    theme, refresh = form.get("theme", ""), form.get("refresh", "")
    back = urlsplit(request.headers.get("referer", ""))
    path = back.path if back.path.startswith("/dashboard/") else "/dashboard/"
    response = RedirectResponse(f"{path}?{back.query}" if back.query else path, 303)
    if theme in THEMES and refresh in INTERVALS:
        value = f"{theme}.r{refresh}"
        response.set_cookie(COOKIE, value, max_age=_YEAR, path="/dashboard", httponly=True, samesite="strict")
    return response
