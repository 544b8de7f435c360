"""Pages out of templates: everything that is filled in is escaped."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from pennylane_qexec.persistence.store import State
from pennylane_qexec.redaction import scrub
from pennylane_qexec.server.dashboard.context import dashboard_of
from pennylane_qexec.server.dashboard.preferences import Preferences
from pennylane_qexec.server.records import User

TEMPLATES = Path(__file__).parent / "templates"

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def render(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page, or a part of one, for whoever asks.

    Args:
        request: the request.
        template: the name of its file.
        status: of the answer.
        **values: what the template fills in.
    """
    dashboard, user = dashboard_of(request), getattr(request.state, "user", None)
    shared = {
        "admin": bool(user and user.admin),
        "form_token": dashboard.access.form_token(request),
        "navigation": _navigation(user, dashboard.server is not None),
        "path": request.url.path,
        "preferences": Preferences.of(request),
        "signed_in": user is not None and user.token is not None,
        "user": user.name if user else None,
        "version": version("pennylane-qexec"),
    }
    return HTMLResponse(environment().get_template(template).render(**shared, **values), status)


def _navigation(user: User | None, has_server: bool) -> list[tuple[str, str]]:
    """The pages that somebody may see, with their addresses."""
    if user is None:
        return []
    pages = {
        "Overview": ("/dashboard/", True),
        "Jobs": ("/dashboard/jobs", has_server),
        "Runs": ("/dashboard/runs", user.admin),
        "Circuits": ("/dashboard/circuits", user.admin),
        "Experiments": ("/dashboard/experiments", user.admin),
        "Timeline": ("/dashboard/timeline", user.admin),
        "Settings": ("/dashboard/settings", user.admin),
    }
    return [(name, address) for name, (address, shown) in pages.items() if shown]


@lru_cache
def environment() -> Environment:
    """The templates, with the filters below."""
    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "ago": ago,
        "amount": amount,
        "cost": cost,
        "moment": moment,
        "scrub": scrub,
        "seconds": seconds,
        "words": words,
    }
    return found


def words(state: str) -> str:
    """The state of a circuit, as people say it."""
    return State(state).in_words


def moment(given: float | None) -> str:
    """A time in seconds since 1970, in UTC."""
    return datetime.fromtimestamp(given, UTC).strftime("%Y-%m-%d %H:%M:%S") if given else ""


def ago(given: float | None) -> str:
    """How long ago a time in seconds since 1970 was."""
    return f"{seconds(max(0.0, datetime.now(UTC).timestamp() - given))} ago" if given else ""


def seconds(given: float | None) -> str:
    """A duration."""
    if given is None:
        return ""
    if given < 60:
        return f"{given:.3g} s" if given < 1 else f"{given:.1f} s"
    for size, unit in _UNITS:
        if given >= size:
            return f"{given / size:,.1f} {unit}"
    return ""


def amount(given: float | None) -> str:
    """A number."""
    if given is None:
        return ""
    return f"{given:,}" if isinstance(given, int) else f"{given:,.6g}"


def cost(given: float | None) -> str:
    """US dollars."""
    return f"${given:,.2f}" if given else ""
