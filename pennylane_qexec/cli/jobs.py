"""``qexec jobs``, ``qexec show`` and ``qexec cancel``: the jobs of a server, asked there or in its store."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, final

import typer
from rich.table import Table

from pennylane_qexec.cli.console import JSON, WRONG_USE, aligned, escape, mistakes, remarks, results, show
from pennylane_qexec.cli.server import STORE, opened_records
from pennylane_qexec.errors import ConfigurationError, NoAccessError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennylane_qexec.server.records import Records

# Where jobs are

SERVER = Annotated[str | None, typer.Option("--server", help="URL of the server. Default: QEXEC_URL.")]


class ServerJobs(ABC):
    """The jobs of a server; each is a mapping as the server's API has it."""

    where: str
    """What was asked, for people."""

    @abstractmethod
    def some(self, limit: int, pending: bool | None, backend: str | None) -> tuple[list[dict[str, Any]], int]:
        """The newest jobs, at most so many, and how many there are."""

    @abstractmethod
    def one(self, job: str) -> dict[str, Any] | None:
        """A job; ``None`` if there is none of this id."""

    @abstractmethod
    def cancel(self, job: str) -> str | None:
        """Cancel a job. Returns why that cannot be; ``None`` if it is cancelled, or will be in a moment."""


@final
class JobsOfStore(ServerJobs):
    """What a store has recorded, of all users, whether a server runs or not.

    Args:
        records: of the store.
    """

    def __init__(self, records: Records) -> None:
        from pennylane_qexec.server.records import User

        self._records = records
        self._user = User("", admin=True)
        self.where = records.url

    def some(self, limit: int, pending: bool | None, backend: str | None) -> tuple[list[dict[str, Any]], int]:
        from pennylane_qexec.server.api.views import job_view
        from pennylane_qexec.server.records import JobFilter

        page, count = self._records.jobs(self._user, JobFilter(limit=limit, pending=pending, backend=backend))
        return list(map(job_view, page)), count

    def one(self, job: str) -> dict[str, Any] | None:
        from pennylane_qexec.server.api.views import job_view

        found = self._records.job(job, self._user)
        return None if found is None else job_view(found)

    def cancel(self, job: str) -> str | None:
        status = self._records.cancel(job, self._user)
        if status is None:
            return "there is no such job"
        return f"it has ended: {status.value.lower()}" if status.final else None


@final
class JobsOfServer(ServerJobs):
    """What a server says of a user's jobs; of everybody's to an admin.

    Args:
        url: of the server; default: the variable ``QEXEC_URL``.
    """

    def __init__(self, url: str | None) -> None:
        from pennylane_qexec import credentials
        from pennylane_qexec.server.environment import checked_url

        known = credentials.arguments(credentials.SERVER, {"url": url})
        self.where = checked_url(known.get("url"))
        self._headers = {"Authorization": f"Bearer {known.get('token') or 'local'}"}

    def some(self, limit: int, pending: bool | None, backend: str | None) -> tuple[list[dict[str, Any]], int]:
        asked = {"limit": limit, "backend": backend, "pending": None if pending is None else str(pending).lower()}
        answer = self._asked("GET", "/jobs", {name: value for name, value in asked.items() if value is not None})
        found = answer.json()
        return found["jobs"], found["count"]

    def one(self, job: str) -> dict[str, Any] | None:
        answer = self._asked("GET", f"/jobs/{_quoted(job)}", {"exclude_params": "true"})
        return None if answer.status_code == 404 else answer.json()

    def cancel(self, job: str) -> str | None:
        answer = self._asked("POST", f"/jobs/{_quoted(job)}/cancel")
        if answer.status_code == 404:
            return "there is no such job"
        return "it has ended" if answer.status_code == 409 else None

    def _asked(self, method: str, path: str, query: dict[str, Any] | None = None) -> Any:
        import requests

        try:
            answer = requests.request(
                method, f"{self.where}/v1{path}", params=query, headers=self._headers, timeout=30.0
            )
        except requests.RequestException as error:
            raise NoAccessError(
                f"no server answers at {self.where} ({type(error).__name__}): start it, or correct the URL."
            ) from error
        if answer.status_code in (401, 403):
            raise NoAccessError(
                f"the server at {self.where} does not know this token: store yours with `qexec token set qexec`, or "
                "set QEXEC_TOKEN."
            )
        if not answer.ok and answer.status_code not in (404, 409):
            raise NoAccessError(f"the server at {self.where} said {answer.status_code}: {answer.text[:300]}")
        return answer


