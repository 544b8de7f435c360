"""What does a server add to the simulation of jobs, whatever else it does?

A server is started on this machine alone, with two worker processes, and asked by plain HTTP and by IBM's client. With
``--soak SECONDS``, jobs of several users come for so long (600 s is the usual), and what the server needs is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import http.client
import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any

import numpy as np
import psutil
from answers import Answer, answer, seconds
from qiskit import QuantumCircuit
from qiskit.circuit.library import quantum_volume
from qiskit_ibm_runtime import SamplerV2
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from qiskit_ibm_runtime.utils import RuntimeEncoder

from pennylane_qexec.server.client import runtime_service

HOST = "127.0.0.1"
WORKERS = 2
WAKE_UPS, SMALL_JOBS, ROUNDS = 200, 20, 5
CONNECTIONS, REQUESTS, CLIENTS = 500, 10, 10
SEED_SERVER = "the server of the prototype: 2.2 to 3.9 s"
PROGRAM = """
import sys
from pennylane_qexec.server.app import serve
from pennylane_qexec.server.settings import load_settings
serve(load_settings(port=int(sys.argv[1]), workers=int(sys.argv[2]), store="server.db", log_level="ERROR"))
"""


class Server:
    """A server in a process of its own, and what is asked of it by plain HTTP.

    Attributes:
        port: that it listens at.
        process: its process; workers are others.
    """

    def __init__(self, port: int, process: psutil.Process) -> None:
        self.port = port
        self.process = process
        self._local = threading.local()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """The status and the body of an answer, over this thread's connection."""
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection(HOST, self.port, timeout=120)
        connection: http.client.HTTPConnection = self._local.connection
        connection.request(method, path, body)
        found = connection.getresponse()
        return found.status, found.read()

    def told(self, method: str, path: str, body: bytes | None = None) -> Any:
        """What an answer says, which has to be a good one."""
        status, content = self.ask(method, path, body)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {content[:300]!r}")
        return json.loads(content) if content else None

    def submit(self, circuit: QuantumCircuit, backend: str = "fake_manila", shots: int = 1024) -> str:
        params = {"pubs": [[circuit, None, shots]], "options": {}, "version": 2, "support_qiskit": True}
        job = {"program_id": "sampler", "backend": backend, "params": params}
        return str(self.told("POST", "/v1/jobs", json.dumps(job, cls=RuntimeEncoder).encode())["id"])

    def ended(self, job: str) -> str:
        """Wait for the end of a job, as IBM's client does; returns its status."""
        while True:
            status = self.told("GET", f"/v1/jobs/{job}?exclude_params=true")["state"]["status"]
            if status not in ("Queued", "Running"):
                return str(status)

    def finished(self, job: str) -> float:
        """When a job ended, in seconds since 1970."""
        metrics = self.told("GET", f"/v1/jobs/{job}/metrics")
        return datetime.fromisoformat(metrics["timestamps"]["finished"]).timestamp()

    def simulated(self, job: str) -> float:
        """For how many seconds a job was simulated."""
        return float(self.told("GET", f"/v1/jobs/{job}/metrics")["usage"]["quantum_seconds"])

    @property
    def megabytes(self) -> float:
        """Memory of the server's process."""
        return float(self.process.memory_info().rss) / 1e6


@contextmanager
def server(workers: int = WORKERS) -> Iterator[Server]:
    """A server whose worker processes have run a job each."""
    with socket.socket() as free:
        free.bind((HOST, 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(port), str(workers)], cwd=folder)
        try:
            found = Server(port, psutil.Process(process.pid))
            until = time.monotonic() + 60
            while True:
                with suppress(OSError), socket.create_connection((HOST, port)):
                    break
                assert time.monotonic() < until, "the server does not start"
                time.sleep(0.1)
            found.told("GET", "/readyz")
            for job in [found.submit(small()) for _ in range(4 * workers)]:
                assert found.ended(job) == "Completed"
            yield found
        finally:
            process.terminate()
            process.wait(60)


