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
from fakes.server_process import ServerProcess, long_circuit, server_process
from pennylane import numpy as pnp
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.providers.exceptions import QiskitBackendNotFoundError
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_aer.noise import NoiseModel, ReadoutError
from qiskit_ibm_runtime import Batch, EstimatorV2, SamplerV2, Session
from qiskit_ibm_runtime.api.exceptions import RequestsApiError
from qiskit_ibm_runtime.api.rest.base import RestAdapterBase
from qiskit_ibm_runtime.exceptions import (
    IBMInputValueError,
    IBMRuntimeError,
    RuntimeInvalidStateError,
    RuntimeJobFailureError,
    RuntimeJobMaxTimeoutError,
    RuntimeJobNotFound,
    RuntimeJobTimeoutError,
)
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from qiskit_ibm_runtime.noise_learner import NoiseLearner

import pennylane_qexec as qexec
from pennylane_qexec.providers.fakes import fake_files

pytestmark = [pytest.mark.slow, pytest.mark.integration]

TOKENS = {"ada": "token-of-ada-1815", "bob": "token-of-bob-1623"}
MOST_QUBITS = 200


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
    assert [backend.name for backend in service.backends("fake_quito", operational=True)] == ["fake_quito"]
    with pytest.raises(QiskitBackendNotFoundError):
        service.backend("fake_manilla")


def test_the_client_builds_the_targets_of_backends(service: Any) -> None:
    for name in list(fake_files())[::6]:  # of the others, the catalogue's tests
        backend = service.backend(name)
        assert {"measure", "delay", "rz", "sx", "x"} <= set(backend.target.operation_names), name
        assert len(backend.properties().qubits) == backend.num_qubits


def test_a_backend_looks_like_its_fake(manila: Any) -> None:
    fake = FakeManilaV2()
    assert manila.coupling_map.get_edges() == fake.coupling_map.get_edges()
    assert manila.configuration().basis_gates == fake.configuration().basis_gates
    for qubit in range(5):
        assert manila.properties().t1(qubit) == fake.properties().t1(qubit)
        assert manila.target["measure"][(qubit,)].error == fake.target["measure"][(qubit,)].error
    assert manila.properties().gate_error("cx", [0, 1]) == fake.properties().gate_error("cx", [0, 1])
    manila.refresh()
    assert manila.target_history().num_qubits == 5


def test_an_ideal_backend_is_a_simulator_without_properties(ideal: Any) -> None:
    assert ideal.configuration().simulator
    assert ideal.properties() is None
    assert ideal.coupling_map is None
    assert Session(backend=ideal).session_id is None  # IBM's client makes sessions of QPUs only


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


def test_least_busy_is_one_for_which_no_job_waits(server: ServerProcess, service: Any, long_job: Any) -> None:
    fez = service.backend("fake_fez")
    waiting = SamplerV2(mode=fez).run([fitted(bell(), fez)])
    newly_connected = qexec.runtime_service(server.url, TOKENS["ada"])  # the client keeps the lengths of queues
    assert service.least_busy(min_num_qubits=150).name == "fake_fez"
    assert newly_connected.least_busy(min_num_qubits=150).name == "fake_fez@aer"
    waiting.cancel()


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


def test_a_seed_repeats_shots_and_none_does_not(ideal: Any) -> None:
    circuit = QuantumCircuit(8)
    circuit.h(range(8))
    circuit.measure_all()

    def shots(**simulator: Any) -> list[str]:
        sampler = SamplerV2(mode=ideal, options={"default_shots": 200, "simulator": simulator})
        return sampler.run([circuit]).result()[0].data.meas.get_bitstrings()

    assert shots(seed_simulator=5) == shots(seed_simulator=5)
    assert shots() != shots()


