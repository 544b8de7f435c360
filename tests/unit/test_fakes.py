"""The fake QPU, with which the cluster's way with jobs at a backend is tested."""

from __future__ import annotations

import pytest

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