@functools.cache
def small() -> QuantumCircuit:
    """A circuit that takes some milliseconds, of gates of fake_manila."""
    circuit = QuantumCircuit(2)
    circuit.sx(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


@functools.cache
def large() -> QuantumCircuit:
    """A circuit of 20 qubits that takes some seconds."""
    circuit = quantum_volume(20, depth=60, seed=1).decompose()
    circuit.measure_all()
    return circuit


# Wake-ups


def wake_ups() -> Iterator[Answer]:
    """How soon who waits for a job is told that it has ended."""
    with server() as asked:
        yield _wake_ups(asked, "idle otherwise")
        over = threading.Event()
        crowd = threading.Thread(target=_keep_busy, args=(asked, over))
        crowd.start()
        try:
            yield _wake_ups(asked, "during a job of 20 qubits")
        finally:
            over.set()
            crowd.join()


def _keep_busy(asked: Server, over: threading.Event) -> None:
    """Have a job of 20 qubits run as long as this is not over."""
    while not over.is_set():
        job = asked.submit(large(), "ideal")
        while not over.is_set() and asked.told("GET", f"/v1/jobs/{job}")["state"]["status"] in ("Queued", "Running"):
            over.wait(0.5)
        if over.is_set():
            asked.ask("POST", f"/v1/jobs/{job}/cancel")


def _wake_ups(asked: Server, when: str) -> Answer:
    late = []
    for _ in range(WAKE_UPS):
        job = asked.submit(small())
        assert asked.ended(job) == "Completed"
        told = time.time()
        late.append(1000 * (told - asked.finished(job)))
    question = f"from the end of a job to the answer, of 100 the second slowest, {when}"
    beside = f"median {np.median(late):.1f} ms, of {WAKE_UPS} jobs; the server of the prototype: 37.65 s"
    return Answer.of(question, float(np.percentile(late, 99)), "ms", at_most=100.0, beside=beside)


# Small jobs


def small_jobs() -> Iterator[Answer]:
    """What the server adds to small jobs of IBM's client."""
    with server() as asked:
        service = runtime_service(asked.url, "local")
        backend = service.backend("fake_manila")
        sampler, circuit = SamplerV2(backend), small()

        def one_by_one() -> list[Any]:
            jobs = []
            for _ in range(SMALL_JOBS):
                jobs.append(sampler.run([circuit]))
                jobs[-1].result()
            return jobs

        def together() -> list[Any]:
            jobs = [sampler.run([circuit]) for _ in range(SMALL_JOBS)]
            for job in jobs:
                job.result()
            return jobs

        for how, run in {"one after another": one_by_one, "submitted together": together}.items():
            run()
            added = []
            for _ in range(ROUNDS):
                jobs: list[Any] = []
                took = seconds(lambda run=run, jobs=jobs: jobs.extend(run()))
                added.append(took - sum(asked.simulated(job.job_id()) for job in jobs))
            question = f"{SMALL_JOBS} small jobs, {how}, above their simulation"
            yield Answer.of(question, added, "s", at_most=0.6, beside=SEED_SERVER)
        local = SamplerV2(FakeManilaV2())
        peer = [seconds(lambda: [local.run([circuit]).result() for _ in range(SMALL_JOBS)]) for _ in range(2)][1]
        yield Answer.of("the same in local testing mode, all of it", peer, "s")


# Many at once


def crowds() -> Iterator[Answer]:
    """Many connections and some clients of IBM's at once."""
    with server() as asked, ThreadPoolExecutor(CLIENTS) as threads:
        job = asked.submit(small())
        asked.ended(job)
        services = [runtime_service(asked.url, "local") for _ in range(CLIENTS)]
        clients = [threads.submit(_client, service) for service in services]
        statuses, latencies, most = asyncio.run(_connections(asked, job))
        results = sum(client.result(timeout=300) for client in clients)
        beside = f"{sum(statuses.values())} requests, {results} results of {CLIENTS} clients"
        bad = sum(number for status, number in statuses.items() if status >= 500 and status != 503)
        yield Answer.of(f"5xx other than 503 over {CONNECTIONS} connections", bad, "answers", at_most=0, beside=beside)
        failed = sum(number for status, number in statuses.items() if status in (0, 503))
        yield Answer.of("answers 503, and connections that broke", failed, "answers")
        yield Answer.of("from request to answer meanwhile", [1000 * one for one in latencies], "ms")
        yield Answer.of("the most memory of the server's process", max(most, asked.megabytes), "MB", at_most=500.0)


def _client(service: Any) -> int:
    """How many results a client of IBM's gets for five jobs."""
    sampler = SamplerV2(service.backend("fake_manila"))
    jobs = [sampler.run([small()]) for _ in range(5)]
    return sum(job.result()[0].data.meas.num_shots > 0 for job in jobs)


async def _connections(asked: Server, job: str) -> tuple[Counter[int], list[float], float]:
    """Statuses and latencies of many connections that ask at the same time; and the most memory, in megabytes."""
    statuses: Counter[int] = Counter()
    latencies: list[float] = []
    paths = [f"/v1/jobs/{job}?exclude_params=true", f"/v1/jobs/{job}/results", "/v1/backends/fake_manila/status"]
    paths += ["/v1/instances/usage", "/v1/backends", "/v1/jobs?limit=10"]
    opened = asyncio.Barrier(CONNECTIONS)

    async def connection(number: int) -> None:
        try:
            reader, writer = await asyncio.open_connection(HOST, asked.port)
        except OSError:
            statuses[0] += REQUESTS
            await opened.wait()
            return
        await opened.wait()
        for request in range(REQUESTS):
            began = time.perf_counter()
            status = await _status(reader, writer, paths[(number + request) % len(paths)])
            latencies.append(time.perf_counter() - began)
            statuses[status] += 1
            if status == 0:
                break
        writer.close()

    most = asked.megabytes
    everything = asyncio.gather(*[connection(number) for number in range(CONNECTIONS)])
    while not everything.done():
        await asyncio.wait([everything], timeout=0.2)
        most = max(most, asked.megabytes)
    await everything
    return statuses, latencies, most


async def _status(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> int:
    """The status of the answer to a request; 0 if there is none."""
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 120)).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        await reader.readexactly(int(headers.get("content-length", 0)))
        return int(head.split()[1])
    except (OSError, EOFError, TimeoutError):
        return 0


