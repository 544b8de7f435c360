"""What does it cost to record jobs in a store?

Microseconds, with circuits and results of 400 characters: for each job of batches of 100, and for calls with some jobs.
Medians over batches.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from answers import Answer, answer, seconds

from pennylane_qexec.persistence.store import Cached, Ended, NewJob, State, open_store

SIZE, BATCHES, LEASE = 100, 100, 1e6
TEXT = "RX(0.123456789) [0]; " * 20

CLAIMS = """
import sys
from pennylane_qexec.store import open_store

with open_store(sys.argv[1]) as store:
    ids = [job.id for job in store.jobs()]
    claimed = [store.claim(ids[start : start + 5], store.worker, 1e6) for start in range(0, len(ids), 5)]
    print(sum(map(len, claimed)), flush=True)
    input()
"""


def batch(number: int, size: int = SIZE) -> list[NewJob]:
    """New jobs, with keys and circuits of their own."""
    numbers = range(number * size, (number + 1) * size)
    digests = [hashlib.sha256(str(n).encode()).hexdigest() for n in numbers]
    return [NewJob(n, key, key, f"{TEXT}{n}", "lightning.qubit") for n, key in zip(numbers, digests, strict=True)]


def recording() -> Iterator[Answer]:
    """What the steps of a job's life cost, on SQLite."""
    steps: dict[str, list[float]] = {"record": [], "claim": [], "done": [], "replay": [], "cache_get": []}
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "store.db") as store:
        run, me = store.open_run("benchmark").id, store.worker
        for number in range(BATCHES):
            jobs, first = batch(number), number * SIZE + 1
            ids = list(range(first, first + SIZE))
            ended = [Ended(job, TEXT) for job in ids]
            store.cache_put([Cached(job.key, TEXT) for job in jobs], 10**9)
            keys = [job.key for job in jobs]
            steps["record"].append(seconds(lambda: store.record(run, jobs)))  # noqa: B023
            steps["claim"].append(seconds(lambda: store.claim(ids, me, LEASE)))  # noqa: B023
            steps["done"].append(seconds(lambda: store.done(ended, me)))  # noqa: B023
            steps["cache_get"].append(seconds(lambda: store.cache_get(keys)))  # noqa: B023
        for number in range(BATCHES):
            jobs = batch(number)
            steps["replay"].append(seconds(lambda: store.record(run, jobs)))  # noqa: B023
        assert len(store.refresh(ids)) == SIZE
    per_job = {name: [1e6 * one / SIZE for one in found] for name, found in steps.items()}
    both = [record + done for record, done in zip(per_job["record"], per_job["done"], strict=True)]
    yield Answer.of("record and done, SQLite", both, "us per job", at_most=100)
    for name, found in per_job.items():
        yield Answer.of(f"{name}, SQLite", found, "us per job")


def recording_for_a_worker() -> Iterator[Answer]:
    """What a durable run costs that asks for so many circuits at once: each is recorded, claimed and done."""
    for size, most, most_done in ((1, 200, 90), (10, None, None), (48, 600, 400), (100, None, None)):
        with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "store.db") as store:
            run, me = store.open_run("benchmark").id, store.worker
            recorded, done = [], []
            for number in range(BATCHES):
                jobs = batch(number, size)
                recorded.append(1e6 * seconds(lambda: store.record(run, jobs, me, LEASE)))  # noqa: B023
                ended = [Ended(job, TEXT) for job in range(number * size + 1, (number + 1) * size + 1)]
                done.append(1e6 * seconds(lambda: store.done(ended, me)))  # noqa: B023
            assert store.counts(run) == {State.DONE: size * BATCHES}
        yield Answer.of(f"record and claim in one, jobs: {size}, SQLite", recorded, "us", at_most=most)
        yield Answer.of(f"done, jobs: {size}, SQLite", done, "us", at_most=most_done)


def sending() -> Iterator[Answer]:
    """What it costs to write the id of a remote job through to the disk."""
    found = []
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "store.db") as store:
        run = store.open_run("benchmark").id
        for number in range(20):
            ids = [job.id for job in store.record(run, batch(number))]
            store.claim(ids, "me", LEASE)
            found.append(1e3 * seconds(lambda: store.sent(ids, "me", "remote")))  # noqa: B023
    yield Answer.of("sent, 100 jobs in one, SQLite", found, "ms", beside="one full write to the disk")


def opening() -> Iterator[Answer]:
    """What it costs to open a store that is there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        open_store(path).close()
        yield Answer.of("opening, SQLite", [1e3 * seconds(lambda: open_store(path).close()) for _ in range(20)], "ms")


def claiming() -> Iterator[Answer]:
    """How often jobs are claimed by processes that all want them."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        with open_store(path) as store:
            store.record(store.open_run("benchmark").id, [job for number in range(4) for job in batch(number)])
        pipe = subprocess.PIPE
        command = [sys.executable, "-c", CLAIMS, str(path)]
        processes = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(4)]
        claimed = sum(int(process.stdout.readline()) for process in processes if process.stdout)
        for process in processes:
            process.communicate("\n")
    yield Answer.of("claims of 400 jobs by 4 processes", claimed, "claims", at_least=400, at_most=400)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    answer("What it costs to record jobs in a store", recording, recording_for_a_worker, sending, opening, claiming)
