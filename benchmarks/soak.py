"""Does a server lose jobs, grow, or fail after many mixed jobs, with workers killed now and then?

Usage: ``python benchmarks/soak.py [MINUTES]`` (default: 10). Users submit jobs by plain HTTP and by IBM's client, wait
for them, cancel and delete them, send what cannot be run, open sessions and close them. Every result is looked at.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise

import numpy as np
import psutil
from answers import Answer, answer
from qiskit_ibm_runtime import SamplerV2
from qiskit_ibm_runtime.utils import RuntimeDecoder
from server_process import PAUSE, Refused, ServerProcess, large, server, small

from pennylane_qexec.server.client import runtime_service

TITLE = "A server after many mixed jobs, with workers killed now and then"
USERS = ("ann", "bob", "cem", "dee")
CLIENT = "eve"
"""Who uses IBM's client."""

KILL_EVERY = 7.0
"""Seconds between two killings of a worker process."""

_OF_KILLED = ("a worker process ended with exit code -9", "a worker process ended before it was ready")
_TWICE = "at the second attempt too"  # with which a job ends whose worker was killed twice
_NO_CIRCUIT = {"__type__": "QuantumCircuit", "__value__": "bm8gY2lyY3VpdA=="}


class Soak:
    """Users of a server, and what they find.

    Args:
        asked: the server.
        until: when they stop, by a clock that never jumps.

    Attributes:
        ends: how often jobs ended how, in words.
        wrong: what should not have happened, and how often.
        late: seconds from the ends of jobs to the answers of those who waited for them.
    """

    def __init__(self, asked: ServerProcess, until: float) -> None:
        self._asked = asked
        self._until = until
        self._lock = threading.Lock()
        self._jobs: dict[str, str] = {}
        self.ends: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.late: list[float] = []

    def run(self) -> None:
        """Have all users do what they do until the end."""
        threads = [threading.Thread(target=self._user, args=(user,)) for user in USERS]
        threads += [threading.Thread(target=self._client), threading.Thread(target=self._killer)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def lost(self) -> int:
        """How many of the jobs that were submitted, and not deleted, have not ended, or are not there."""
        missing = 0
        for job, user in self._jobs.items():
            with suppress(Refused):
                missing += self._asked.ended(job, user)[0] not in ("Completed", "Failed", "Cancelled")
                continue
            missing += 1
        return missing

    @property
    def submitted(self) -> int:
        """How many jobs were submitted and not deleted."""
        return len(self._jobs)

    # Users

    def _user(self, user: str) -> None:
        draw = random.Random(user)
        kinds = [self._wait, self._several, self._cancel, self._cancel_running, self._delete, self._fail, self._session]
        while time.monotonic() < self._until:
            (kind,) = draw.choices(kinds, weights=[50, 10, 10, 2, 10, 10, 8])
            try:
                kind(user)
            except Exception as error:  # a user goes on; what happened is counted
                self._note_wrong(f"{kind.__name__.strip('_')}: {type(error).__name__} {error}"[:160])

    def _client(self) -> None:
        service = runtime_service(self._asked.url, self._asked.tokens[CLIENT])
        sampler = SamplerV2(service.backend("fake_manila"))
        while time.monotonic() < self._until:
            try:
                job = sampler.run([small()])
                self._submitted(job.job_id(), CLIENT)
                shots = job.result()[0].data.meas.num_shots
                self._note("Completed for IBM's client" if shots == 4096 else f"{shots} shots")
            except Exception as error:
                if _TWICE in str(error):
                    self._note("of them failed with two workers that were killed")
                else:
                    self._note_wrong(f"IBM's client: {type(error).__name__} {error}"[:160])
            time.sleep(PAUSE)

    def _killer(self) -> None:
        draw = random.Random(0)
        while time.monotonic() < self._until:
            time.sleep(KILL_EVERY)
            if workers := self._asked.workers():
                with suppress(psutil.NoSuchProcess):
                    draw.choice(workers).kill()
                    self._note("workers killed")

    # What users do

    def _submit(self, user: str, circuit: object, backend: str, session: str | None = None) -> str:
        job = self._asked.submit(circuit, backend, user=user, session=session)
        self._submitted(job, user)
        return job

    def _wait(self, user: str, backend: str = "fake_manila") -> str:
        job = self._submit(user, small(), backend)
        self._end(job, user, "Completed")
        return job

    def _several(self, user: str) -> None:
        for job in [self._submit(user, small(), "ideal") for _ in range(5)]:
            self._end(job, user, "Completed")

    def _cancel(self, user: str) -> None:
        job = self._submit(user, small(), "ideal")
        if self._asked.ask("POST", f"/v1/jobs/{job}/cancel", user=user)[0] == 204:
            self._end(job, user, "Cancelled", "Completed")  # that may come first
        else:
            self._end(job, user, "Completed")

    def _cancel_running(self, user: str) -> None:
        job = self._submit(user, large(), "ideal")
        until = time.monotonic() + 2.0
        while time.monotonic() < until and self._asked.status(job, user) == "Queued":
            time.sleep(PAUSE)
        if self._asked.ask("POST", f"/v1/jobs/{job}/cancel", user=user)[0] == 204:
            self._end(job, user, "Cancelled", "Completed")

    def _delete(self, user: str) -> None:
        job = self._wait(user, "ideal")
        self._asked.told("DELETE", f"/v1/jobs/{job}", user=user)
        with self._lock:
            del self._jobs[job]
        self._note("deleted")
        if self._asked.ask("GET", f"/v1/jobs/{job}", user=user)[0] != 404:
            self._note_wrong("a deleted job is there")

    def _fail(self, user: str) -> None:
        job = self._submit(user, _NO_CIRCUIT, "ideal")
        self._end(job, user, "Failed")
        status, _ = self._asked.ask("POST", "/v1/jobs", b'{"program_id": "sampler"}', user)
        if status != 422:
            self._note_wrong(f"an incomplete job: {status}")

    def _session(self, user: str) -> None:
        opened = json.dumps({"mode": "dedicated", "backend": "fake_manila"}).encode()
        session = self._asked.told("POST", "/v1/sessions", opened, user)["id"]
        jobs = [self._submit(user, small(), "fake_manila", session) for _ in range(2)]
        self._end(jobs[0], user, "Completed")
        self._asked.told("DELETE", f"/v1/sessions/{session}/close", user=user)
        self._end(jobs[1], user, "Completed", "Cancelled")

    def _end(self, job: str, user: str, *good: str) -> None:
        """Wait for the end of a job, and look at its result."""
        status, sent = self._asked.ended(job, user)
        told = time.time()
        self._note(status)
        if status not in good:
            reason = self._asked.ask("GET", f"/v1/jobs/{job}", user=user)[1].decode()
            if _TWICE in reason:
                self._note("of them failed with two workers that were killed")
            else:
                self._note_wrong(f"{status} instead of {' or '.join(good)}: {reason[:300]}")
        elif status == "Completed":
            content = self._asked.ask("GET", f"/v1/jobs/{job}/results", user=user)[1]
            shots = json.loads(content, cls=RuntimeDecoder)[0].data.meas.num_shots
            if shots != 1024:
                self._note_wrong(f"{shots} shots instead of 1024")
        finished = self._asked.times(job, user)[2]
        with self._lock:
            self.late.append(told - max(finished, sent))

    def _submitted(self, job: str, user: str) -> None:
        with self._lock:
            self._jobs[job] = user

    def _note(self, end: str) -> None:
        with self._lock:
            self.ends[end] += 1

    def _note_wrong(self, what: str) -> None:
        with self._lock:
            self.wrong[what] += 1


def soak(minutes: float) -> Iterator[Answer]:
    """What becomes of a server and its jobs."""
    with server(workers=2, users=(*USERS, CLIENT)) as asked:
        began = time.monotonic()
        users = Soak(asked, began + 60 * minutes)
        crowd = threading.Thread(target=users.run)
        crowd.start()
        sizes: list[tuple[float, float]] = []
        workers = 0.0
        while crowd.is_alive():
            crowd.join(1.0)
            sizes.append((time.monotonic() - began, asked.megabytes))
            for one in asked.workers():
                with suppress(psutil.NoSuchProcess):
                    workers = max(workers, one.memory_info().rss / 1e6)
        lost = users.lost()
        beside = ", ".join(f"{number} {what}" for what, number in sorted(users.ends.items()))
        yield Answer.of(f"jobs in {minutes:g} minutes", users.submitted, "jobs", beside=beside)
        yield Answer.of("jobs lost", lost, "jobs", at_most=0)
        for what, number in users.wrong.items():
            print(f"{number} times: {what}", file=sys.stderr)
        beside = "; ".join(f"{number} times {what}" for what, number in users.wrong.items())
        errors = [line for line in asked.errors() if not any(one in line for one in _OF_KILLED)]
        print(*errors, sep="\n", file=sys.stderr)
        yield Answer.of("what should not have happened", sum(users.wrong.values()), "times", at_most=0, beside=beside)
        bad = sum(number for said, number in asked.statuses.items() if said.startswith("5") and said != "503")
        beside = ", ".join(f"{number} times {said}" for said, number in sorted(asked.statuses.items()))
        yield Answer.of("answers 5xx, but for 503 with Retry-After", bad, "answers", at_most=0, beside=beside)
        yield Answer.of("lines in the log, but for the workers that were killed", len(errors), "lines", at_most=0)
        question = "from the end of a job to the answer, 99th percentile"
        yield Answer.of(question, 1000 * float(np.percentile(users.late, 99)), "ms", at_most=100.0)
        yield from _memory(sizes, workers, asked.process.num_fds())


def _memory(sizes: list[tuple[float, float]], workers: float, files: int) -> Iterator[Answer]:
    """How the memory of the server's process has changed: medians of six parts of the time, and of its first minute."""
    last = sizes[-1][0]
    early = [size for when, size in sizes if min(45.0, last / 8) <= when <= min(75.0, last / 4)]
    edges = np.linspace(0, last, 7)
    parts = [float(np.median([size for when, size in sizes if a <= when <= b])) for a, b in pairwise(edges)]
    beside = f"{np.median(early):.0f} MB after a minute; sixths: {', '.join(f'{part:.0f}' for part in parts)}"
    yield Answer.of("memory of the server's process at the end", parts[-1], "MB", at_most=500.0, beside=beside)
    yield Answer.of("its growth since the first minute", parts[-1] - float(np.median(early)), "MB", at_most=20.0)
    beside = f"{files} files of the server are open"
    yield Answer.of("the most memory of a worker process", workers, "MB", beside=beside)


if __name__ == "__main__":
    answer(TITLE, lambda: soak(float(sys.argv[1]) if len(sys.argv) > 1 else 10.0))
