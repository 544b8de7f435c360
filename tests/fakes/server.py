"""A server of ours as a fake: as much of it as :class:`~pennylane_qexec.QExecRemote` asks for, in a thread."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pennylane_qexec.errors import QExecError
from pennylane_qexec.server.programs import ours
from pennylane_qexec.server.programs.clusters import ClusterJob
from pennylane_qexec.server.sources import source_of


@dataclass
class ServedJob:
    """A job as the server has it."""

    id: str
    params: Mapping[str, Any]
    tags: list[str]
    status: str = "Queued"
    reason: str | None = None
    result: str | None = None

    def view(self) -> dict[str, Any]:
        """What the server says of it."""
        return {"id": self.id, "state": {"status": self.status, "reason": self.reason}, "tags": self.tags}


@dataclass
class FakeServer:
    """The server.

    Attributes:
        source: what runs its only backend, ``"lab"``.
        token: the only one that it knows.
        waits: whether jobs stay in the queue.
        breaks: how many answers to submissions are lost on their way.
        busy: how many submissions are put off.
        down: how many requests are not answered.
        jobs: all that were submitted, by id.
        requests: what was asked: method and path.
    """

    source: Any = "default.qubit"
    token: str = "right-token"
    waits: bool = False
    breaks: int = 0
    busy: int = 0
    down: int = 0
    jobs: dict[str, ServedJob] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._source = source_of(self.source)
        self._lock = threading.Lock()
        handler = type("Handler", (_Handler,), {"fake": self})
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._http.server_port}"

    def close(self) -> None:
        """End it."""
        self._http.shutdown()
        self._http.server_close()

    def answer(self, method: str, path: str, query: Mapping[str, list[str]], body: Any) -> tuple[int, Any]:
        """The status and the content of an answer."""
        if self.down:
            self.down -= 1
            return 0, None
        self.requests.append(f"{method} {path}")
        match [method, *path.removeprefix("/v1/").split("/")]:
            case ["GET", "backends", "lab", "status"]:
                return 200, {"state": True, "length_queue": 3}
            case ["POST", "jobs"]:
                return self._submit(body)
            case ["GET", "jobs"]:
                wanted = [job for job in self.jobs.values() if set(query.get("tags", ())) <= set(job.tags)]
                found = [job.view() for job in wanted if "pending" not in query or job.status == "Queued"]
                return 200, {"jobs": found, "count": len(found)}
            case [_, "jobs", job_id, *what] if job_id in self.jobs:
                return self._about(self.jobs[job_id], method, what, query)
        return 404, {"errors": [{"message": f"there is no {path}"}]}

    def _submit(self, body: Any) -> tuple[int, Any]:
        if self.busy:
            self.busy -= 1
            return 503, {"errors": [{"message": "too many jobs wait"}]}
        if body["backend"] != "lab":
            return 400, {"errors": [{"message": f"there is no backend {body['backend']!r}"}]}
        with self._lock:
            job = ServedJob(f"job-{len(self.jobs)}", body["params"], body["tags"])
            self.jobs[job.id] = job
        if not self.waits:
            self.run(job)
        if self.breaks:
            self.breaks -= 1
            return 0, None
        return 200, {"id": job.id, "backend": body["backend"]}

    def run(self, job: ServedJob) -> None:
        """Run a job."""
        try:
            job.result = ours.run(ClusterJob(job.id, self._source, None, lambda: None), "circuits", job.params)
            job.status = "Completed"
        except QExecError as error:
            job.status, job.reason = "Failed", str(error)

    def _about(self, job: ServedJob, method: str, what: list[str], query: Any) -> tuple[int, Any]:
        if what == ["results"]:
            return (200, job.result) if job.result else (200, job.reason or "")
        if method == "POST":
            if job.status != "Queued":
                return 409, {"errors": [{"message": "it has ended"}]}
            job.status = "Cancelled"
            return 204, None
        return 200, job.view() if "exclude_params" in query else {**job.view(), "params": job.params}


class _Handler(BaseHTTPRequestHandler):
    fake: FakeServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        parts = urlsplit(self.path)
        if self.headers["Authorization"] != f"Bearer {self.fake.token}":
            status, content = 401, None
        else:
            status, content = self.fake.answer(self.command, unquote(parts.path), parse_qs(parts.query), body)
        if not status:
            self.close_connection = True
            return
        data = content if isinstance(content, str) else json.dumps(content) if content is not None else ""
        self.send_response(status)
        if status == 503:
            self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(data.encode())))
        self.end_headers()
        self.wfile.write(data.encode())
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        pass