def test_shots_are_those_of_the_pub_before_the_run_before_the_options(ideal: Any) -> None:
    sampler = SamplerV2(mode=ideal, options={"default_shots": 11})
    assert sampler.run([bell()]).result()[0].data.meas.num_shots == 11
    result = sampler.run([bell(), (bell(), None, 13)], shots=12).result()
    assert [pub.data.meas.num_shots for pub in result] == [12, 13]
    assert SamplerV2(mode=ideal).run([bell()]).result()[0].data.meas.num_shots == 4096


def test_a_sampler_takes_a_table_of_parameters_and_several_registers(ideal: Any) -> None:
    angle = Parameter("angle")
    circuit = QuantumCircuit(QuantumRegister(2), ClassicalRegister(1, "first"), ClassicalRegister(1, "second"))
    circuit.rx(angle, 0)
    circuit.measure([0, 1], [0, 1])
    data = SamplerV2(mode=ideal).run([(circuit, [[0.0], [np.pi], [1.0]])], shots=4000).result()[0].data
    assert data.first.shape == (3,)
    assert data.second.get_counts() == {"0": 12_000}
    ones = [data.first.get_counts(row).get("1", 0) / 4000 for row in range(3)]
    assert ones[:2] == [0.0, 1.0]
    assert abs(ones[2] - np.sin(0.5) ** 2) < 5 * 0.0067  # standard deviations


