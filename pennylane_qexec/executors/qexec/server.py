"""A backend of another server, over HTTP: submitting jobs, asking for them, and what is wrong when it does not work."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from typing import Any, final
from urllib.parse import quote, urlsplit
from uuid import uuid4

import requests

from pennylane_qexec import credentials
from pennylane_qexec.circuits.serialization import results_of
from pennylane_qexec.concurrency.clock import Clock
from pennylane_qexec.errors import ConfigurationError, JobCancelledError, JobFailedError, NoAccessError
from pennylane_qexec.executors.remote import RemoteBackend
from pennylane_qexec.job import JobState, Result, Status
from pennylane_qexec.redaction import Hidden

PROGRAM = "circuits"
"""What a server of ours runs circuits and sweeps by."""

_PATIENCE = (10.0, 120.0)  # seconds to connect, and until an answer begins
_MOST_CONNECTIONS = 32
_LARGEST_PAGE = 1000

_STATES = {
    "queued": JobState.WAITING,
    "running": JobState.RUNNING,
    "completed": JobState.DONE,
    "failed": JobState.FAILED,
    "cancelled": JobState.CANCELLED,
}
_LOST = (JobState.FAILED, JobState.CANCELLED)

_FEW = 2  # jobs for which a request may be held: an executor's threads are also there to send others
_FRESH = 0.05  # seconds for which a list is believed
_STARTING = 60.0  # seconds that a server may take to start again


class ServerBackend(RemoteBackend):
    """A backend of a server. Nothing is sent before the first job.

    Args:
        name: of the backend.
        url: of the server; empty for that of the credentials.
        token: of the user; empty for that of the credentials.
        verify: whether the certificate of a server with TLS is checked, or the file of a certificate to check it by.

    Raises:
        ConfigurationError: there is no name, or the URL is none.
    """

    def __init__(self, name: str, url: str, token: str, verify: bool | str) -> None:
        if not name:
            raise ConfigurationError(
                "no backend is named: give one behind the server's URL, as in 'qexec:https://host/fake_manila@aer'."
            )
        if url in ("http:/", "https:/"):  # the whole URL is that of a server
            raise ConfigurationError(
                f"no backend is named: give one behind the server's URL, as in 'qexec:{url}/{name}/fake_manila@aer'."
            )
        if url and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc):
            raise ConfigurationError(f"{url!r} is no URL of a server: give one such as 'http://127.0.0.1:8000'.")
        super().__init__(name)
        self._url = url.rstrip("/")
        self._token = Hidden(token)
        self._verify = verify

    @property
    def place(self) -> tuple[str, str]:
        """The URL of the server, as it was given, and the name of the backend."""
        return self._url, self.name

    def find(self) -> requests.Session:
        """The connections to the server.

        Raises:
            ConfigurationError: nobody says where it is.
        """
        given = {"url": self._url or None, "token": self._token.reveal() or None}
        known = credentials.arguments(credentials.SERVER, given)
        if not known.get("url"):
            raise ConfigurationError(
                f"backend {self.name!r} of which server? Give its URL, as in 'qexec:https://host/{self.name}', or set "
                "QEXEC_URL."
            )
        self._url = str(known["url"]).rstrip("/")
        session = requests.Session()
        session.verify = self._verify
        session.auth = _Token(Hidden(known.get("token") or "local"))
        session.mount(self._url, requests.adapters.HTTPAdapter(pool_maxsize=_MOST_CONNECTIONS))
        return session

    def ask(self) -> Status:
        """How the backend is, and how many jobs wait there."""
        said = self._request("GET", f"backends/{quote(self.name)}/status").json()
        return Status(bool(said.get("state")), int(said.get("length_queue", 0)))

    def submit(self, params: Mapping[str, Any], label: str) -> str:
        """Submit a job, and return its id.

        A job has a tag in any case. If the connection breaks off, it is looked for, so that it does not run twice.

        Args:
            params: of the program.
            label: a tag of the job; empty for none in particular.
        """
        tag = label or f"request-{uuid4().hex}"
        body = {"program_id": PROGRAM, "backend": self.name, "params": params, "tags": [tag]}
        try:
            return str(self._request("POST", "jobs", json=body).json()["id"])
        except (requests.ConnectionError, requests.Timeout):
            found = None if label else self._found_after_all(tag)
            if found is None:
                raise
            return found

    def state(self, job_id: str) -> JobState:
        """The state of a job. The server holds its answer for at most half a second while nothing changes."""
        return _state_of(self._job(job_id))

    def pending(self) -> Mapping[str, JobState]:
        """The states of the user's jobs at the backend that have not ended, the newest thousand, at once."""
        wanted = {"pending": "true", "program": PROGRAM, "backend": self.name, "limit": str(_LARGEST_PAGE)}
        jobs: Sequence[Mapping[str, Any]] = self._request("GET", "jobs", params=wanted).json()["jobs"]
        return {str(job["id"]): _state_of(job) for job in jobs}

    def params(self, job_id: str) -> Mapping[str, Any]:
        """What a job was sent with."""
        said = self._request("GET", f"jobs/{quote(job_id, safe='')}", job_id).json()
        params: Mapping[str, Any] = said.get("params") or {}
        return params

    def results(self, job_id: str) -> list[list[Result]]:
        """The results of a job that has ended, for each part that was sent.

        Raises:
            JobFailedError: it failed.
            JobCancelledError: it was cancelled.
        """
        answer = self._request("GET", f"jobs/{quote(job_id, safe='')}/results", job_id)
        try:
            return [results_of(text) for text in answer.json()["results"]]
        except (ValueError, LookupError, TypeError):
            said = self._job(job_id)
        if _state_of(said) is JobState.CANCELLED:
            raise JobCancelledError(f"job {job_id!r} was cancelled at {self.name!r}.")
        reason = said["state"].get("reason") or "the server has no result of it"
        raise JobFailedError(self.name, job_id, str(reason))

    def cancel(self, job_id: str) -> None:
        """Ask the server to stop a job. Nothing happens if it has ended."""
        self._request("POST", f"jobs/{quote(job_id, safe='')}/cancel", job_id, done=(409,))

    def find_job(self, label: str) -> str | None:
        """The id of the first job with a tag that has not failed and was not cancelled."""
        wanted = {"tags": label, "program": PROGRAM, "sort": "ASC", "exclude_params": "true"}
        jobs: Sequence[Mapping[str, Any]] = self._request("GET", "jobs", params=wanted).json()["jobs"]
        return next((str(job["id"]) for job in jobs if _state_of(job) not in _LOST), None)

    def _found_after_all(self, tag: str) -> str | None:
        try:
            return self.find_job(tag)
        except requests.RequestException:
            return None

    def _job(self, job_id: str) -> Mapping[str, Any]:
        place = f"jobs/{quote(job_id, safe='')}"
        said: Mapping[str, Any] = self._request("GET", place, job_id, params={"exclude_params": "true"}).json()
        return said

    def _request(
        self, method: str, place: str, job_id: str = "", done: Sequence[int] = (), **options: Any
    ) -> requests.Response:
        """Send a request, and return the answer.

        Args:
            method: of HTTP.
            place: behind the URL of the API.
            job_id: of the job that it is about, if any.
            done: the states of answers that are no failure here.
            options: of the request.

        Raises:
            NoAccessError: the server does not know the token.
            ConfigurationError: there is no such job or backend, or the request is refused for what it says.
            requests.RequestException: there is no answer, or none for the moment.
        """
        session: requests.Session = self.backend()
        answer = session.request(method, f"{self._url}/v1/{place}", timeout=_PATIENCE, **options)
        if answer.ok or answer.status_code in done:
            return answer
        if answer.status_code in (401, 403):
            raise NoAccessError(
                f"the server at {self._url} does not know this token: ask who runs it for one, and give it as token=, "
                "store it with `qexec token set qexec`, or set QEXEC_TOKEN."
            )
        if answer.status_code == 404 and job_id:
            raise ConfigurationError(f"there is no job {job_id!r} at {self._url}.")
        if answer.status_code >= 500 or answer.status_code in (408, 425, 429):
            answer.raise_for_status()
        raise ConfigurationError(f"the server at {self._url} refused this ({answer.status_code}): {_text(answer)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return ServerBackend, (self.name, self._url, "", self._verify)  # another process looks the token up


class PendingJobs:
    """Jobs on their way. A few are asked for one by one, which the server answers when they change; many by one list.

    A server that does not answer for a while may be starting again: until then, nothing has changed.

    Args:
        server: who has them.
        clock: tells the time.
    """

    def __init__(self, server: ServerBackend, clock: Clock) -> None:
        self._server = server
        self._clock = clock
        self._lock = threading.Lock()
        self._since: dict[str, float] = {}
        self._asked = self._answered = -math.inf
        self._listed: Mapping[str, JobState] = {}

    def add(self, job_id: str) -> None:
        """A job was sent, or taken over."""
        with self._lock:
            self._since[job_id] = self._answered = self._clock.monotonic()

    def state(self, job_id: str) -> JobState:
        """The state of a job, whoever sent it.

        Raises:
            requests.RequestException: the server has not answered for long.
            ConfigurationError: there is no such job.
        """
        try:
            state = self._listed_state(job_id) or self._server.state(job_id)
        except requests.RequestException:
            if self._clock.monotonic() - self._answered > _STARTING:
                raise
            return JobState.RUNNING
        self._answered = self._clock.monotonic()
        if state.final:
            self.forget(job_id)
        return state

    def forget(self, job_id: str) -> None:
        """Nobody asks for a job any more, or it has ended."""
        with self._lock:
            self._since.pop(job_id, None)

    def _listed_state(self, job_id: str) -> JobState | None:
        """The state of a job that has not ended, if many are asked for; ``None`` if it has, or they are few."""
        with self._lock:
            since = self._since.get(job_id)
            if since is None or len(self._since) <= _FEW:
                return None
            now = self._clock.monotonic()
            if self._asked <= since or now - self._asked >= _FRESH:
                self._asked, self._listed = now, self._server.pending()
            return self._listed.get(job_id)


@final
class _Token(requests.auth.AuthBase):
    """Names the user in each request."""

    def __init__(self, token: Hidden) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token.reveal()}"
        return request


def _state_of(job: Mapping[str, Any]) -> JobState:
    said = job.get("state")
    status = said.get("status") if isinstance(said, Mapping) else job.get("status")
    return _STATES.get(str(status).lower(), JobState.RUNNING)


def _text(answer: requests.Response) -> str:
    """What a server says of what is wrong, as IBM's does."""
    try:
        return "; ".join(str(error["message"]) for error in answer.json()["errors"])
    except (ValueError, LookupError, TypeError):
        return answer.text[:500] or "it says no more"
