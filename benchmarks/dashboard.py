"""How long do pages of the dashboard take with 10,000 circuits in the store, and how soon does a change show on them?

The pages are served by a process of their own. A change is recorded here; it shows when the server's event has come and
the rows that a browser then asks for have it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from answers import Answer, answer

from pennylane_qexec.persistence.store import Ended, NewJob, Store, open_store

_PROGRAM = "from pennylane_qexec.cli import app; app()"
CIRCUITS, PAGES, CHANGES, FORKS = 10_000, 20, 20, 5
PATHS = ("/circuits", "/circuits?state=failed", "/circuits?text=d9999", "/runs", "/runs/1", "/", "/timeline?span=day")


def record(store: Store) -> int:
    """A run of so many circuits, all done."""
    run = store.open_run("vqe").id
    new = [NewJob(n, f"k{n}", f"d{n}", "c" * 300, f"backend{n % 6}", "qpu", 1000) for n in range(CIRCUITS)]
    ids = [job.id for job in store.record(run, new, "me", 60.0)]
    now = time.time()
    store.done([Ended(job, "r" * 100, started=now - 1, finished=now, seconds=0.01) for job in ids], "me")
    return run


@contextmanager
def served(path: str) -> Iterator[str]:
    """A dashboard of a store; gives its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-c", _PROGRAM, "dashboard", "--store", path, "--port", str(port)]
    with subprocess.Popen(command, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{port}/dashboard"
        while process.poll() is None:
            try:
                read(f"{url}/runs")
                break
            except OSError:
                time.sleep(0.1)
        try:
            yield url
        finally:
            process.terminate()


def read(url: str, target: str = "") -> str:
    """What is at an address."""
    request = urllib.request.Request(url, headers={"HX-Target": target} if target else {})
    with urllib.request.urlopen(request, timeout=60) as found:
        return str(found.read().decode())


def pages(url: str) -> Iterator[Answer]:
    """Every page, as a whole."""
    for path in PATHS:
        times = []
        for _ in range(PAGES):
            start = time.perf_counter()
            read(f"{url}{path}")
            times.append(1000 * (time.perf_counter() - start))
        yield Answer.of(f"page {path}, {CIRCUITS:,} circuits", times, "ms", at_most=300)


def changes(url: str, store: Store, run: int) -> Iterator[Answer]:
    """From a change to the rows that show it."""
    times = []
    with urllib.request.urlopen(f"{url}/events", timeout=60) as events:
        for number in range(CHANGES):
            time.sleep(0.7 * (number % 3) / 3)  # not in step with the server's looks
            (new,) = store.record(run, [NewJob(CIRCUITS + number, "k", f"new{number}", "c")])
            start = time.perf_counter()
            while True:
                while not events.readline().startswith(b"event: circuits"):
                    continue
                if f'id="circuit-{new.id}"' in read(f"{url}/circuits", "circuits"):
                    break
            times.append(time.perf_counter() - start)
    yield Answer.of("from a change to the event and the rows that show it", times, "s", at_most=1)


def forks(store: Store) -> Iterator[Answer]:
    """Forking a run with all of its circuits."""
    times = []
    for number in range(FORKS):
        start = time.perf_counter()
        store.fork_run("vqe", f"fork {number}", CIRCUITS)
        times.append(time.perf_counter() - start)
    yield Answer.of(f"a fork of {CIRCUITS:,} circuits", times, "s", at_most=1)


def main() -> Iterator[Answer]:
    """All figures."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "qexec.db")
        with open_store(path) as store:
            run = record(store)
            with served(path) as url:
                yield from pages(url)
                yield from changes(url, store, run)
            yield from forks(store)


if __name__ == "__main__":
    answer("What the dashboard takes with 10,000 circuits in its store", main)
