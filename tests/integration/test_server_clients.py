"""IBM's client, unchanged, uses a server of ours over HTTP: every request that it makes, and what it shows to users."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from fakes.server_process import ServerProcess, server_process
from pennylane import numpy as pnp
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Batch, EstimatorV2, SamplerV2, Session
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.exceptions import (
    IBMRuntimeError,
    RuntimeInvalidStateError,
    RuntimeJobFailureError,
    RuntimeJobMaxTimeoutError,
    RuntimeJobNotFound,
)
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from qiskit_ibm_runtime.noise_learner import NoiseLearner

import pennylane_qexec as qexec
from pennylane_qexec.providers.fakes import fake_files

pytestmark = [pytest.mark.slow, pytest.mark.integration]

TOKENS = {"ada": "token-of-ada-1815", "bob": "token-of-bob-1623"}
MOST_QUBITS = 30


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server_process(tmp_path_factory.mktemp("server"), ["aer"], TOKENS, max_qubits=MOST_QUBITS) as server:
        yield server


@pytest.fixture(scope="module")
def service(server: ServerProcess) -> Any:
    return qexec.runtime_service(server.url, TOKENS["ada"])


@pytest.fixture(scope="module")
def manila(service: Any) -> Any:
    return service.backend("fake_manila")


@pytest.fixture(scope="module")
def ideal(service: Any) -> Any:
    return service.backend("ideal")


def bell(measured: bool = True) -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    if measured:
        circuit.measure_all()
    return circuit


def fitted(circuit: QuantumCircuit, backend: Any) -> QuantumCircuit:
    return generate_preset_pass_manager(1, backend=backend, seed_transpiler=2).run(circuit)


def long_circuit() -> QuantumCircuit:
    """One that takes minutes."""
    circuit = QuantumCircuit(23)
    for layer in range(600):
        for qubit in range(23):
            circuit.rx(0.1 + layer, qubit)
            circuit.cx(qubit, (qubit + 1 + layer % 22) % 23)
    circuit.measure_all()
    return circuit


@pytest.fixture
def long_job(ideal: Any) -> Iterator[Any]:
    """A job that runs, and keeps the only worker busy."""
    job = SamplerV2(mode=ideal).run([long_circuit()])
    while job.status() == "QUEUED":
        pass  # the server holds an answer until there is another
    assert job.status() == "RUNNING"
    yield job
    if not job.in_final_state():
        job.cancel()
        job.wait_for_final_state()


# Backends


def test_the_client_lists_all_backends_and_filters_them(service: Any) -> None:
    names = {backend.name for backend in service.backends()}
    assert names == {f"{name}{executor}" for name in [*fake_files(), "ideal"] for executor in ("", "@aer")}
    large = service.backends(min_num_qubits=150, filters=lambda backend: "@" not in backend.name)
    assert {backend.name for backend in large} == {"fake_fez", "fake_marrakesh"}
    assert service.least_busy(min_num_qubits=150).num_qubits == 156
    with pytest.raises(QiskitBackendNotFoundError):
        service.backend("fake_manilla")


def test_the_client_builds_the_target_of_every_backend(service: Any) -> None:
    for name in fake_files():
        backend = service.backend(name)
        assert {"measure", "delay", "rz", "sx", "x"} <= set(backend.target.operation_names), name
        assert len(backend.properties().qubits) == backend.num_qubits


def test_a_name_with_its_executor_is_a_backend_of_its_own(service: Any) -> None:
    backend = service.backend("fake_manila@aer")
    assert backend.name == backend.configuration().backend_name == "fake_manila@aer"
    assert SamplerV2(mode=backend).run([fitted(bell(), backend)], shots=10).result()[0].data.meas.num_shots == 10


def test_status_says_how_many_jobs_wait(manila: Any, long_job: Any) -> None:
    waiting = SamplerV2(mode=manila).run([fitted(bell(), manila)])
    assert manila.status().operational
    assert manila.status().pending_jobs >= 1
    waiting.cancel()


def test_properties_of_the_past_are_none_and_those_of_today_are_there(manila: Any) -> None:
    updated = manila.properties().last_update_date
    assert manila.properties(datetime=updated - timedelta(days=1)) is None
    assert manila.properties(datetime=updated + timedelta(days=1)).last_update_date == updated


def test_usage_is_that_of_the_user(service: Any) -> None:
    usage = service.usage()
    assert usage["usage_consumed_seconds"] >= 0
    assert not usage["usage_limit_reached"]


# Programs


def test_a_sampler_has_the_counts_of_local_testing_mode(manila: Any) -> None:
    circuit = fitted(bell(), manila)
    options = {"simulator": {"seed_simulator": 42}, "default_shots": 500}
    here = SamplerV2(mode=FakeManilaV2(), options=options).run([circuit]).result()
    there = SamplerV2(mode=manila, options=options).run([circuit]).result()
    assert there[0].data.meas.get_counts() == here[0].data.meas.get_counts()


def test_an_estimator_has_the_values_of_local_testing_mode(manila: Any) -> None:
    angle = Parameter("angle")
    circuit = QuantumCircuit(2)
    circuit.rx(angle, 0)
    circuit.cx(0, 1)
    circuit = fitted(circuit, manila)
    observable = SparsePauliOp(["ZZ", "XX"], [1.0, 0.5]).apply_layout(circuit.layout)
    pub = (circuit, [[observable], [observable]], [[0.3, 1.1]])
    options = {"simulator": {"seed_simulator": 42}, "default_precision": 0.05}
    here = EstimatorV2(mode=FakeManilaV2(), options=options).run([pub]).result()[0]
    there = EstimatorV2(mode=manila, options=options).run([pub]).result()[0]
    assert np.array_equal(there.data.evs, here.data.evs)
    assert np.array_equal(there.data.stds, here.data.stds)
    assert there.metadata["target_precision"] == 0.05


def test_circuits_for_an_ideal_backend_need_not_be_fitted(ideal: Any) -> None:
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.ccx(0, 1, 2)
    circuit.cswap(0, 1, 2)
    circuit.cp(0.3, 0, 1)
    circuit.measure_all()
    assert set(SamplerV2(mode=ideal).run([circuit], shots=200).result()[0].data.meas.get_counts()) == {"000", "001"}


@pytest.mark.parametrize("name", ["fake_london", "fake_cambridge"])
def test_machines_of_2020_run_what_the_client_fits_to_them(service: Any, name: str) -> None:
    backend = service.backend(name)
    counts = SamplerV2(mode=backend).run([fitted(bell(), backend)], shots=1000).result()[0].data.meas.get_counts()
    assert counts["00"] + counts["11"] > 700


def test_what_cannot_be_honoured_is_refused_at_once(service: Any, manila: Any) -> None:
    before = len(service.jobs(limit=None))
    pub = (fitted(bell(measured=False), manila), SparsePauliOp("Z" * 5))
    with pytest.raises(IBMRuntimeError, match="resilience"):
        EstimatorV2(mode=manila, options={"resilience_level": 2}).run([pub])
    with pytest.raises(IBMRuntimeError, match="dynamical_decoupling"):
        SamplerV2(mode=manila, options={"dynamical_decoupling": {"enable": True}}).run([fitted(bell(), manila)])
    with pytest.raises(IBMRuntimeError, match="noise-learner"):
        NoiseLearner(manila).run([fitted(bell(measured=False), manila)])
    assert len(service.jobs(limit=None)) == before


def test_a_backend_with_an_unknown_calibration_is_not_there(service: Any) -> None:
    with pytest.raises(QiskitBackendNotFoundError):
        service.backend("fake_manila", calibration_id="yesterday")


# Jobs


def test_a_failed_job_says_why(ideal: Any) -> None:
    job = SamplerV2(mode=ideal).run([wide(MOST_QUBITS + 1)])
    with pytest.raises(RuntimeJobFailureError, match="31 qubits"):
        job.result()
    assert job.status() == "ERROR"
    assert "31 qubits" in str(job.error_message())
    assert "Traceback" not in str(job.error_message())


def wide(qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits)
    circuit.h(range(qubits))
    circuit.measure_all()
    return circuit


def test_a_job_is_found_from_another_process(server: ServerProcess, ideal: Any) -> None:
    job = SamplerV2(mode=ideal).run([bell()], shots=64)
    job.result()
    program = (
        "import sys, pennylane_qexec as qexec\n"
        "job = qexec.runtime_service(sys.argv[1], sys.argv[2]).job(sys.argv[3])\n"
        "print(job.status(), job.backend().name, job.primitive_id, sorted(job.result()[0].data.meas.get_counts()))"
    )
    arguments = [sys.executable, "-c", program, server.url, TOKENS["ada"], job.job_id()]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "DONE ideal sampler ['00', '11']"


def test_inputs_of_a_job_come_back(ideal: Any) -> None:
    job = SamplerV2(mode=ideal, options={"default_shots": 12}).run([bell()])
    assert job.inputs["pubs"][0][0] == bell()
    assert job.inputs["options"]["default_shots"] == 12
    assert job.result()[0].data.meas.num_shots == 12


def test_a_running_job_is_cancelled(long_job: Any) -> None:
    long_job.cancel()
    with pytest.raises(RuntimeInvalidStateError, match="cancelled"):
        long_job.result(timeout=30)
    assert long_job.cancelled()
    with pytest.raises(RuntimeInvalidStateError, match="cannot be cancelled"):
        long_job.cancel()


def test_a_job_that_waits_is_cancelled_and_never_runs(ideal: Any, long_job: Any) -> None:
    job = SamplerV2(mode=ideal).run([bell()])
    assert job.status() == "QUEUED"
    job.cancel()
    assert job.cancelled()
    assert job.metrics()["timestamps"].get("running") is None


def test_a_job_that_takes_longer_than_it_may_is_ended(ideal: Any) -> None:
    job = SamplerV2(mode=ideal, options={"max_execution_time": 1}).run([long_circuit()])
    with pytest.raises(RuntimeJobMaxTimeoutError):
        job.result(timeout=60)


def test_jobs_are_filtered_and_come_in_pages(service: Any, ideal: Any, manila: Any) -> None:
    mine = f"mine-{uuid.uuid4().hex}"
    begin = datetime.now()
    options = {"environment": {"job_tags": [mine, "many"]}}
    jobs = [SamplerV2(mode=ideal, options=options).run([bell()], shots=2) for _ in range(23)]
    last = EstimatorV2(mode=ideal, options=options).run([(bell(measured=False), SparsePauliOp("ZZ"))])
    end = [job.result() for job in [*jobs, last]] and datetime.now()
    ids = [job.job_id() for job in [*jobs, last]]

    def found(**filters: Any) -> list[str]:
        return [job.job_id() for job in service.jobs(**{"limit": None, "job_tags": [mine], **filters})]

    assert found() == ids[::-1]
    assert found(descending=False) == ids
    assert found(limit=5) == ids[::-1][:5]
    assert found(limit=5, skip=20) == ids[::-1][20:]
    assert found(program_id="estimator") == [last.job_id()]
    assert found(pending=False) == ids[::-1]
    assert found(pending=True) == []
    assert found(backend_name="ideal") == ids[::-1]
    assert found(backend_name="fake_manila") == []
    assert found(job_tags=[mine, "few"]) == []
    assert found(created_after=begin, created_before=end) == ids[::-1]
    assert found(created_after=end + timedelta(seconds=1)) == []
    assert found(created_before=begin - timedelta(seconds=1)) == []
    assert found(session_id="none") == []


def test_tags_are_changed(service: Any, ideal: Any) -> None:
    job = SamplerV2(mode=ideal).run([bell()])
    assert sorted(job.update_tags(["first", "second"])) == ["first", "second"]
    assert sorted(service.job(job.job_id()).tags) == ["first", "second"]
    with pytest.raises(RequestsApiError, match="256 characters"):
        job.update_tags(["x" * 300])
    assert sorted(service.job(job.job_id()).tags) == ["first", "second"]


def test_logs_metrics_and_usage_of_a_job(ideal: Any) -> None:
    job = SamplerV2(mode=ideal).run([bell()])
    job.result()
    assert isinstance(job.logs(), str)
    metrics = job.metrics()
    times = [metrics["timestamps"][name] for name in ("created", "running", "finished")]
    assert times == sorted(times)
    assert job.usage() >= 0
    assert job.creation_date is not None
    assert job.instance is None or "local" in job.instance


def test_a_deleted_job_is_gone(service: Any, ideal: Any) -> None:
    job = SamplerV2(mode=ideal).run([bell()])
    job.result()
    service.delete_job(job.job_id())
    for gone in (service.job, service.delete_job):
        with pytest.raises(RuntimeJobNotFound):
            gone(job.job_id())


def test_a_private_job_shows_its_result_once_and_its_circuits_never(ideal: Any) -> None:
    job = SamplerV2(mode=ideal, options={"environment": {"private": True}}).run([bell()], shots=7)
    assert job.private
    assert job.result()[0].data.meas.num_shots == 7
    assert not job.inputs
    with pytest.raises(Exception, match=r"private|read|404|None"):
        job.result()[0]


def test_users_see_their_own_jobs_only(server: ServerProcess, ideal: Any) -> None:
    job = SamplerV2(mode=ideal).run([bell()])
    other = qexec.runtime_service(server.url, TOKENS["bob"])
    with pytest.raises(RuntimeJobNotFound):
        other.job(job.job_id())
    with pytest.raises(RuntimeJobNotFound):
        other.delete_job(job.job_id())
    assert other.jobs() == []
    assert job.result()


# Sessions


def test_jobs_of_a_session_have_its_id_and_a_closed_one_takes_none(service: Any, manila: Any) -> None:
    circuit = fitted(bell(), manila)
    with Session(backend=manila, max_time="10m") as session:
        sampler = SamplerV2(mode=session)
        jobs = [sampler.run([circuit], shots=10) for _ in range(2)]
        assert all(job.session_id == session.session_id for job in jobs)
        assert [job.result()[0].data.meas.num_shots for job in jobs] == [10, 10]
        details = session.details()
        assert details["mode"] == "dedicated"
        assert details["accepting_jobs"]
        assert details["max_time"] == 600
        assert session.status() == "In progress, accepting new jobs"
        again = Session.from_id(session.session_id, service)
        assert again.session_id == session.session_id
    assert session.status() in ("Closed", "In progress, not accepting new jobs")
    with pytest.raises(IBMRuntimeError, match="closed"):
        sampler.run([circuit])
    assert {job.job_id() for job in service.jobs(session_id=session.session_id)} == {job.job_id() for job in jobs}
    assert session.usage() is not None


def test_a_batch_runs_its_jobs(service: Any, manila: Any) -> None:
    circuit = fitted(bell(), manila)
    with Batch(backend=manila) as batch:
        jobs = [SamplerV2(mode=batch).run([circuit], shots=10) for _ in range(3)]
    assert [job.result()[0].data.meas.num_shots for job in jobs] == [10, 10, 10]
    assert batch.details()["mode"] == "batch"
    assert Batch.from_id(batch.session_id, service).session_id == batch.session_id


def test_cancelling_a_session_cancels_its_jobs_that_wait(manila: Any, long_job: Any) -> None:
    session = Session(backend=manila)
    jobs = [SamplerV2(mode=session).run([fitted(bell(), manila)]) for _ in range(2)]
    session.cancel()
    assert all(job.cancelled() for job in jobs)
    assert session.status() == "Closed"


# PennyLane


@pytest.mark.parametrize("name", ["ideal", "fake_manila"])
def test_pennylanes_remote_device_has_gradients(service: Any, name: str) -> None:
    device = qml.device("qiskit.remote", wires=2, backend=service.backend(name), optimization_level=1)

    @qml.set_shots(4000)
    @qml.qnode(device, diff_method="parameter-shift")
    def cost(angle: Any) -> Any:
        qml.RX(angle, 0)
        qml.CNOT([0, 1])
        return qml.expval(qml.Z(0) @ qml.Z(1)), qml.expval(qml.Z(0))

    angle = pnp.array(0.7, requires_grad=True)
    tolerance = 0.1 if name == "ideal" else 0.25
    assert np.allclose(cost(angle), (1.0, np.cos(0.7)), atol=tolerance)  # 6 standard deviations, or the machine's noise
    gradient = qml.jacobian(lambda angle: pnp.stack(cost(angle)))(angle)
    assert np.allclose(gradient, (0.0, -np.sin(0.7)), atol=tolerance)
