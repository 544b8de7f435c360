"""Rehearsals whose jobs are kept in a folder, where a new process finds them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from fakes import programs
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec import JobState, VirtualClock
from pennylane_qexec.executors.rehearsal import read_ledger
from pennylane_qexec.testing import flip


def qpu(folder: Path | None, **options: Any) -> qexec.Rehearsal:
    """What a process makes: the same rehearsal, on the same folder."""
    usual = {"clock": VirtualClock(), "seed": 1, "name": "qpu", "queue": (10, 100), "overhead": 5, "folder": folder}
    return qexec.Rehearsal("lightning.qubit", **{**usual, **options})


def drawn(angle: float = 1.0) -> QuantumScript:
    """A circuit whose samples show which random numbers they were drawn by."""
    return QuantumScript([qml.RX(angle, 0)], [qml.sample(wires=[0])], shots=30)


def finish(executor: qexec.Rehearsal, job_id: str) -> Any:
    """Wait for a job, and fetch its results."""
    while not executor.poll(job_id).final:
        pass
    return executor.fetch(job_id)


def finish_state(executor: qexec.Rehearsal, job_id: str) -> JobState:
    """The state that a job ends in."""
    while not (state := executor.poll(job_id)).final:
        pass
    return state


def test_another_process_polls_and_fetches_a_job_by_its_id(tmp_path: Path) -> None:
    job_id = qpu(tmp_path).submit([drawn(), drawn(0.5)])
    (expected, _), (found, _) = qpu(None).run([drawn(), drawn(0.5)]), finish(qpu(tmp_path), job_id)
    assert np.array_equal(found, expected)


def test_a_job_is_recovered_with_its_circuits(tmp_path: Path) -> None:
    job_id = qpu(tmp_path).submit([drawn()])
    assert np.array_equal(qpu(tmp_path).recover(job_id, [drawn()])[0], qpu(None).run([drawn()])[0])
    with pytest.raises(qexec.ConfigurationError, match="other circuits"):
        qpu(tmp_path).adopt(job_id, [drawn(0.7)])


def test_circuits_that_cannot_be_written_have_to_be_given(tmp_path: Path) -> None:
    class Own(qml.operation.Operation):
        """An operator that is not PennyLane's."""

        num_params = 1

        @staticmethod
        def compute_decomposition(angle: Any, wires: Any) -> list[Any]:
            return [qml.RX(angle, wires)]

    circuit = QuantumScript([Own(np.pi, 0)], [qml.expval(qml.Z(0))], shots=10)
    job_id, other = qpu(tmp_path).submit([circuit]), qpu(tmp_path)
    with pytest.raises(qexec.ConfigurationError, match="recover"):
        finish(other, job_id)
    assert float(other.recover(job_id, [circuit])[0]) == -1


def test_a_job_whose_id_nobody_knows_is_found_by_its_label(tmp_path: Path) -> None:
    one = qpu(tmp_path)
    one.submit_labelled([drawn(0.5)], "first")
    one.submit_labelled([drawn()], "second")  # the process dies before it has noted the id
    after = qpu(tmp_path)
    job_id = after.find("second")
    assert job_id is not None
    assert np.array_equal(after.recover(job_id, [drawn()])[0], qpu(None).run([drawn()])[0])


def test_jobs_that_have_failed_or_were_cancelled_are_not_found_by_their_label(tmp_path: Path) -> None:
    one = qpu(tmp_path, failure_rate={"lost": 0.9})
    job_ids = [one.submit_labelled([drawn(0.1 * number)], "label") for number in range(8)]
    one.cancel(job_ids[0])
    states = [finish_state(one, job_id) for job_id in job_ids]
    assert states[0] is JobState.CANCELLED
    assert JobState.FAILED in states[1 : states.index(JobState.DONE)]
    afterwards = qpu(tmp_path, failure_rate={"lost": 0.9}, clock=VirtualClock(1e4))
    assert afterwards.find("label") == job_ids[states.index(JobState.DONE)]


def test_labels_are_in_the_ledger_and_change_nothing_else(tmp_path: Path) -> None:
    plain, labelled = qpu(None), qpu(None, ledger=tmp_path / "ledger.jsonl")
    ids = [plain.submit([drawn()]), labelled.submit_labelled([drawn()], "label")]
    assert np.array_equal(finish(plain, ids[0]), finish(labelled, ids[1]))
    assert [job.label for job in (*plain.ledger, *labelled.ledger)] == ["", "label"]
    assert read_ledger(tmp_path / "ledger.jsonl")[0].label == "label"


def test_jobs_of_a_folder_without_labels_are_still_read(tmp_path: Path) -> None:
    job_id = qpu(tmp_path).submit([drawn()])
    (path,) = tmp_path.glob("*.job.json")
    written = json.loads(path.read_text())
    del written["job"]["label"]
    path.write_text(json.dumps(written))
    assert np.array_equal(finish(qpu(tmp_path), job_id), qpu(None).run([drawn()]))


