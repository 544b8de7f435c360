"""What does a server add to the simulation of jobs, whatever else it does?

A server is started on this machine alone, and asked by plain HTTP and by IBM's client. Usage: ``python
benchmarks/server.py [PART ...]`` with the parts to run; default: all. With ``--soak MINUTES``, nothing but
``benchmarks/soak.py`` for so long.
"""

from __future__ import annotations

import argparse
import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import numpy as np
from answers import Answer, answer, seconds
from qiskit import transpile
from qiskit_ibm_runtime import SamplerV2
from qiskit_ibm_runtime.fake_provider import FakeManilaV2, FakeSherbrooke
from server_process import HOST, ServerProcess, large, server, small
from soak import TITLE, soak

from pennylane_qexec.server.client import runtime_service

WAKE_UPS, AT_ONCE = 200, 25
FRESH, SELDOM = 1.1, 0.4
"""Who asks for a job that is younger than this, or again after less than this, in seconds, is taken to wait for it."""

SMALL_JOBS, ROUNDS = 20, 5
CONNECTIONS, REQUESTS, CLIENTS = 500, 10, 10
OLD_SERVER = "Qiskit Runtime Server: 2.2 to 3.9 s"


# Wake-ups


def wake_ups() -> Iterator[Answer]:
    """How soon who waits for a job is told that it has ended, and who does not wait gets an answer."""
    with server(workers=2) as asked:
        for job in [asked.submit(small()) for _ in range(8)]:
            asked.ended(job)
        yield _wake_ups(asked, "idle otherwise")
        with _busy(asked) as running:
            yield _wake_ups(asked, "during a job of 20 qubits")
            yield _immediate(asked, running)


@contextmanager
def _busy(asked: ServerProcess) -> Iterator[list[str]]:
    """A job of 20 qubits runs all the time. Gives the ids, the last one of which is that of the job that runs."""
    over, jobs = threading.Event(), [asked.submit(large(), "ideal")]

    def keep_busy() -> None:
        while not over.wait(0.5):
            if asked.told("GET", f"/v1/jobs/{jobs[-1]}")["state"]["status"] not in ("Queued", "Running"):
                jobs.append(asked.submit(large(), "ideal"))

    keeper = threading.Thread(target=keep_busy)
    keeper.start()
    try:
        yield jobs
    finally:
        over.set()
        keeper.join()
        asked.ask("POST", f"/v1/jobs/{jobs[-1]}/cancel")


def _wake_ups(asked: ServerProcess, when: str) -> Answer:
    late = []
    for _ in range(WAKE_UPS):
        job = asked.submit(small())
        status, sent = asked.ended(job)
        told = time.time()
        assert status == "Completed"
        finished = asked.times(job)[2]
        late.append(1000 * (told - max(finished, sent)))
    question = f"from the end of a job to the answer, 99th percentile, {when}"
    beside = f"median {np.median(late):.1f} ms, of {WAKE_UPS} jobs; Qiskit Runtime Server: 37.65 s"
    return Answer.of(question, float(np.percentile(late, 99)), "ms", at_most=100.0, beside=beside)


def _immediate(asked: ServerProcess, running: list[str]) -> Answer:
    """How long answers take for which nobody has to wait, those about a job that runs among them."""
    done, job = asked.submit(small()), running[-1]
    asked.ended(done)
    created = datetime.fromisoformat(asked.told("GET", f"/v1/jobs/{job}")["created"]).timestamp()
    time.sleep(max(0.0, created + FRESH - time.time()))
    paths = [f"/v1/jobs/{job}?exclude_params=true", f"/v1/jobs/{job}", f"/v1/jobs/{job}/results"]
    paths += [f"/v1/jobs/{done}?exclude_params=true", f"/v1/jobs/{done}/results", "/v1/jobs?limit=10"]
    paths += ["/v1/backends", "/v1/backends/fake_manila/status", "/v1/instances/usage"]
    took = []
    for _ in range(AT_ONCE):
        took += [1000 * seconds(lambda path=path: asked.told("GET", path)) for path in paths]
        time.sleep(SELDOM)
    question = "from a request for which nothing waits to the answer, 99th percentile, during a job of 20 qubits"
    beside = f"median {np.median(took):.1f} ms, the longest {max(took):.0f} ms, of {len(took)} requests"
    return Answer.of(question, float(np.percentile(took, 99)), "ms", at_most=100.0, beside=beside)


# Small jobs


def small_jobs() -> Iterator[Answer]:
    """What the server adds to small jobs of IBM's client."""
    for local, repetitions in ((FakeManilaV2(), SMALL_JOBS), (FakeSherbrooke(), 1)):
        with server(workers=1) as asked:
            yield from _small_jobs(asked, local, repetitions)