def test_circuits_that_measure_and_decide_run(service: Any, ideal: Any) -> None:
    torino = service.backend("fake_torino")
    circuit = QuantumCircuit(2, 2)
    circuit.h(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    circuit.measure(1, 1)
    assert set(SamplerV2(mode=ideal).run([circuit]).result()[0].data.c.get_counts()) == {"00", "11"}
    counts = SamplerV2(mode=torino).run([fitted(circuit, torino)], shots=500).result()[0].data.c.get_counts()
    assert counts["00"] + counts["11"] > 400


def test_a_clifford_circuit_on_many_qubits_is_simulated(ideal: Any) -> None:
    circuit = QuantumCircuit(50)
    circuit.h(0)
    circuit.cx(range(49), range(1, 50))
    circuit.measure_all()
    counts = SamplerV2(mode=ideal).run([circuit], shots=100).result()[0].data.meas.get_counts()
    assert set(counts) == {"0" * 50, "1" * 50}


def test_a_noise_model_of_ones_own_is_the_noise(ideal: Any) -> None:
    noise = NoiseModel()
    noise.add_all_qubit_readout_error(ReadoutError([[0.9, 0.1], [0.2, 0.8]]))
    options = {"simulator": {"noise_model": noise}}
    circuit = QuantumCircuit(1)
    circuit.x(0)
    result = EstimatorV2(mode=ideal, options=options).run([(circuit, "Z")], precision=0.01).result()
    assert abs(result[0].data.evs - (0.2 - 0.8)) < 5 * 0.01  # standard deviations
    circuit.measure_all()
    counts = SamplerV2(mode=ideal, options=options).run([circuit], shots=4000).result()[0].data.meas.get_counts()
    assert abs(counts["0"] / 4000 - 0.2) < 5 * 0.0064


def test_precision_is_that_of_the_pub_before_the_run_before_the_options(ideal: Any) -> None:
    pub = (bell(measured=False), SparsePauliOp("ZI"))
    estimator = EstimatorV2(mode=ideal, options={"default_precision": 0.1})

    def precisions(*pubs: Any, **run: Any) -> list[float]:
        return [one.metadata["target_precision"] for one in estimator.run(pubs, **run).result()]

    assert precisions(pub) == [0.1]
    assert precisions(pub, (*pub, None, 0.05), precision=0.2) == [0.2, 0.05]


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
    for options, named in (
        ({"resilience_level": 1}, "resilience_level=1"),
        ({"resilience": {"zne_mitigation": True}}, "resilience.zne_mitigation"),
    ):
        with pytest.raises(IBMRuntimeError, match=named):
            EstimatorV2(mode=manila, options=options).run([pub])
    for options, named in (
        ({"dynamical_decoupling": {"enable": True}}, "dynamical_decoupling.enable"),
        ({"twirling": {"enable_gates": True}}, "twirling.enable_gates"),
        ({"execution": {"init_qubits": False}}, "execution.init_qubits"),
        ({"execution": {"meas_type": "kerneled"}}, "execution.meas_type"),
        ({"simulator": {"coupling_map": [[0, 1]]}}, "simulator.coupling_map"),
        ({"experimental": {"magic": 1}}, "experimental"),
    ):
        with pytest.raises(IBMRuntimeError, match=named):
            SamplerV2(mode=manila, options=options).run([fitted(bell(), manila)])
    with pytest.raises(IBMRuntimeError, match="noise-learner"):
        NoiseLearner(manila).run([fitted(bell(measured=False), manila)])
    assert len(service.jobs(limit=None)) == before


def test_a_backend_with_an_unknown_calibration_is_not_there(service: Any) -> None:
    with pytest.raises(QiskitBackendNotFoundError):
        service.backend("fake_manila", calibration_id="yesterday")


# Jobs


def test_a_failed_job_says_why(ideal: Any) -> None:
    job = SamplerV2(mode=ideal).run([wide(MOST_QUBITS + 1)])
    with pytest.raises(RuntimeJobFailureError, match="201 qubits"):
        job.result()
    assert job.status() == "ERROR"
    assert "201 qubits" in str(job.error_message())
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


def test_a_running_job_is_cancelled(service: Any, long_job: Any) -> None:
    long_job.cancel()
    job = service.job(long_job.job_id())  # the client does not ask after one that it has cancelled
    with pytest.raises(RuntimeInvalidStateError, match="cancelled"):
        job.result()
    assert job.cancelled()
    with pytest.raises(RuntimeInvalidStateError, match="cannot be cancelled"):
        job.cancel()


def test_a_job_that_waits_is_cancelled_and_never_runs(ideal: Any, long_job: Any) -> None:
    job = SamplerV2(mode=ideal).run([bell()])
    assert job.status() == "QUEUED"
    job.cancel()
    assert job.cancelled()
    assert job.metrics()["timestamps"].get("running") is None


def test_a_job_that_takes_longer_than_it_may_is_ended(ideal: Any) -> None:
    job = SamplerV2(mode=ideal, options={"max_execution_time": 1}).run([long_circuit()])
    with pytest.raises(RuntimeJobMaxTimeoutError):
        job.result()


def test_who_waits_for_a_result_may_stop_waiting(service: Any, long_job: Any) -> None:
    with pytest.raises(RuntimeJobTimeoutError):
        long_job.result(timeout=0.1)
    assert long_job.running()
    assert long_job.job_id() in [job.job_id() for job in service.jobs(pending=True)]
    with pytest.raises(IBMRuntimeError, match="Cancel it first"):
        service.delete_job(long_job.job_id())


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
    assert job.instance == ideal.service.active_instance()
    assert job.image is None
    assert job.usage_estimation == {"quantum_seconds": None}


def test_a_job_has_the_properties_of_its_backend(manila: Any) -> None:
    job = SamplerV2(mode=manila).run([fitted(bell(), manila)])
    job.result()
    assert job.properties().to_dict() == manila.properties().to_dict()


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
    assert other.usage()["usage_consumed_seconds"] == 0
    assert job.result()


def test_a_wrong_token_is_refused(server: ServerProcess) -> None:
    with pytest.raises(qexec.errors.NoAccessError, match="does not know this token"):
        qexec.runtime_service(server.url, "token-of-eve")


def test_later_versions_of_the_interface_are_understood(
    service: Any, ideal: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RestAdapterBase, "_HEADER_API_VERSION", {"IBM-API-Version": "2026-04-15"})
    job = SamplerV2(mode=ideal).run([bell()], shots=9)
    assert service.job(job.job_id()).result()[0].data.meas.num_shots == 9


# Sessions


def test_jobs_of_a_session_have_its_id_and_a_closed_one_takes_none(service: Any, manila: Any) -> None:
    circuit = fitted(bell(), manila)
    with Session(backend=manila, max_time="10m") as session:
        assert session.status() == "Pending"
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
    again._active = True  # a program elsewhere does not know that it was closed
    with pytest.raises(IBMRuntimeError, match="is closed and takes no more jobs"):
        SamplerV2(mode=again).run([circuit])
    assert {job.job_id() for job in service.jobs(session_id=session.session_id)} == {job.job_id() for job in jobs}
    assert session.usage() > 0


def test_a_session_lives_no_longer_than_it_may(manila: Any) -> None:
    session = Session(backend=manila, max_time=1)
    while session.status() != "Closed":
        pass
    assert not session.details()["accepting_jobs"]
    with pytest.raises(IBMRuntimeError, match="is closed and takes no more jobs"):
        SamplerV2(mode=session).run([fitted(bell(), manila)])
    assert Session(backend=manila, max_time="40h").details()["max_time"] == 28_800


def test_a_batch_runs_its_jobs(service: Any, manila: Any) -> None:
    circuit = fitted(bell(), manila)
    with Batch(backend=manila) as batch:
        jobs = [SamplerV2(mode=batch).run([circuit], shots=10) for _ in range(3)]
    assert [job.result()[0].data.meas.num_shots for job in jobs] == [10, 10, 10]
    assert batch.details()["mode"] == "batch"
    assert Batch.from_id(batch.session_id, service).session_id == batch.session_id
    batch.cancel()
    assert batch.status() == "Closed"


def test_a_session_that_is_not_there_is_said_to_be(service: Any) -> None:
    with pytest.raises(IBMInputValueError, match="there is no session 'nothing'"):
        Session.from_id("nothing", service)


def test_cancelling_a_session_cancels_its_jobs_that_wait(manila: Any, long_job: Any) -> None:
    session = Session(backend=manila)
    jobs = [SamplerV2(mode=session).run([fitted(bell(), manila)]) for _ in range(2)]
    session.cancel()
    assert all(job.cancelled() for job in jobs)
    assert session.status() == "Closed"


# PennyLane


def cost_on(backend: Any, shots: int, **options: Any) -> Any:
    """A QNode on PennyLane's own device of a backend."""
    device = qml.device("qiskit.remote", wires=2, backend=backend, optimization_level=1, seed_transpiler=2, **options)

    @qml.set_shots(shots)
    @qml.qnode(device, diff_method="parameter-shift")
    def cost(angle: Any) -> Any:
        qml.RX(angle, 0)
        qml.CNOT([0, 1])
        return qml.expval(qml.Z(0) @ qml.Z(1)), qml.expval(qml.Z(0)), qml.probs(wires=[1])

    return lambda angle: pnp.hstack(cost(angle))


def test_pennylanes_remote_device_has_values_and_gradients(ideal: Any) -> None:
    cost, angle = cost_on(ideal, 4000), pnp.array(0.7, requires_grad=True)
    up, down = np.cos(0.35) ** 2, np.sin(0.35) ** 2
    tolerance = 5 / np.sqrt(4000)  # standard deviations, of values at most 1
    assert np.allclose(cost(angle), (1.0, np.cos(0.7), up, down), atol=tolerance)
    exact = np.array([0.0, -np.sin(0.7), -np.sin(0.7) / 2, np.sin(0.7) / 2])
    assert np.allclose(qml.jacobian(cost)(angle), exact, atol=tolerance)


def test_pennylanes_remote_device_has_what_it_has_of_local_testing_mode(manila: Any) -> None:
    options = {"simulator": {"seed_simulator": 42}}
    angle = pnp.array(0.7, requires_grad=True)
    here, there = (cost_on(backend, 500, options=options) for backend in (FakeManilaV2(), manila))
    assert np.array_equal(there(angle), here(angle))
    assert np.array_equal(qml.jacobian(there)(angle), qml.jacobian(here)(angle))