def test_what_one_process_cancels_is_cancelled_for_all(tmp_path: Path) -> None:
    one, other = qpu(tmp_path), qpu(tmp_path)
    job_id = one.submit([drawn()])
    other.cancel(job_id)
    assert one.poll(job_id) is JobState.CANCELLED
    assert [job.state for job in one.ledger] == [JobState.CANCELLED]


def test_ids_of_two_processes_differ(tmp_path: Path) -> None:
    one, other = qpu(tmp_path), qpu(tmp_path)
    ids = [executor.submit([drawn(0.1 * index)]) for index in range(3) for executor in (one, other)]
    assert len(set(ids)) == 6
    assert {job.job_id for job in one.ledger} == set(ids) == {job.job_id for job in other.ledger}


def test_a_program_that_runs_again_gets_the_results_that_it_would_have_got(tmp_path: Path) -> None:
    uninterrupted = qpu(None)
    expected = [uninterrupted.run([drawn()])[0] for _ in range(4)]
    before = qpu(tmp_path)
    found = [before.run([drawn()])[0] for _ in range(2)]
    before.submit([drawn()])  # the process dies before it has noted the id
    after = qpu(tmp_path)
    found += [after.run([drawn()])[0] for _ in range(2)]
    assert np.array_equal(found, expected)


def test_a_seed_that_is_not_given_is_kept(tmp_path: Path) -> None:
    one = qpu(tmp_path, seed=None)
    assert qpu(tmp_path, seed=None).seed == one.seed
    with pytest.raises(qexec.ConfigurationError, match="seed=7"):
        qpu(tmp_path, seed=7)


def test_places_are_shared_by_processes(tmp_path: Path) -> None:
    one, other = (qpu(tmp_path, queue=0, overhead=10) for _ in range(2))
    one.submit([drawn()])
    finish(other, other.submit([drawn(0.5)]))
    assert [(job.started, job.ended) for job in other.ledger] == [(0, 10), (10, 20)]


def test_time_goes_on_where_the_last_process_left_it(tmp_path: Path) -> None:
    one = qpu(tmp_path)
    one.run([drawn()])
    one.submit([drawn(0.5)])
    submitted = one.ledger[1].submitted
    other = qpu(tmp_path)
    other.submit([drawn(0.6)])
    assert other.ledger[2].submitted == submitted > 0


def test_files_that_are_not_finished_are_not_seen(tmp_path: Path) -> None:
    (tmp_path / "tmpxyz.draft").write_text('{"job')
    assert qpu(tmp_path).ledger == []


def test_one_that_has_died_stays_dead_in_the_next_process(tmp_path: Path) -> None:
    faults = {"dies_after": 1}
    one = qpu(tmp_path, failure_rate=faults)
    one.run([drawn()])
    one.submit([drawn()])
    assert not qpu(tmp_path, failure_rate=faults).status().online


_PROGRAM = """
import sys
import pennylane_qexec as qexec
from pennylane_qexec.testing import flip

qpu = qexec.Rehearsal("lightning.qubit", name="qpu", seed=1, folder=sys.argv[1], ledger=sys.argv[2], overhead=0.01)
print(qpu.submit([flip(0.7, 100), flip(0.8, 100)]), flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_a_job_of_a_process_that_was_killed_goes_on(tmp_path: Path) -> None:
    folder, ledger = tmp_path / "jobs", tmp_path / "ledger.jsonl"
    with programs.running(_PROGRAM, str(folder), str(ledger)) as program:
        job_id = program.line()
        program.kill_alone()
    assert [(job.job_id, job.state, job.executed) for job in read_ledger(ledger)] == [(job_id, JobState.DONE, 200)]
    options = {"clock": "real", "queue": 0, "overhead": 0.01}
    after, circuits = qpu(folder, ledger=ledger, **options), [flip(0.7, 100), flip(0.8, 100)]
    assert after.recover(job_id, circuits) == qpu(None, **options).run(circuits)
    assert [(job.job_id, job.fetched) for job in read_ledger(ledger)] == [(job_id, True)]
    assert len(after.ledger) == 1


def test_the_files_are_plain_json(tmp_path: Path) -> None:
    qpu(tmp_path).run([drawn()])
    contents = [json.loads(path.read_text()) for path in tmp_path.iterdir()]
    assert len(contents) == 4


def test_results_that_were_fetched_once_are_kept(tmp_path: Path) -> None:
    simulators = [qexec.executor("default.qubit") for _ in range(2)]
    one, other = (qexec.Rehearsal(simulator, name="qpu", folder=tmp_path) for simulator in simulators)
    job_id = one.submit([drawn()])
    assert np.array_equal(one.fetch(job_id), other.fetch(job_id))


def test_a_ledger_tells_of_jobs_whose_process_was_killed_before_it_could(tmp_path: Path) -> None:
    folder, ledger = tmp_path / "jobs", tmp_path / "ledger.jsonl"
    job_id = qpu(folder).submit([drawn()])
    qpu(folder, ledger=ledger)
    assert [job.job_id for job in read_ledger(ledger)] == [job_id]
