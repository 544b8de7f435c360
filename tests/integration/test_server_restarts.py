"""Servers that are killed or told to stop: no job is lost, and nothing that was recorded is computed again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests
from fakes import counting_server
from fakes.counting_server import BEFORE
from fakes.postgresql import PostgresServer
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import RuntimeDecoder, RuntimeEncoder
from requests.adapters import HTTPAdapter
from urllib3 import Retry

import pennylane_qexec as qexec
from pennylane_qexec.server.records import JobFilter, JobStatus, ServerJob, User, open_records

pytestmark = [pytest.mark.integration, pytest.mark.slow]

ROOT = User("root", admin=True)
FIRST = 101  # the shots of the first job: each has a number of its own
JOBS = 50
FINAL = ("completed", "failed", "cancelled")
UNTIL_IT_IS_THERE = Retry(total=1000, backoff_factor=0.05, backoff_jitter=0.05, backoff_max=0.1)
PUB = QuantumCircuit(1, 1)
PUB.measure(0, 0)
CIRCUIT = json.loads(json.dumps(PUB, cls=RuntimeEncoder))


def params_of(shots: int) -> dict[str, Any]:
    options = {"simulator": {"seed_simulator": shots}}  # what has a seed runs alone
    return {"pubs": [[CIRCUIT, None, shots]], "version": 2, "support_qiskit": True, "options": options}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class RunningServer:
    """A server in a process of its own; see :mod:`fakes.counting_server`."""

    def __init__(self, folder: Path, store: str, workers: int = 2, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        command = [sys.executable, "-P", counting_server.__file__, str(folder), store, str(self.port), str(workers)]
        with open(folder / "log", "ab") as log:
            self.process = subprocess.Popen(command, stderr=log)
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.session = requests.Session()
        self.session.mount("http://", HTTPAdapter(max_retries=UNTIL_IT_IS_THERE))
        self.get("backends/ideal/status")
        self.session.mount("http://", HTTPAdapter())

    def submit(self, shots: int, **more: Any) -> str:
        body = {"program_id": "sampler", "backend": "ideal", "params": params_of(shots), **more}
        answer = self.session.post(f"{self.url}/jobs", json=body, timeout=60)
        answer.raise_for_status()
        return str(answer.json()["id"])

    def change(self, method: str, path: str, **body: Any) -> Any:
        answer = self.session.request(method, f"{self.url}/{path}", json=body, timeout=60)
        answer.raise_for_status()
        return answer

    def get(self, path: str) -> Any:
        answer = self.session.get(f"{self.url}/{path}", timeout=60)
        answer.raise_for_status()
        return answer

    def status(self, job: str) -> str:
        """The status of a job."""
        return str(self.get(f"jobs/{job}?exclude_params=true").json()["state"]["status"]).lower()

    @staticmethod
    def wait_until(is_so: Callable[[], bool]) -> None:
        """Ask as IBM's client does: after such a pause, the answer comes when the job changes."""
        while not is_so():
            time.sleep(0.1)

    def wait(self, jobs: Sequence[str]) -> None:
        """Wait until jobs have ended."""
        for job in jobs:
            self.wait_until(lambda job=job: self.status(job) in FINAL)

    def wait_until_it_stands_still(self, jobs: Sequence[str]) -> None:
        """Wait until the only worker process has the first of the jobs that wait for the gate."""
        self.wait(jobs[:BEFORE])
        self.wait_until(lambda: self.status(jobs[BEFORE]) == "running")

    def wait_for(self, number: int) -> None:
        """Wait until so many jobs have ended."""
        ended = "jobs?exclude_params=true&pending=false&limit=1"
        self.wait_until(lambda: self.get(ended).json()["count"] >= number)

    def refuses(self) -> requests.Response | None:
        """Its answer to a job, if it takes none."""
        answer = self.session.post(f"{self.url}/jobs", json={}, timeout=60)
        return answer if answer.status_code == 503 else None

    def kill(self) -> None:
        """Kill it; its worker processes end by themselves."""
        workers = psutil.Process(self.process.pid).children(recursive=True)
        self.process.kill()
        self.process.wait(timeout=60)
        _, left = psutil.wait_procs(workers, timeout=30)
        assert left == []

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(timeout=60)


