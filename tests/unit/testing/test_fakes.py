"""Fakes do what they stand for: the fake QPU, with which jobs at a backend are tested, and programs that are forked."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from fakes import programs

from pennylane_qexec import JobState
from pennylane_qexec.testing import FakeQPU, flip


def test_a_submission_whose_answer_is_lost_has_made_a_job_all_the_same() -> None:
    qpu = FakeQPU(unheard=1)
    with pytest.raises(ConnectionError):
        qpu.submit_labelled([flip(0.1)], "label")
    assert qpu.find("label") == "fake-qpu-1"
    assert qpu.submit([flip(0.2)]) == "fake-qpu-2"


def test_another_executor_has_the_jobs_of_the_first() -> None:
    qpu = FakeQPU(polls=1)
    job_id = qpu.submit_labelled([flip(0.0)], "label")
    other = qpu.another()
    other.adopt(job_id, [flip(0.0)])
    assert (other.find("label"), other.poll(job_id), other.fetch(job_id)) == (job_id, JobState.DONE, [1])
    assert qpu.adopted == [job_id]


@pytest.mark.parametrize("ends", [JobState.FAILED, JobState.DONE])
def test_a_job_that_was_cancelled_or_has_failed_is_not_found(ends: JobState) -> None:
    qpu = FakeQPU(polls=1, ends=ends)
    first, second = (qpu.submit_labelled([flip(0.0)], "label") for _ in range(2))
    qpu.cancel(first)
    qpu.poll(second)
    assert qpu.find("label") == (second if ends is JobState.DONE else None)


@pytest.mark.slow
def test_a_program_that_is_forked_is_like_any_other(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "print(__name__, sys.argv, os.environ['COLOUR'], os.getcwd(), os.getsid(0) == os.getpid(), sys.stdin.read())\n"
        "import atexit\n"
        "atexit.register(print, 'the end')\n"
        "sys.exit('wrong')\n"
    )
    done = programs.run(script, "one", environment={"COLOUR": "red"}, folder=str(tmp_path))
    assert done.stdout.splitlines() == [f"__main__ ['-c', 'one'] red {tmp_path} True ", "the end"]
    assert (done.returncode, done.stderr) == (1, "wrong\n")


@pytest.mark.slow
def test_programs_that_are_forked_run_side_by_side_and_draw_other_numbers() -> None:
    script = "import numpy as np, random; print(np.random.rand(), random.random(), flush=True); input()"
    with programs.running(script) as one, programs.running(script) as other:
        assert not set(one.line().split()) & set(other.line().split())
        one.kill_alone()
        one.end()
    assert (one.code, other.code) == (-signal.SIGKILL, -signal.SIGKILL)
