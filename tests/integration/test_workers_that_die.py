"""Worker processes that die, are killed, or have to be."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.engine.worker import BOOTSTRAP, READY
from pennylane_qexec.job import Job, Result, Work
from pennylane_qexec.testing import flip
from tests.fakes import programs

pytestmark = [pytest.mark.integration, pytest.mark.slow]

AT_ONCE = qexec.retries.backoff(attempts=3, initial=0)


def test_a_worker_that_replaces_another_does_not_repeat_its_random_numbers(open_cluster: Any) -> None:
    class Seeded(qexec.DeviceExecutor):
        def perform(self, work: Work) -> Sequence[Result]:
            return [(os.getpid(), np.asarray(sample).tobytes()) for sample in super().perform(work)]

        def check_results(self, work: Work, results: Sequence[Result]) -> None:
            """They are for this test alone."""

    executor = Seeded("default.qubit", seed=42, parallel="process", max_circuits=1)
    cluster = open_cluster([executor], retry=AT_ONCE)
    random_bits = QuantumScript([qml.H(wire) for wire in range(6)], [qml.sample(wires=range(6))], shots=10)
    work = [Job(random_bits, executor)] * 8
    before = [outcome.result for outcome in cluster.run(work)]
    for pid in {pid for pid, _ in before}:
        os.kill(pid, signal.SIGKILL)
    after = [outcome.result for outcome in cluster.run(work)]
    assert len({sample for _, sample in before + after}) == 16


def test_a_circuit_whose_worker_is_killed_runs_in_another_one(open_cluster: Any, tmp_path: Path) -> None:
    class DiesOnce(qexec.Executor):
        def __init__(self, marker: str) -> None:
            super().__init__("dies-once", parallel="process")
            self.marker = marker

        def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
            if not os.path.exists(self.marker):
                with open(self.marker, "w") as file:
                    file.write(str(os.getpid()))
                os.kill(os.getpid(), signal.SIGKILL)
            return [os.getpid()] * len(circuits)

    marker = tmp_path / "died"
    executor = DiesOnce(str(marker))
    cluster = open_cluster([executor], retry=AT_ONCE)
    (outcome,) = cluster.run([Job(flip(0.1), executor)])
    assert outcome.attempt == 2
    assert outcome.result != int(marker.read_text())


def test_a_worker_that_always_dies_is_an_error_that_says_so(open_cluster: Any) -> None:
    class Dies(qexec.Executor):
        def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
            os._exit(3)

    cluster = open_cluster([Dies(parallel="process")], retry=qexec.retries.never())
    with pytest.raises(qexec.ExecutorError, match="ended with exit code 3 in the middle of a batch") as raised:
        cluster.execute([flip(0.1)])
    assert isinstance(raised.value.cause, qexec.WorkerDiedError)


class HoldsPipe(qexec.Executor):
    """Hangs with one end of a pipe in its hand, which is closed when its process ends."""

    def __init__(self, pipe: Path) -> None:
        super().__init__("holds-pipe", parallel="process")
        self.pipe = str(pipe)

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        with open(self.pipe, "w") as file:
            print("here", file=file, flush=True)
            signal.pause()
        return []


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


def test_cancelling_kills_the_worker(open_cluster: Any, pipe: Path) -> None:
    executor = HoldsPipe(pipe)
    (future,) = open_cluster([executor]).submit([Job(flip(0.1), executor)])
    with pipe.open() as file:
        assert file.readline() == "here\n"
        assert future.cancel()
        assert file.read() == ""  # returns when the worker is gone


def test_closing_kills_the_workers_that_are_busy(open_cluster: Any, pipe: Path) -> None:
    executor = HoldsPipe(pipe)
    cluster = open_cluster([executor])
    cluster.submit([Job(flip(0.1), executor)])
    with pipe.open() as file:
        assert file.readline() == "here\n"
        cluster.close()
        assert file.read() == ""


def test_a_timeout_kills_the_worker(open_cluster: Any, pipe: Path) -> None:
    open_cluster([{"type": "default.qubit", "parallel": "process"}]).execute([flip(0.1)])
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(qexec.JobTimeoutError):
            open_cluster([HoldsPipe(pipe)], timeout=1.0).execute([flip(0.1)])
        os.set_blocking(reading, True)
        while os.read(reading, 100):  # ends when the worker is gone
            pass
    finally:
        os.close(reading)


COMPUTES_FOR_LONG = """
import ctypes, sys, threading
import pennylane_qexec as qexec
from pennylane_qexec.testing import flip

class Long(qexec.Executor):
    def run(self, circuits):
        print("here", flush=True)  # a worker's output goes to standard error
        if sys.argv[1] == "native code":
            ctypes.PyDLL(None).sleep(1000)  # with Python's lock, as Aer
        threading.Event().wait()

qexec.QCluster([Long(parallel="process")]).execute([flip(0.1)])
"""


@pytest.mark.parametrize(
    "what",
    [
        pytest.param("native code", marks=pytest.mark.skipif(sys.platform != "linux", reason="only Linux sees to it")),
        "Python",
    ],
)
def test_a_worker_that_computes_ends_silently_with_a_killed_program(what: str) -> None:
    with programs.running(COMPUTES_FOR_LONG, what) as program:
        program.wait_for_error("here")
        program.kill_alone()
        killed = time.monotonic()
        assert program.end() == ([], [])  # returns when the worker, which has the same standard error, has ended
        assert time.monotonic() - killed < programs.PATIENCE / 2  # after which it would have been killed


class Waits(qexec.Executor):
    """Says that it runs, and runs for ever."""

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        print("here", flush=True)
        signal.pause()
        return []


@pytest.fixture
def worker() -> Any:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", BOOTSTRAP, str(os.getpid())]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        yield process
        process.kill()


def test_a_worker_ends_when_its_pipe_closes_in_the_middle_of_a_batch(worker: Any) -> None:
    pickle.dump((0, sys.path), worker.stdin)
    work = Work((flip(0.1),))
    pickle.dump(("key", pickle.dumps(Waits()), pickle.dumps(work)), worker.stdin)
    worker.stdin.flush()
    assert pickle.load(worker.stdout) == READY
    assert worker.stderr.readline() == b"here\n"
    assert worker.communicate(timeout=programs.PATIENCE) == (b"", b"")
    assert worker.returncode == 0


def test_a_worker_whose_parent_has_gone_before_it_was_ready_says_nothing(worker: Any) -> None:
    assert worker.communicate(timeout=programs.PATIENCE) == (b"", b"")
    assert worker.returncode == 0


def test_a_worker_to_which_nobody_listens_ends_silently(worker: Any) -> None:
    worker.stdout.close()
    pickle.dump((0, sys.path), worker.stdin)
    worker.stdin.flush()
    assert worker.wait(programs.PATIENCE) == 0
    assert worker.stderr.read() == b""