def _quoted(job: str) -> str:
    from urllib.parse import quote

    return quote(job, safe="")


@contextmanager
def _asked(server: str | None, store: str | None) -> Iterator[ServerJobs]:
    """Where jobs are looked for: what is named, else the server of ``QEXEC_URL``, else the store of the settings."""
    if server and store:
        raise ConfigurationError("both a server and a store are named: name one of them.")
    if server or (not store and os.environ.get("QEXEC_URL")):
        yield JobsOfServer(server)
    else:
        with opened_records(store) as records:
            yield JobsOfStore(records)


# Commands


def list_jobs(
    server: SERVER = None,
    store: STORE = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="The most that are listed.")] = 20,
    pending: Annotated[
        bool | None, typer.Option("--pending/--ended", help="Only those that wait or run; only those that do not.")
    ] = None,
    backend: Annotated[str | None, typer.Option(help="Only those of this backend.")] = None,
    as_json: JSON = False,
) -> None:
    """List the jobs of a server, the newest first."""
    with mistakes(remarks(), as_json), _asked(server, store) as jobs:
        found, count = jobs.some(limit, pending, backend)
        where = jobs.where
    if as_json:
        typer.echo(json.dumps({"where": where, "jobs": found, "count": count}, indent=2))
        return
    table = Table("id", "user", "program", "backend", "state", "submitted (UTC)", "seconds")
    for job in found:
        names = (job["id"], job["user_id"], job["program"]["id"], job["backend"], job["status"].lower())
        table.add_row(*map(escape, names), job["created"][:19], f"{job['usage']['seconds']:.2f}")
    console = results()
    console.print(aligned(table, (6,), (0,)) if found else f"There are no such jobs at {escape(where)}.")
    if count > len(found):
        console.print(f"{count - len(found)} more: --limit shows them.")


def show_job(
    job: Annotated[str, typer.Argument(metavar="ID")],
    server: SERVER = None,
    store: STORE = None,
    as_json: JSON = False,
) -> None:
    """Show a job of a server: what became of it, and why."""
    with mistakes(remarks(), as_json), _asked(server, store) as jobs:
        found = jobs.one(job)
        if found is None:
            raise ConfigurationError(f"there is no job {job!r} at {jobs.where}: `qexec jobs` lists them.")
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    lines = {
        "job": found["id"],
        "user": found["user_id"],
        "program": found["program"]["id"],
        "backend": found["backend"],
        "state": found["status"].lower(),
        "reason": found["state"].get("reason", ""),
        "submitted": found["created"],
        "ended": found.get("ended", ""),
        "seconds": f"{found['usage']['seconds']:.2f}",
        "session": found.get("session_id", ""),
        "tags": ", ".join(found["tags"]),
    }
    table = Table.grid(padding=(0, 2))
    for name, value in lines.items():
        if value:
            table.add_row(name, escape(value))
    results().print(table, highlight=False)


def cancel_jobs(
    job: Annotated[list[str], typer.Argument(metavar="ID...")], server: SERVER = None, store: STORE = None
) -> None:
    """Cancel jobs of a server, those that run too."""
    with mistakes(remarks()), _asked(server, store) as jobs:
        refused = {one: why for one in job if (why := jobs.cancel(one)) is not None}
    for one, why in refused.items():
        show(remarks(), f"{one} is not cancelled", why)
    if refused:
        raise typer.Exit(WRONG_USE if len(refused) == len(job) else 1)
    typer.echo(f"{len(job)} cancelled." if len(job) > 1 else f"{job[0]} is cancelled.")
