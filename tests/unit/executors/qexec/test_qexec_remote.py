"""Circuits on another server of ours: what travels, what comes back, and what happens when something is wrong."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pennylane as qml
import pytest
import requests
from fakes.server import FakeServer
from pennylane import numpy as pnp
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import JobState


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.close()


def remote(server: FakeServer, **options: Any) -> qexec.QExecRemote:
    return qexec.QExecRemote(f"{server.url}/lab", **{"token": server.token, **options})


def rotated(angle: float, *measurements: Any, shots: Any = None) -> QuantumScript:
    operations = [qml.RX(angle, "a"), qml.CNOT(["a", 7]), qml.RY(0.3, 7)]
    return QuantumScript(operations, measurements or [qml.expval(qml.Z(7))], shots=shots)


def test_a_gradient_by_parameter_shifts_is_one_job_with_the_value(server: FakeServer, open_device: Any) -> None:
    device = open_device([remote(server)])

    def circuit(angles: Any) -> Any:
        for wire in range(4):
            qml.RX(angles[wire], wire)
        for wire in range(3):
            qml.CNOT([wire, wire + 1])
        return qml.expval(qml.Z(3))

    angles = pnp.array([0.1, 0.5, 1.1, 0.7], requires_grad=True)
    gradient = qml.grad(qml.QNode(circuit, device, diff_method="parameter-shift"))(angles)
    exact = qml.grad(qml.QNode(circuit, qml.device("default.qubit")))(angles)
    assert gradient == pytest.approx(exact, abs=1e-9)
    (job,) = server.jobs.values()
    assert len(job.params["parts"]) <= 2


@pytest.mark.parametrize(
    "measurement",
    [
        qml.expval(qml.X("a") @ qml.Z(7) + 0.5 * qml.Y(7)),
        qml.var(qml.Z("a")),
        qml.probs(wires=[7, "a"]),
        qml.state(),
        qml.density_matrix("a"),
        qml.vn_entropy("a"),
        qml.purity("a"),
        qml.mutual_info("a", 7),
    ],
    ids=lambda measurement: type(measurement).__name__,
)
def test_analytic_results_are_those_of_a_device(server: FakeServer, open_cluster: Any, measurement: Any) -> None:
    circuits = [rotated(angle, measurement) for angle in (0.2, 0.9)]
    expected = qml.device("default.qubit").execute(tuple(circuits))
    for found, one in zip(open_cluster([remote(server)]).execute(circuits), expected, strict=True):
        assert np.asarray(found) == pytest.approx(np.asarray(one), abs=1e-9)


def test_shots_give_samples_counts_shadows_and_vectors(server: FakeServer, open_cluster: Any) -> None:
    cluster = open_cluster([remote(server)])
    many = [qml.sample(wires=["a", 7]), qml.counts(wires=[7]), qml.expval(qml.Z("a")), qml.probs(wires=["a"])]
    samples, counts, value, probabilities = cluster.execute([rotated(np.pi, *many, shots=40)])[0]
    assert samples.shape == (40, 2)
    assert sum(counts.values()) == 40
    assert float(value) == -1
    assert probabilities == pytest.approx([0, 1])
    vector = cluster.execute([rotated(0.0, qml.expval(qml.Z("a")), qml.sample(wires=[7]), shots=[10, 20])])[0]
    assert [(float(one), np.size(sample)) for one, sample in vector] == [(1, 10), (1, 20)]
    (shadow,) = cluster.execute([rotated(0.1, qml.classical_shadow(wires=["a", 7]), shots=30)])
    assert shadow.shape == (2, 30, 2)


def test_measurements_in_the_middle_are_made_as_asked(server: FakeServer, open_device: Any) -> None:
    @qml.set_shots(50)
    @qml.qnode(open_device([remote(server)]), mcm_method="deferred", postselect_mode="fill-shots")
    def circuit() -> Any:
        qml.Hadamard(0)
        outcome = qml.measure(0, postselect=1)
        qml.cond(outcome, qml.X)(1)
        return qml.counts(wires=[0, 1]), qml.sample(outcome)

    counts, samples = circuit()
    assert {key: int(value) for key, value in counts.items()} == {"11": 50}
    assert np.all(samples == 1)


def test_circuits_that_differ_in_numbers_only_travel_as_one(server: FakeServer) -> None:
    executor = remote(server)
    circuits = [rotated(angle) for angle in np.linspace(0, 1, 49)]
    circuits.insert(3, rotated(0.4, qml.probs(wires=["a"])))
    results = executor.run(circuits)
    (job,) = server.jobs.values()
    assert len(job.params["parts"]) == 2
    expected = qml.device("default.qubit").execute(tuple(circuits))
    assert [np.asarray(one) for one in results] == [pytest.approx(np.asarray(one), abs=1e-9) for one in expected]


def test_a_job_that_fails_says_why_and_another_executor_takes_over(server: FakeServer, open_cluster: Any) -> None:
    broken = qml.expval(qml.Z(0))
    circuit = QuantumScript([qml.RX(0.4, wire) for wire in range(40)], [broken])
    executor = remote(server)
    job_id = executor.submit([circuit])
    assert executor.poll(job_id) is JobState.FAILED
    with pytest.raises(qexec.JobFailedError, match="40"):
        executor.fetch(job_id)
    cluster = open_cluster([remote(server, token="wrong"), "default.qubit"], selector=lambda _, able: able[0])
    assert float(cluster.execute([rotated(0.0)])[0]) == pytest.approx(np.cos(0.3))
    assert {row.executor for row in cluster.history if row.state is JobState.DONE} == {"default.qubit"}


def test_who_has_no_token_is_told_what_to_do(server: FakeServer) -> None:
    with pytest.raises(qexec.NoAccessError, match=r"does not know this token.*QEXEC_TOKEN") as caught:
        remote(server, token="wrong-token").run([rotated(0.1)])
    assert "wrong-token" not in str(caught.value)


def test_url_and_token_come_from_the_environment_too(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QEXEC_URL", server.url + "/")
    monkeypatch.setenv("QEXEC_TOKEN", server.token)
    executor = qexec.executor("qexec:lab")
    assert float(executor.run([rotated(0.0)])[0]) == pytest.approx(np.cos(0.3))
    assert (executor.name, executor.backend) == ("qexec:lab", "lab")


@pytest.mark.parametrize(
    ("place", "message"),
    [("", "no backend is named"), ("ftp://host/lab", "is no URL of a server"), ("https:///lab", "is no URL")],
)
def test_a_place_that_is_none_is_refused_at_once(place: str, message: str) -> None:
    with pytest.raises(qexec.ConfigurationError, match=message):
        qexec.QExecRemote(place)


def test_a_backend_of_no_server_is_refused_with_the_first_job() -> None:
    with pytest.raises(qexec.ConfigurationError, match=r"of which server.*QEXEC_URL"):
        qexec.QExecRemote("lab").run([rotated(0.1)])


def test_a_backend_that_the_server_does_not_have_is_refused_in_its_words(server: FakeServer) -> None:
    with pytest.raises(qexec.ConfigurationError, match="there is no backend 'attic'"):
        qexec.QExecRemote(f"{server.url}/attic", token=server.token).run([rotated(0.1)])


def test_a_circuit_that_cannot_be_written_is_refused_before_anything_is_sent(server: FakeServer) -> None:
    class Own(qml.operation.Operation):
        num_wires = 1

    with pytest.raises(qexec.ConfigurationError, match="cannot be stored"):
        remote(server).submit([QuantumScript([Own(0)], [qml.expval(qml.Z(0))])])
    assert not server.requests


def test_a_submission_whose_answer_is_lost_is_found_and_not_sent_again(server: FakeServer) -> None:
    server.breaks = 1
    assert float(remote(server).run([rotated(0.0)])[0]) == pytest.approx(np.cos(0.3))
    assert len(server.jobs) == 1


def test_a_submission_that_is_put_off_is_tried_again(server: FakeServer, open_cluster: Any) -> None:
    server.busy = 2
    assert float(open_cluster([remote(server)]).execute([rotated(0.0)])[0]) == pytest.approx(np.cos(0.3))
    assert server.requests.count("POST /v1/jobs") == 3


def test_a_job_of_another_process_with_other_circuits_is_not_adopted(server: FakeServer) -> None:
    job_id = remote(server).submit([rotated(0.1)])
    with pytest.raises(qexec.ConfigurationError, match="sent with other circuits"):
        remote(server).adopt(job_id, [rotated(0.2)])
    with pytest.raises(qexec.ConfigurationError, match="adopt"):
        remote(server).fetch(job_id)


def test_a_job_that_waits_is_cancelled(server: FakeServer) -> None:
    server.waits = True
    executor = remote(server)
    job_id = executor.submit_labelled([rotated(0.1)], "run_7")
    assert executor.find("run_7") == job_id
    assert executor.poll(job_id) is JobState.WAITING
    executor.cancel(job_id)
    assert executor.poll(job_id) is JobState.CANCELLED
    assert executor.find("run_7") is None
    with pytest.raises(qexec.JobCancelledError):
        executor.fetch(job_id)


def test_many_jobs_are_asked_for_at_once(server: FakeServer) -> None:
    server.waits = True
    executor = remote(server)
    job_ids = [executor.submit([rotated(angle)]) for angle in np.linspace(0, 1, 40)]
    server.requests.clear()
    assert {executor.poll(job_id) for job_id in job_ids} == {JobState.WAITING}
    assert set(server.requests) == {"GET /v1/jobs"}
    assert len(server.requests) < 20
    for job_id in job_ids[:39]:
        server.run(server.jobs[job_id])
    while {executor.poll(job_id) for job_id in job_ids[:39]} != {JobState.DONE}:
        pass
    server.requests.clear()
    assert executor.poll(job_ids[39]) is JobState.WAITING
    assert server.requests == [f"GET /v1/jobs/{job_ids[39]}"]


def test_a_server_that_starts_again_is_waited_for(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = remote(server)
    job_id = executor.submit([rotated(0.1)])
    server.down = 8
    assert [executor.poll(job_id) for _ in range(8)] == [JobState.RUNNING] * 8
    assert executor.poll(job_id) is JobState.DONE
    monkeypatch.setattr("pennylane_qexec.executors.qexec.server._STARTING", -1.0)
    server.down = 1
    with pytest.raises(requests.ConnectionError):
        executor.poll(job_id)


def test_what_is_cancelled_here_is_cancelled_there(server: FakeServer) -> None:
    server.waits = True
    cluster = qexec.QCluster([remote(server)], timeout=0.3)
    with pytest.raises(qexec.JobTimeoutError):
        cluster.execute([rotated(0.1)])
    cluster.close()
    assert [job.status for job in server.jobs.values()] == ["Cancelled"]


def test_a_copy_looks_the_token_up_again(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    data = pickle.dumps(remote(server))
    assert server.token.encode() not in data
    monkeypatch.setenv("QEXEC_TOKEN", server.token)
    assert float(pickle.loads(data).run([rotated(0.0)])[0]) == pytest.approx(np.cos(0.3))


def test_the_backend_is_asked_how_it_is_only_after_a_job(server: FakeServer) -> None:
    executor = remote(server)
    assert executor.status().queue_length == 0
    assert not server.requests
    executor.run([rotated(0.0)])
    assert executor.status().queue_length == 3


def test_a_durable_run_finds_a_job_of_which_it_did_not_get_to_know(server: FakeServer, tmp_path: Any) -> None:
    class Interrupted(qexec.QExecRemote):
        def submit_work(self, work: Any, label: str = "") -> str:
            super().submit_work(work, label)
            raise ConnectionError("the line is dead")

    executor = Interrupted(f"{server.url}/lab", token=server.token)
    with qexec.QCluster([executor]) as cluster, qexec.durable_run("one", tmp_path / "runs.db"):
        assert float(cluster.execute([rotated(0.0)])[0]) == pytest.approx(np.cos(0.3))
    assert len(server.jobs) == 1
