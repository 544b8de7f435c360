"""What all pages share: the store, who asks, and what looks into circuits and results."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar, cast
from urllib.parse import parse_qsl

from starlette.requests import Request

from pennylane_qexec.persistence.store import Store
from pennylane_qexec.persistence.store.database import Transactions
from pennylane_qexec.server.api import ServerState
from pennylane_qexec.server.dashboard.access import Access
from pennylane_qexec.server.dashboard.events import Events
from pennylane_qexec.server.dashboard.inspector import Inspector
from pennylane_qexec.server.errors import ApiError, Code
from pennylane_qexec.server.records import Records, User

P = ParamSpec("P")
T = TypeVar("T")

_MOST_FIELDS = 100


@dataclass(frozen=True)
class Dashboard:
    """What pages share, from the start of the application to its end.

    Attributes:
        location: file or URL of the store, as it was given.
        store: with runs and their circuits.
        reads: a way to the same database, for what changes nothing.
        records: jobs, sessions and users of servers in the same database.
        access: who may see what.
        events: tells browsers of changes.
        inspector: looks into circuits and results, in a process of its own.
        server: what the server shares; ``None`` where there is none, and the pages are of a store.
    """

    location: str
    store: Store
    reads: Transactions
    records: Records
    access: Access
    events: Events
    inspector: Inspector
    server: ServerState | None = None

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call what blocks, in a thread."""
        return await asyncio.to_thread(function, *args, **kwargs)


def dashboard_of(request: Request) -> Dashboard:
    """What pages share."""
    return cast(Dashboard, request.app.state.dashboard)


def user_of(request: Request) -> User:
    """Who asks for a page."""
    return cast(User, request.state.user)


def admin_of(request: Request) -> User:
    """Who asks for a page that only an admin may see.

    Raises:
        ApiError: it is somebody else.
    """
    user = user_of(request)
    if not user.admin:
        raise ApiError(403, Code.NOT_ALLOWED, "this page is for admins.", "Ask whoever runs the server.")
    return user


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form, the last of each name.

    Raises:
        ApiError: this is no form, or no page of the dashboard has sent it.
    """
    try:
        text = (await request.body()).decode()
        form = dict(parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=_MOST_FIELDS))
    except ValueError as error:
        raise ApiError(400, Code.BAD_REQUEST, f"this is no form: {error}.") from None
    dashboard_of(request).access.check_origin(request, form)
    return form


def number_in(request: Request, name: str, default: Any = None) -> Any:
    """A whole number of a page's address; the default if it is not there.

    Raises:
        ApiError: it is there, and no whole number.
    """
    given = request.query_params.get(name) or request.path_params.get(name)
    if given is None or given == "":
        return default
    if not str(given).isdecimal() or len(str(given)) > 18:
        raise ApiError(400, Code.BAD_REQUEST, f"{name}={given!r:.40} must be a whole number.")
    return int(given)
