"""What all requests share: the records, the catalogue, the scheduler; and how they call what blocks."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Annotated, Any, ParamSpec, Protocol, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel, ValidationError

from pennylane_qexec.server.api.authentication import Authentication
from pennylane_qexec.server.api.pages import Pages
from pennylane_qexec.server.api.polls import Polls
from pennylane_qexec.server.catalogue import Catalogue, PublishedBackend
from pennylane_qexec.server.errors import ApiError, Code, validation_text
from pennylane_qexec.server.metrics import Metrics
from pennylane_qexec.server.records import JobStatus, Records, User
from pennylane_qexec.server.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_RESTART = "5"  # seconds after which a server that stops may be there again
_LARGE = 256 * 1024  # bytes; what is larger is decoded in a thread


class JobScheduler(Protocol):
    """What requests ask of the scheduler; they know nothing of processes."""

    def submitted(self, job: str) -> None:
        """A job was recorded."""

    async def wait(self, job: str, known: JobStatus, seconds: float) -> None:
        """Wait until the status of a job is another one than that known, but not longer than so many seconds."""

    async def cancel(self, job: str) -> None:
        """A job was cancelled in the records, or deleted: stop it if it runs here."""

    def retry_after(self) -> int:
        """After how many seconds a client for whom there is no room may try again."""

    async def stop(self, grace: float) -> None:
        """Begin no more jobs, and let those that run end, within so many seconds."""


@dataclass(frozen=True)
class LargeBodies:
    """Bounds how many large bodies of requests are in memory.

    Attributes:
        arriving: held from the first byte of one to its end.
        decoded: held beside it while it is decoded and recorded, which takes several times its memory.
    """

    arriving: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2))
    decoded: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))


@dataclass
class ServerState:
    """What all requests of a server share, from its start to its end.

    Attributes:
        settings: of the server.
        records: its jobs, sessions and tokens; they block, so requests reach them by :meth:`call`.
        catalogue: the backends that it publishes.
        scheduler: what runs the jobs.
        metrics: what it counts.
        authentication: how it knows its users.
        polls: who waits for which job.
        pages: of which lists pages were given lately.
        large_bodies: how many large bodies are in memory at a time, however many are sent.
        stopping: whether the server was told to stop.
    """

    settings: Settings
    records: Records
    catalogue: Catalogue
    scheduler: JobScheduler
    metrics: Metrics
    authentication: Authentication
    threads: ThreadPoolExecutor
    polls: Polls = field(default_factory=Polls)
    pages: Pages = field(default_factory=Pages)
    large_bodies: LargeBodies = field(default_factory=LargeBodies)
    stopping: bool = False

    async def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call what blocks, in a thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, lambda: function(*args, **kwargs))

    async def drain(self) -> None:
        """Take no more jobs, and let those that run end, while all else is answered."""
        self.stopping = True
        await self.scheduler.stop(self.settings.grace)

    def check_running(self) -> None:
        """Send clients away who want something of a server that stops.

        Raises:
            ApiError: it does.
        """
        if self.stopping:
            again = {"Retry-After": _RESTART}
            raise ApiError(503, Code.TOO_MANY_REQUESTS, "the server stops, and takes no more jobs.", headers=again)

    def published(self, name: str, status: int = 404) -> PublishedBackend:
        """A backend by name.

        Raises:
            ApiError: there is none of that name.
        """
        found = self.catalogue.find(name)
        if found is None:
            raise ApiError(
                status,
                Code.NO_BACKEND,
                f"there is no backend {name!r}.",
                "service.backends() lists all.",
            )
        return found


async def _state(request: Request) -> ServerState:
    state: ServerState = request.app.state.server
    return state


State = Annotated[ServerState, Depends(_state)]


async def _user(request: Request, state: State) -> User:
    user = state.authentication.known(request)
    if user is None:
        user = await state.call(state.authentication.user, request)
    request.scope["qexec.user"] = user.name  # for the log
    return user


CurrentUser = Annotated[User, Depends(_user)]


def is_id(text: str) -> bool:
    """Whether a text may be the id of a job or a session."""
    return _ID.fullmatch(text) is not None


def described(model: type[BaseModel]) -> dict[str, Any]:
    """How the description of the interface speaks of a body that :func:`body_of` reads."""
    schema = model.model_json_schema()
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


async def body_of(request: Request, state: ServerState, model: type[M]) -> M:
    """The body of a request, whatever its ``Content-Type`` says.

    Raises:
        ApiError: it is not what the model describes, or too large.
    """
    return await decoded(await request.body(), state, model)


async def decoded(body: bytes | bytearray, state: ServerState, model: type[M]) -> M:
    """What a body says.

    Raises:
        ApiError: it is not what the model describes.
    """
    try:
        if len(body) > _LARGE:
            return await state.call(model.model_validate_json, body)
        return model.model_validate_json(body)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        raise ApiError(422, Code.BAD_REQUEST, validation_text(problems)) from None