# For long


def soak(duration: float) -> Iterator[Answer]:
    """What a server needs after a while."""
    with server() as asked:
        began, until = asked.megabytes, time.monotonic() + duration
        counts: Counter[str] = Counter()
        threads = [threading.Thread(target=_user, args=(asked, number, until, counts)) for number in range(4)]
        for thread in threads:
            thread.start()
        sizes = []
        while time.monotonic() < until:
            time.sleep(min(1.0, duration / 10))
            sizes.append(asked.megabytes)
        for thread in threads:
            thread.join()
        workers = [child.memory_info().rss / 1e6 for child in asked.process.children()]
        files = asked.process.num_fds()
        good, beside = counts.pop("Completed", 0), ", ".join(f"{number} {what}" for what, number in counts.items())
        yield Answer.of(f"jobs in {duration:.0f} s", good, "jobs", at_least=1, beside=beside)
        bad = sum(number for what, number in counts.items() if what != "Cancelled")
        yield Answer.of("jobs that did not end as they should", bad, "jobs", at_most=0)
        last = float(np.median(sizes[-len(sizes) // 5 :]))
        yield Answer.of(
            "memory of the server's process at the end", last, "MB", at_most=500.0, beside=f"{began:.0f} at first"
        )
        early = float(np.median(sizes[len(sizes) // 5 : 2 * len(sizes) // 5]))
        yield Answer.of("its growth in the last three fifths", last - early, "MB", at_most=50.0)
        yield Answer.of(
            "memory of a worker process at the end", workers, "MB", beside=f"{files} files of the server are open"
        )


def _user(asked: Server, number: int, until: float, counts: Counter[str]) -> None:
    """A user of whose jobs some are large, and some are cancelled."""
    draw = np.random.default_rng(number)
    while time.monotonic() < until:
        kind = draw.random()
        try:
            if kind < 0.02:
                job = asked.submit(large(), "ideal")
                asked.told("POST", f"/v1/jobs/{job}/cancel")
            elif kind < 0.5:
                job = asked.submit(small(), "ideal")
            else:
                job = asked.submit(small())
            counts[asked.ended(job)] += 1
            if kind < 0.9:
                asked.told("GET", f"/v1/jobs/{job}/results") if kind >= 0.02 else None
        except RuntimeError as error:
            counts[str(error)[:80]] += 1


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="let jobs come for so long, at most an hour")
    parser.add_argument("parts", nargs="*", help="wake_ups, small_jobs or crowds; default: all")
    wanted = parser.parse_args()
    if wanted.soak:
        answer("A server for long", lambda: soak(min(wanted.soak, 3600.0)))
    else:
        parts = {"wake_ups": wake_ups, "small_jobs": small_jobs, "crowds": crowds}
        answer("A server", *[part for name, part in parts.items() if not wanted.parts or name in wanted.parts])
