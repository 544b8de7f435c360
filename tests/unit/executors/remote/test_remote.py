"""What executors of all vendors have in common: several jobs as one, errors, cancellation, adoption, labels."""

from __future__ import annotations

import logging

import pennylane as qml
import pytest
from fakes.vendor import FakeVendorExecutor, Vendor
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec import JobState
from pennylane_qexec.testing import flip

QUEUED, RUNNING, DONE, FAILED = JobState.WAITING, JobState.RUNNING, JobState.DONE, JobState.FAILED


def three(*shots: int) -> list[QuantumScript]:
    return [flip(0.0, one) for one in shots or (5, 5, 5)]


# -- several jobs as one


def test_several_jobs_have_one_id_and_are_done_when_all_are() -> None:
    vendor = Vendor(states=(QUEUED, RUNNING, DONE), room=1)
    executor = FakeVendorExecutor(vendor)
    job_id = executor.submit(three())
    assert job_id == "v-1+v-2+v-3"
    assert [executor.poll(job_id) for _ in range(7)] == [QUEUED, *[RUNNING] * 5, DONE]
    assert executor.fetch(job_id) == [1, 1, 1]


def test_a_job_that_has_ended_is_not_asked_any_more() -> None:
    vendor = Vendor(states=(QUEUED, DONE), room=1)
    executor = FakeVendorExecutor(vendor)
    job_id = executor.submit(three())
    while not executor.poll(job_id).final:
        pass
    executor.fetch(job_id)
    assert [job.asked for job in vendor.jobs.values()] == [2, 2, 2]


def test_results_come_in_the_order_of_the_circuits_whatever_is_sent_together() -> None:
    executor = FakeVendorExecutor(Vendor(room=2))
    angles_and_shots = [(0.0, 5), (3.141592653589793, 7), (3.141592653589793, 5), (0.0, 7), (0.0, 5)]
    results = executor.run([flip(angle, shots) for angle, shots in angles_and_shots])
    assert [round(float(result)) for result in results] == [1, -1, -1, 1, 1]


def test_a_structure_is_converted_once_whatever_its_shots() -> None:
    executor = FakeVendorExecutor(Vendor())
    made = []
    convert = executor.program
    executor.program = lambda template: (made.append(template), convert(template))[1]  # type: ignore[method-assign]
    executor.run([flip(0.1, 5), flip(0.2, 7)])
    executor.run([flip(0.3, 9)])
    assert len(made) == 1


def test_nothing_is_looked_up_before_the_first_job() -> None:
    vendor = Vendor()
    executor = FakeVendorExecutor(vendor)
    assert (executor.status(), executor.rejects(flip(0.1, 5)), vendor.looked_up) == (qexec.Status(), None, 0)
    executor.run(three())
    executor.run(three())
    assert (executor.status().queue_length, vendor.looked_up) == (2, 1)
    wide = QuantumScript([qml.X(wire) for wire in range(6)], [qml.counts()], shots=5)
    assert executor.rejects(wide) == "has 5 qubits"


# -- errors and cancellation


def test_of_a_batch_that_cannot_be_sent_whole_what_was_sent_is_cancelled() -> None:
    vendor = Vendor(states=(QUEUED,), room=1, accepts=2)
    with pytest.raises(ConnectionError, match="the line is dead"):
        FakeVendorExecutor(vendor).submit(three())
    assert [job.cancelled for job in vendor.jobs.values()] == [1, 1]


def test_an_error_while_cancelling_neither_hides_the_first_error_nor_leaves_later_jobs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    vendor = Vendor(states=(QUEUED,), room=1, accepts=2, stuck=["v-1"])
    with caplog.at_level(logging.WARNING, "pennylane_qexec"), pytest.raises(ConnectionError, match="the line is dead"):
        FakeVendorExecutor(vendor).submit(three())
    assert [job.cancelled for job in vendor.jobs.values()] == [1, 1]
    assert "'v-1' is of no use any more, and could not be cancelled" in caplog.text


def test_a_job_that_cannot_be_cancelled_leaves_no_other_running_and_is_named() -> None:
    vendor = Vendor(states=(QUEUED,), room=1, stuck=["v-1"])
    executor = FakeVendorExecutor(vendor)
    job_id = executor.submit(three())
    with pytest.raises(ConnectionError, match="v-1 cannot be stopped"):
        executor.cancel(job_id)
    assert [job.cancelled for job in vendor.jobs.values()] == [1, 1, 1]


def test_jobs_beside_one_that_failed_are_cancelled_and_not_waited_for() -> None:
    vendor = Vendor(states=(QUEUED,), room=1)
    executor = FakeVendorExecutor(vendor)
    job_id = executor.submit(three())
    vendor.jobs["v-1"].states = [FAILED]
    assert executor.poll(job_id) is FAILED
    with pytest.raises(qexec.JobFailedError, match="job 'v-1' failed at 'fake-vendor': the fridge is warm"):
        executor.fetch(job_id)
    assert [job.cancelled for job in vendor.jobs.values()] == [0, 1, 1]


def test_a_job_that_was_cancelled_says_so() -> None:
    executor = FakeVendorExecutor(Vendor(states=(QUEUED,)))
    job_id = executor.submit(three())
    executor.cancel(job_id)
    with pytest.raises(qexec.JobCancelledError, match="job 'v-1' was cancelled at 'fake-vendor'"):
        executor.fetch(job_id)


def test_missing_answers_are_an_error() -> None:
    with pytest.raises(qexec.JobFailedError, match="2 circuits were counted, and 3 were asked for"):
        FakeVendorExecutor(Vendor(lost=1)).run(three())


# -- adoption and labels


def test_a_job_of_another_process_is_polled_without_its_circuits_and_fetched_with_them() -> None:
    vendor = Vendor(states=(QUEUED, DONE), room=2)
    circuits = [flip(0.0, 5), flip(3.141592653589793, 6), flip(0.0, 7)]
    job_id = FakeVendorExecutor(vendor).submit(circuits)
    other = FakeVendorExecutor(vendor)
    assert other.poll(job_id) is QUEUED
    with pytest.raises(qexec.ConfigurationError, match=r"its circuits are not known here: use recover\(job_id"):
        other.fetch(job_id)
    assert [round(float(one)) for one in other.recover(job_id, circuits)] == [1, -1, 1]


def test_a_batch_is_found_by_its_label_with_all_its_parts() -> None:
    vendor = Vendor(room=1)
    job_id = FakeVendorExecutor(vendor).submit_labelled(three(), "label")
    assert FakeVendorExecutor(vendor).find("label") == job_id == "v-1+v-2+v-3"


def test_what_is_left_of_a_batch_that_was_not_sent_whole_is_cancelled_and_not_found() -> None:
    vendor = Vendor(states=(QUEUED,), room=1)
    FakeVendorExecutor(vendor).submit_labelled(three(), "label")
    del vendor.jobs["v-3"]  # the process died before it had sent the last part
    assert FakeVendorExecutor(vendor).find("label") is None
    assert [job.cancelled for job in vendor.jobs.values()] == [1, 1]