def _small_jobs(asked: ServerProcess, local: Any, repetitions: int) -> Iterator[Answer]:
    """Of one backend; in local testing mode, which is given, so many jobs are run."""
    backend = runtime_service(asked.url, "local").backend(local.name)
    circuit = transpile(small(), backend)
    peer = SamplerV2(local)
    if repetitions > 1:
        peer.run([circuit]).result()
    in_local_mode = seconds(lambda: [peer.run([circuit]).result() for _ in range(repetitions)]) / repetitions
    sampler = SamplerV2(backend)

    def one_by_one() -> list[_Timed]:
        return [_timed(asked, sampler, circuit) for _ in range(SMALL_JOBS)]

    def together() -> None:
        for job in [sampler.run([circuit]) for _ in range(SMALL_JOBS)]:
            job.result()

    first = _timed(asked, sampler, circuit)
    one_by_one()
    cpu = -time.process_time(), -asked.cpu
    rounds = [one_by_one() for _ in range(ROUNDS)]
    own, servers = cpu[0] + time.process_time(), cpu[1] + asked.cpu
    jobs, each = [job for jobs in rounds for job in jobs], 1000 / (ROUNDS * SMALL_JOBS)
    question = f"{SMALL_JOBS} small jobs at {local.name}, one after another, above"
    beside = f"each: {_parts(jobs)}; CPU of the client {own * each:.0f} ms, of the server {servers * each:.0f} ms"
    above = [sum(job.total - job.simulated for job in jobs) for jobs in rounds]
    yield Answer.of(f"{question} their simulation", above, "s", at_most=0.6, beside=beside)
    above = [sum(job.total for job in jobs) - SMALL_JOBS * in_local_mode for jobs in rounds]
    beside = f"in local testing mode, each: {1000 * in_local_mode:.0f} ms; {OLD_SERVER} above their simulation"
    yield Answer.of(f"{question} local testing mode", above, "s", at_most=0.6, beside=beside)
    beside = f"of which {first.simulated:.2f} s its simulation, with the noise model of the backend to make"
    yield Answer.of(f"the first job at {local.name}", first.total, "s", beside=beside)
    took = [seconds(together) for _ in range(ROUNDS)]
    yield Answer.of(f"{SMALL_JOBS} small jobs at {local.name}, submitted together, in all", took, "s")


class _Timed:
    """A job, in seconds.

    Attributes:
        parts: of its time: its submission, what it waited, its way to the worker and back, from its end to its result.
        simulated: for how long it was simulated.
        total: from the call of the sampler to its result.
    """

    def __init__(self, asked: ServerProcess, job: str, times: tuple[float, float, float]) -> None:
        _, running, finished, self.simulated = asked.times(job)
        called, submitted, done = times
        self.total = done - called
        self.parts = [submitted - called, running - submitted, finished - running - self.simulated, done - finished]


def _timed(asked: ServerProcess, sampler: SamplerV2, circuit: Any) -> _Timed:
    called = time.time()
    job = sampler.run([circuit])
    submitted = time.time()
    job.result()
    return _Timed(asked, job.job_id(), (called, submitted, time.time()))


def _parts(jobs: list[_Timed]) -> str:
    said = ("submitted", "begun", "to the worker and back", "told and fetched")
    medians = 1000 * np.median([job.parts for job in jobs], axis=0)
    simulated = 1000 * np.median([job.simulated for job in jobs])
    return ", ".join(f"{what} {one:.1f} ms" for what, one in zip(said, medians, strict=True)) + (
        f", simulated {simulated:.1f} ms"
    )


# Many at once


def crowds() -> Iterator[Answer]:
    """Many connections and some clients of IBM's at once."""
    with server(workers=2) as asked, ThreadPoolExecutor(CLIENTS) as threads:
        job = asked.submit(small())
        asked.ended(job)
        services = [runtime_service(asked.url, "local") for _ in range(CLIENTS)]
        clients = [threads.submit(_client, service) for service in services]
        statuses, latencies, most = asyncio.run(_connections(asked, job))
        results = sum(client.result(timeout=300) for client in clients)
        beside = f"{sum(statuses.values())} requests, {results} results of {CLIENTS} clients of IBM's"
        bad = sum(number for status, number in statuses.items() if status >= 500)
        question = f"5xx without Retry-After, over {CONNECTIONS} connections"
        yield Answer.of(question, bad, "answers", at_most=0, beside=beside)
        failed = sum(number for status, number in statuses.items() if status <= 0)
        beside = f"{statuses[-503]} of them 503 with Retry-After"
        yield Answer.of("requests to be sent again, or whose connection broke", failed, "requests", beside=beside)
        yield Answer.of("from request to answer meanwhile", [1000 * one for one in latencies], "ms")
        yield Answer.of("the most memory of the server's process", max(most, asked.megabytes), "MB", at_most=500.0)


def _client(service: Any) -> int:
    """How many results a client of IBM's gets for five jobs."""
    sampler = SamplerV2(service.backend("fake_manila"))
    jobs = [sampler.run([small()]) for _ in range(5)]
    return sum(job.result()[0].data.meas.num_shots > 0 for job in jobs)


async def _connections(asked: ServerProcess, job: str) -> tuple[Counter[int], list[float], float]:
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
    """The status of the answer to a request; -503 if it says when to come again, 0 if there is none."""
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 120)).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        await reader.readexactly(int(headers.get("content-length", 0)))
        status = int(head.split()[1])
        return -status if status == 503 and "retry-after" in headers else status
    except (OSError, EOFError, TimeoutError):
        return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--soak", type=float, metavar="MINUTES", help="let jobs come for so long")
    parser.add_argument("parts", nargs="*", help="wake_ups, small_jobs or crowds; default: all")
    wanted = parser.parse_args()
    if wanted.soak:
        answer(TITLE, lambda: soak(wanted.soak))
    else:
        parts = {"wake_ups": wake_ups, "small_jobs": small_jobs, "crowds": crowds}
        answer(
            "What a server adds to the simulation of jobs",
            *[part for name, part in parts.items() if not wanted.parts or name in wanted.parts],
        )
