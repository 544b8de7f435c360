"""A server in a process of its own, for benchmarks: started, asked by plain HTTP, watched, ended."""

from __future__ import annotations

import http.client
import json
import logging
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import psutil
from qiskit import QuantumCircuit
from qiskit.circuit.library import quantum_volume
from qiskit_ibm_runtime.utils import RuntimeEncoder

from pennylane_qexec.server.records import open_records

HOST = "127.0.0.1"
SHOTS = 1024
PAUSE = 0.1
"""Seconds for which IBM's client sleeps between two questions for the status of a job."""

_PROGRAM = """
import sys
from pennylane_qexec.server.app import serve
from pennylane_qexec.server.settings import load_settings
serve(load_settings(port=int(sys.argv[1]), workers=int(sys.argv[2]), store=sys.argv[3], log_level="ERROR"))
"""

logging.getLogger("qiskit_ibm_runtime.qiskit_runtime_service").setLevel(logging.ERROR)


class Refused(RuntimeError):
    """An answer was none of the good ones.

    Attributes:
        status: of the answer.
    """

    def __init__(self, what: str, status: int, content: bytes) -> None:
        super().__init__(f"{what}: {status} {content[:300]!r}")
        self.status = status


class ServerProcess:
    """A server in a process of its own, and what is asked of it.

    Args:
        port: that it listens at.
        process: its process; workers are others.
        tokens: of users, if requests need them.
        log: where its errors are, one line of JSON each.

    Attributes:
        port: the same.
        process: the same.
        tokens: the same, by the names of the users.
        statuses: how often the server has answered what.
    """

    def __init__(self, port: int, process: psutil.Process, tokens: dict[str, str], log: Path) -> None:
        self.port = port
        self.process = process
        self.tokens = tokens
        self._log = log
        self.statuses: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._local = threading.local()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def ask(self, method: str, path: str, body: bytes | None = None, user: str = "") -> tuple[int, bytes]:
        """The status and the body of an answer, over this thread's connection."""
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection(HOST, self.port, timeout=120)
        connection: http.client.HTTPConnection = self._local.connection
        headers = {"Authorization": f"Bearer {self.tokens[user]}"} if user else {}
        try:
            connection.request(method, path, body, headers)
            found = connection.getresponse()
            content = found.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()  # the next request opens it again
            self._count(type(error).__name__)
            raise Refused(f"{method} {path}: {error}", 0, b"") from error
        in_vain = found.status == 503 and found.headers["Retry-After"] is None
        self._count("503 without Retry-After" if in_vain else str(found.status))
        return found.status, content

    def forget(self) -> None:
        """Close this thread's connection, and forget what the server has answered so far."""
        self._local.connection.close()  # the next request opens it again
        self.statuses.clear()

    def _count(self, answer: str) -> None:
        with self._lock:
            self.statuses[answer] += 1

    def told(self, method: str, path: str, body: bytes | None = None, user: str = "") -> Any:
        """What an answer says.

        Raises:
            Refused: it is none of the good ones.
        """
        status, content = self.ask(method, path, body, user)
        if status >= 300:
            raise Refused(f"{method} {path}", status, content)
        return json.loads(content) if content else None

    # Jobs

    def submit(
        self,
        circuit: Any,
        backend: str = "fake_manila",
        *,
        shots: int = 1024,
        user: str = "",
        session: str | None = None,
    ) -> str:
        """Submit a job of a sampler with 1024 shots; gives its id."""
        params = {"pubs": [[circuit, None, SHOTS]], "options": {}, "version": 2, "support_qiskit": True}
        job = {"program_id": "sampler", "backend": backend, "params": params, "session_id": session}
        return str(self.told("POST", "/v1/jobs", json.dumps(job, cls=RuntimeEncoder).encode(), user)["id"])

    def status(self, job: str, user: str = "") -> str:
        """The status of a job, asked for as a client does that waits for it."""
        return str(self.told("GET", f"/v1/jobs/{job}?exclude_params=true", user=user)["state"]["status"])

    def ended(self, job: str, user: str = "") -> tuple[str, float]:
        """Wait for the end of a job, as IBM's client does.

        Returns:
            Its status, and when the request was sent whose answer had it, in seconds since 1970.
        """
        while True:
            asked = time.time()
            status = self.status(job, user)
            if status not in ("Queued", "Running"):
                return status, asked
            time.sleep(PAUSE)

    def times(self, job: str, user: str = "") -> tuple[float, float, float, float]:
        """When a job was submitted, began and ended, and for how long it was simulated: seconds, the first since 1970.

        One that was cancelled before it began is said to have begun when it ended.
        """
        found = self.told("GET", f"/v1/jobs/{job}/metrics", user=user)
        times = found["timestamps"]
        created, running, finished = (
            datetime.fromisoformat(times[what] or times["finished"]).timestamp()
            for what in ("created", "running", "finished")
        )
        return created, running, finished, float(found["usage"]["quantum_seconds"])

    # Processes

    @property
    def megabytes(self) -> float:
        """Memory of the server's process."""
        return float(self.process.memory_info().rss) / 1e6

    def errors(self) -> list[str]:
        """What the server and its workers have said on their standard error."""
        return self._log.read_text().splitlines()

    @property
    def cpu(self) -> float:
        """For how many seconds the server's process has computed, without its workers."""
        times = self.process.cpu_times()
        return float(times.user + times.system)

    def workers(self) -> list[psutil.Process]:
        """The worker processes."""
        return list(self.process.children())


@contextmanager
def server(workers: int, users: Sequence[str] = ()) -> Iterator[ServerProcess]:
    """A server that is ready, and alone on its port.

    Args:
        workers: how many processes simulate.
        users: who get tokens; without any, requests need none.
    """
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        store, log = str(Path(folder) / "server.db"), Path(folder) / "server.log"
        with open_records(store) as records:
            tokens = {user: records.add_token(user) for user in users}
        command = [sys.executable, "-W", "ignore", "-c", _PROGRAM, str(port), str(workers), store]
        with log.open("w") as errors:
            process = subprocess.Popen(command, stderr=errors)
        try:
            found = ServerProcess(port, psutil.Process(process.pid), tokens, log)
            _wait_for(found)
            yield found
        finally:
            process.terminate()
            process.wait(60)


def _wait_for(found: ServerProcess) -> None:
    until = time.monotonic() + 60
    while True:
        with suppress(Refused):
            if found.ask("GET", "/readyz")[0] == 200:
                found.forget()
                return
        if time.monotonic() > until or found.process.status() == psutil.STATUS_ZOMBIE:
            raise RuntimeError(f"the server does not start: {found.errors()[-1:]}")
        time.sleep(0.1)


@cache
def small() -> QuantumCircuit:
    """A circuit that takes some milliseconds, of gates of fake_manila."""
    circuit = QuantumCircuit(2)
    circuit.sx(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


@cache
def large() -> QuantumCircuit:
    """A circuit of 20 qubits that takes some seconds."""
    circuit = quantum_volume(20, depth=60, seed=1).decompose()
    circuit.measure_all()
    return circuit
