"""However a program ends, no job is left running at a backend that nobody waits for, or it is named."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes import programs
from fakes.programs import Program

import pennylane_qexec as qexec

pytestmark = [pytest.mark.integration, pytest.mark.slow]

HEAD = """
import logging, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells let what runs in the background ignore it
import pennylane_qexec as qexec
from pennylane_qexec.engine import remote_jobs
from pennylane_qexec.job import Job
from pennylane_qexec.testing import FakeQPU, flip

def tell(what):
    sys.stdout.write(what + "\\n")
    sys.stdout.flush()

class Telling(FakeQPU):
    "A backend whose jobs never end, and that tells what it is asked."

    def __init__(self, taken=None, deaf=False):
        super().__init__("qpu", polls=None)
        self.taken, self.deaf = taken, deaf

    def submit(self, circuits):
        job_id = super().submit(circuits)
        tell(f"submitted {job_id}")
        if self.taken is not None:
            self.taken.wait()
        return job_id

    def cancel(self, job_id):
        tell(f"cancelling {job_id}")
        if self.deaf:
            threading.Event().wait()
        super().cancel(job_id)
        tell(f"cancelled {job_id}")

logging.basicConfig(format="%(message)s")
"""

LEFT = "1 jobs that nobody waits for could not be cancelled and may still run: "


@contextmanager
def running(script: str, *arguments: str) -> Iterator[Program]:
    """A program, killed at the end if it has not ended."""
    with programs.running(HEAD + script, *arguments) as program:
        yield program


WITHOUT_WITH = """
cluster = qexec.QCluster([Telling({options})])
cluster.execute([flip(0.1)])
"""

WITH = """
with qexec.QCluster([Telling({options})]) as cluster:
    cluster.execute([flip(0.1)])
"""


@pytest.mark.parametrize("script", [WITHOUT_WITH, WITH])
def test_ctrl_c_cancels_what_runs_at_a_backend(script: str) -> None:
    with running(script.format(options="")) as program:
        program.wait_for("submitted qpu-1")
        program.interrupt()
        told, errors = program.end()
    assert told == ["cancelling qpu-1", "cancelled qpu-1"]
    assert errors[-1] == "KeyboardInterrupt"
    assert program.code == -signal.SIGINT


@pytest.mark.parametrize("script", [WITHOUT_WITH, WITH])
def test_a_second_ctrl_c_ends_the_program_at_once_and_says_what_still_runs(script: str) -> None:
    with running(script.format(options="deaf=True")) as program:
        program.wait_for("submitted qpu-1")
        program.interrupt()
        program.wait_for("cancelling qpu-1")
        program.interrupt()
        told, errors = program.end()
    assert set(told) <= {"cancelling qpu-1"}  # a last attempt may be made on the way out
    assert [line for line in errors if "qpu-1" in line] == [LEFT + "'qpu-1' at 'qpu'. Cancel them at the provider."]


def test_a_job_that_is_being_submitted_when_ctrl_c_comes_is_cancelled_when_its_id_is_there() -> None:
    script = """
taken = threading.Event()
cluster = qexec.QCluster([Telling(taken)])
try:
    cluster.execute([flip(0.1)])
finally:
    taken.set()
"""
    with running(script) as program:
        program.wait_for("submitted qpu-1")
        program.interrupt()
        told, _ = program.end()
    assert told == ["cancelling qpu-1", "cancelled qpu-1"]


def test_a_job_that_is_being_submitted_for_too_long_is_named() -> None:
    script = """
remote_jobs.PATIENCE = 0.05
cluster = qexec.QCluster([Telling(threading.Event())])
cluster.execute([flip(0.1)])
"""
    with running(script) as program:
        program.wait_for("submitted qpu-1")
        program.interrupt()
        told, errors = program.end()
    assert told == []
    assert errors[-1] == LEFT + "a job that was being submitted at 'qpu'. Cancel them at the provider."


def test_ctrl_c_while_the_last_jobs_are_waited_for_cancels_them() -> None:
    script = """
class Listener(logging.Handler):
    def emit(self, record):
        if "the program ends when" in record.getMessage():
            tell("waiting")

logging.getLogger("pennylane_qexec").addHandler(Listener())
qpu = Telling()
cluster = qexec.QCluster([qpu])
cluster.submit([Job(flip(0.1), qpu)])
"""
    with running(script) as program:
        program.wait_for("submitted qpu-1")
        program.wait_for("waiting")
        program.interrupt()
        told, errors = program.end()
    assert told == ["cancelling qpu-1", "cancelled qpu-1"]
    assert errors[-1] == "interrupted while waiting for the last jobs: 1 have not ended"
    assert program.code == -signal.SIGINT


@pytest.mark.parametrize("end", ["", "sys.exit(3)"])
def test_what_was_cancelled_just_before_the_end_is_cancelled_at_its_backend(end: str) -> None:
    script = """
qpu = Telling()
cluster = qexec.QCluster([qpu])
(future,) = cluster.submit([Job(flip(0.1), qpu)])
qpu.submitted.wait()
future.cancel()
"""
    with running(script + end) as program:
        told, errors = program.end()
    assert told == ["submitted qpu-1", "cancelling qpu-1", "cancelled qpu-1"]
    assert errors == []
    assert program.code == (3 if end else 0)


def test_what_only_a_daemon_thread_waits_for_is_cancelled_at_the_end() -> None:
    script = """
qpu = Telling()
cluster = qexec.QCluster([qpu])
threading.Thread(target=cluster.execute, args=([flip(0.1)],), daemon=True).start()
qpu.submitted.wait()
"""
    with running(script) as program:
        told, errors = program.end()
    assert told == ["submitted qpu-1", "cancelling qpu-1", "cancelled qpu-1"]
    assert errors == []


def test_what_another_thread_waits_for_goes_on_when_the_main_program_has_ended() -> None:
    script = """
qpu = FakeQPU(polls=4)
cluster = qexec.QCluster([qpu])
threading.Thread(target=lambda: tell(str([float(one) for one in cluster.execute([flip(0.0)] * 2)]))).start()
"""
    with running(script) as program:
        told, errors = program.end()
    assert told == ["[1.0, 1.0]"]
    assert errors == []


def test_a_forked_process_cancels_no_jobs_of_its_parent() -> None:
    script = """
import os
qpu = Telling()
cluster = qexec.QCluster([qpu])
(future,) = cluster.submit([Job(flip(0.1), qpu)])
qpu.submitted.wait()
if not os.fork():
    sys.exit()
os.wait()
tell("the child has ended")
future.cancel()
"""
    with running(script) as program:
        told, _ = program.end()
    assert told == ["submitted qpu-1", "the child has ended", "cancelling qpu-1", "cancelled qpu-1"]


def test_after_ctrl_c_another_process_finds_the_job_cancelled_at_the_provider(tmp_path: Path) -> None:
    script = """
qpu = qexec.Rehearsal("default.qubit", queue=3600.0, folder=sys.argv[1], name="qpu")
cluster = qexec.QCluster([qpu])

def look():
    while not qpu.ledger:
        threading.Event().wait(0.01)
    tell("submitted")

threading.Thread(target=look, daemon=True).start()
cluster.execute([flip(0.1, shots=100)])
"""
    with running(script, str(tmp_path)) as program:
        program.wait_for("submitted")
        program.interrupt()
        program.end()
    (entry,) = qexec.Rehearsal("default.qubit", folder=tmp_path, name="qpu").ledger
    assert entry.state == "cancelled"