class Running:
    """Starts servers in one folder, and what they compute is noted there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers: list[RunningServer] = []
        self.close_gate()

    def start(self, store: str, **options: Any) -> RunningServer:
        self.servers.append(RunningServer(self.folder, store, **options))
        return self.servers[-1]

    def begun(self) -> list[int]:
        """The shots of the jobs that began, in their order."""
        return list(map(int, (self.folder / "computed").read_text().split()))

    def computed(self) -> Counter[int]:
        """How often each number of shots was computed."""
        return Counter(self.begun())

    def close_gate(self) -> None:
        """Let what comes wait."""
        os.mkfifo(self.folder / "gate")

    def open_gate(self) -> None:
        """Let go on what waits, and everything that comes later."""
        gate = os.open(self.folder / "gate", os.O_RDWR)  # which waits for nobody
        (self.folder / "gate").unlink()
        os.close(gate)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    servers = Running(tmp_path)
    yield servers
    for server in servers.servers:
        server.stop()


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


def recorded(store: str) -> dict[str, ServerJob]:
    with open_records(store) as records:
        return {job.id: job for job in records.jobs(ROOT, JobFilter(limit=10_000))[0]}


def jobs_that_run(store: str) -> list[str]:
    return [job for job, found in recorded(store).items() if found.status is JobStatus.RUNNING]


def check_results(server: RunningServer, jobs: dict[str, int]) -> None:
    """See that each job has its own result."""
    for job, shots in jobs.items():
        assert server.status(job) == "completed"
        (result,) = json.loads(server.get(f"jobs/{job}/results").text, cls=RuntimeDecoder)
        assert result.data.c.num_shots == shots


def test_a_server_that_is_killed_loses_no_job_and_computes_no_result_again(running: Running, tmp_path: Path) -> None:
    store = str(tmp_path / "server.db")
    server = running.start(store, workers=1)
    jobs = {server.submit(shots): shots for shots in range(FIRST, FIRST + JOBS)}
    last = list(jobs)[-1]
    server.wait_until_it_stands_still(list(jobs))
    more: dict[str, int] = {}
    some_are_in = threading.Event()

    def submit_until_it_is_killed() -> None:
        for shots in range(FIRST + JOBS, 10_000):
            try:
                more[server.submit(shots)] = shots
            except requests.RequestException:
                return
            if len(more) == 5:
                some_are_in.set()

    waiting_job = qexec.runtime_service(server.url.removesuffix("/v1")).job(last)
    with ThreadPoolExecutor(2) as clients:
        waiting = clients.submit(waiting_job.result)
        submitting = clients.submit(submit_until_it_is_killed)
        assert some_are_in.wait(60)
        server.kill()
        submitting.result()
        left = recorded(store)
        assert jobs.keys() | more.keys() <= left.keys()
        assert sum(job.status is JobStatus.COMPLETED for job in left.values()) == BEFORE
        (begun,) = [job for job, found in left.items() if found.status is JobStatus.RUNNING]

        running.open_gate()
        again = running.start(store, workers=1, port=server.port)
        assert waiting.result()[0].data.c.num_shots == jobs[last]
    again.wait(list(jobs | more))
    check_results(again, jobs | more)
    computed = running.computed()
    assert {computed[shots] for job, shots in (jobs | more).items() if job != begun} == {1}
    assert [job for job, found in recorded(store).items() if found.attempt == 2] == [begun]
    assert computed[jobs[begun]] <= 2


def test_a_server_that_is_told_to_stop_ends_what_runs_answers_until_then_and_leaves_the_rest(
    running: Running, tmp_path: Path
) -> None:
    store = str(tmp_path / "server.db")
    server = running.start(store, workers=1)
    jobs = {server.submit(shots): shots for shots in range(FIRST, FIRST + BEFORE + 5)}
    server.wait_until_it_stands_still(list(jobs))
    (begun,) = jobs_that_run(store)
    server.process.send_signal(signal.SIGTERM)
    while (refusal := server.refuses()) is None:
        pass
    assert (refusal.headers["Retry-After"], "the server stops" in refusal.text) == ("5", True)
    assert server.status(begun) == "running"
    running.open_gate()
    assert server.process.wait(timeout=60) == 0
    left = recorded(store)
    assert left[begun].status is JobStatus.COMPLETED
    done = {jobs[job] for job in left if left[job].status is JobStatus.COMPLETED}
    assert len(done) == BEFORE + 1
    assert running.computed() == Counter(done)
    assert {(job.status, job.attempt) for job in left.values()} == {(JobStatus.COMPLETED, 1), (JobStatus.QUEUED, 1)}


def test_two_servers_share_jobs_and_sessions_and_one_goes_on_with_the_jobs_of_the_other(
    running: Running, postgres: PostgresServer
) -> None:
    store = postgres.new_place()
    one, other = running.start(store, workers=1), running.start(store, workers=1)
    jobs = {(one, other)[shots % 2].submit(shots): shots for shots in range(FIRST, FIRST + JOBS)}
    other.wait_for(BEFORE)
    other.wait_until(lambda: len(jobs_that_run(store)) == 2)  # and stand at the gate
    begun = jobs_that_run(store)

    session = one.change("POST", "sessions", backend="ideal").json()["id"]
    of_session = other.submit(FIRST - 1, session_id=session)
    one.change("DELETE", f"sessions/{session}/close")
    assert (other.status(of_session), other.get(f"sessions/{session}").json()["state"]) == ("cancelled", "closed")
    last, _ = jobs.popitem()  # which the first one was given
    other.change("POST", f"jobs/{last}/cancel")
    assert one.status(last) == "cancelled"

    one.kill()
    running.open_gate()
    other.wait(list(jobs))
    check_results(other, jobs)
    assert running.computed().keys() == set(jobs.values())
    assert {shots for shots, times in running.computed().items() if times > 1} <= {jobs[job] for job in begun}
    assert sum(running.computed().values()) <= len(jobs) + 1
    ends = {job: found.status for job, found in recorded(store).items()}
    assert ends == dict.fromkeys(jobs, JobStatus.COMPLETED) | dict.fromkeys((last, of_session), JobStatus.CANCELLED)
