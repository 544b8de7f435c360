"""Jobs at IBM: how many there are, how they end, and how they are found again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from fakes import programs
from ibm import FakeAPI, FakeService
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.circuits.templates import sweep_of_circuit
from pennylane_qexec.executors.runtime import RuntimeExecutor
from pennylane_qexec.job import JobState, Sweep, Work
from pennylane_qexec.testing import flip


def at_ibm(api: FakeAPI, backend: str = "ibm_manila", **options: Any) -> RuntimeExecutor:
    executor = RuntimeExecutor(backend, service=FakeService(api), **options)
    executor.poll_interval = 0.001
    return executor


def ansatz(x: Any) -> Any:
    for wire in range(4):
        qml.RX(x[wire], wire)
    for wire in range(3):
        qml.CNOT([wire, wire + 1])
    for wire in range(4):
        qml.RY(x[4 + wire], wire)
    return qml.expval(qml.Z(0) @ qml.Z(1) @ qml.Z(2) @ qml.Z(3) + qml.X(0) @ qml.X(3))


def gradient(device: Any) -> Callable[[], Any]:
    circuit = qml.set_shots(qml.QNode(ansatz, device), 100)
    x = qml.numpy.array(np.linspace(0.1, 0.8, 8), requires_grad=True)
    return lambda: qml.gradients.param_shift(circuit)(x)


# -- how many


def test_a_gradient_is_one_job(open_device: Any) -> None:
    api = FakeAPI()
    assert np.shape(gradient(open_device([at_ibm(api)]))()) == (8,)
    assert len(api.jobs) == 1
    (job,) = api.jobs.values()
    assert [pub.shape for pub in job["params"]["pubs"]] == [(16,), (16,)]


def sweep(rows: int, shots: int, *measurements: Any) -> Sweep:
    one = sweep_of_circuit(QuantumScript([qml.RX(0.0, 0), qml.CNOT([0, 1])], measurements, shots=shots))
    assert one is not None
    return replace(one, parameters=np.linspace(0.0, np.pi, rows)[:, None])


def test_sweeps_are_pubs_of_one_job() -> None:
    api = FakeAPI()
    executor = at_ibm(api)
    sweeps = sweep(49, 100, qml.expval(qml.Z(0))), sweep(5, 30, qml.expval(qml.Z(0) @ qml.Z(1)), qml.probs(wires=0))
    work = Work(tuple(one.template for one in sweeps), sweeps=sweeps)
    rows = executor.perform_sweeps(work)
    assert list(map(len, rows)) == [49, 5]
    assert [float(rows[0][row]) for row in (0, -1)] == [1, -1]
    assert np.allclose(rows[1][-1][1], [0, 1])
    (job,) = api.jobs.values()
    assert [(pub.shape, pub.shots) for pub in job["params"]["pubs"]] == [((49,), 100), ((5,), 30)]


def test_sweeps_of_another_process_are_adopted() -> None:
    api = FakeAPI()
    one = sweep(3, 20, qml.expval(qml.Z(1)))
    work = Work((one.template,), sweeps=(one,))
    job_id, other = at_ibm(api).submit_work(work, "a-label"), at_ibm(api)
    assert other.find("a-label") == job_id
    other.adopt_work(job_id, work)
    while not other.poll(job_id).final:
        pass
    assert [round(float(value)) for value in other.fetch(job_id)][::2] == [1, -1]


def test_a_value_with_its_gradient_is_one_job(open_device: Any) -> None:
    api = FakeAPI()
    circuit = qml.set_shots(qml.QNode(ansatz, open_device([at_ibm(api)])), 100)
    x = qml.numpy.array(np.linspace(0.1, 0.8, 8), requires_grad=True)
    qml.GradientDescentOptimizer().step_and_cost(circuit, x)
    (job,) = api.jobs.values()
    assert [pub.shape for pub in job["params"]["pubs"]] == [(17,), (17,)]


def test_a_value_with_its_gradient_is_one_job_in_jax(open_device: Any) -> None:
    import jax

    api = FakeAPI()
    circuit = qml.set_shots(qml.QNode(ansatz, open_device([at_ibm(api)]), interface="jax"), 100)
    jax.value_and_grad(circuit)(jax.numpy.linspace(0.1, 0.8, 8))
    assert len(api.jobs) == 1


def test_several_executors_get_one_job_each(open_device: Any) -> None:
    apis = [FakeAPI(), FakeAPI()]
    gradient(open_device([at_ibm(api, name=f"{index}") for index, api in enumerate(apis)]))()
    assert [len(api.jobs) for api in apis] == [1, 1]


def test_jobs_of_single_circuits_if_asked_for(open_cluster: Any) -> None:
    api = FakeAPI()
    open_cluster(at_ibm(api, single_job=False)).execute([flip(0.1 * index, 10) for index in range(4)])
    assert len(api.jobs) == 4


def test_a_batch_that_needs_both_primitives_is_two_jobs_with_one_id() -> None:
    api = FakeAPI()
    executor = at_ibm(api, options={"resilience_level": 1})
    circuits = [flip(0.0, 10), QuantumScript([qml.X(0)], [qml.counts()], shots=10)]
    job_id = executor.submit(circuits)
    assert sorted(job["program"] for job in api.jobs.values()) == ["estimator", "sampler"]
    assert executor.poll(job_id) is JobState.DONE
    value, counts = executor.fetch(job_id)
    assert (float(value), {str(key): int(n) for key, n in counts.items()}) == (1, {"1": 10})


# -- options


def test_options_reach_the_primitive() -> None:
    api = FakeAPI()
    options = {
        "dynamical_decoupling": {"enable": True, "sequence_type": "XY4"},
        "twirling": {"enable_gates": True},
        "environment": {"job_tags": ["mine"]},
        "max_execution_time": 300,
    }
    at_ibm(api, options=options).run([flip(0.1, 10)])
    (job,) = api.jobs.values()
    assert job["params"]["options"] == {key: options[key] for key in ("dynamical_decoupling", "twirling")}
    assert (job["job_tags"], job["max_execution_time"]) == (["mine"], 300)


def test_resilience_reaches_the_estimator_with_the_exact_shots() -> None:
    api = FakeAPI()
    at_ibm(api, options={"resilience_level": 2, "resilience": {"zne_mitigation": True}}).run([flip(0.1, 1000)])
    (job,) = api.jobs.values()
    assert (job["program"], job["params"]["resilience_level"]) == ("estimator", 2)
    assert job["params"]["options"]["resilience"] == {"zne_mitigation": True}
    assert job["params"]["pubs"][0].precision == pytest.approx(1000**-0.5)


def test_circuits_are_fitted_to_the_machine_before_they_are_sent() -> None:
    api = FakeAPI()
    at_ibm(api).run([QuantumScript([qml.Toffoli([0, 1, 2])], [qml.counts()], shots=10)])
    (job,) = api.jobs.values()
    assert set(job["params"]["pubs"][0].circuit.count_ops()) <= {"rz", "sx", "x", "cx", "measure", "barrier"}


# -- how they end


def test_states_are_those_of_ibm() -> None:
    executor = at_ibm(FakeAPI(states=("Queued", "Queued", "Running", "Completed")))
    job_id = executor.submit([flip(0.0, 10)])
    states = [executor.poll(job_id) for _ in range(4)]
    assert states == [JobState.WAITING, JobState.WAITING, JobState.RUNNING, JobState.DONE]
    assert float(executor.fetch(job_id)[0]) == 1


def test_a_failed_job_raises_with_the_reason_that_ibm_gives(open_cluster: Any) -> None:
    executor = at_ibm(FakeAPI(states=("Queued", "Failed"), reason="the qubits are warm"))
    with pytest.raises(qexec.JobFailedError, match=r"^job 'job-1' failed at 'ibm_manila': Error code 6000; the qubits"):
        executor.run([flip(0.0, 10)])
    cluster = open_cluster(executor, retry=qexec.retries.never())
    with pytest.raises(qexec.ExecutorError, match="the qubits are warm"):
        cluster.execute([flip(0.0, 10)])


def test_a_cancelled_job_is_cancelled_at_ibm() -> None:
    api = FakeAPI(states=("Queued",))
    executor = at_ibm(api)
    job_id = executor.submit([flip(0.0, 10)])
    executor.cancel(job_id)
    assert executor.poll(job_id) is JobState.CANCELLED
    with pytest.raises(qexec.JobCancelledError, match=job_id):
        executor.fetch(job_id)


def test_a_job_that_has_ended_is_not_cancelled() -> None:
    api = FakeAPI()
    executor = at_ibm(api)
    job_id = executor.submit([flip(0.0, 10)])
    executor.poll(job_id)
    executor.cancel(job_id)
    assert executor.poll(job_id) is JobState.DONE


def test_if_the_second_of_two_jobs_cannot_be_sent_the_first_is_cancelled() -> None:
    api = FakeAPI(states=("Queued",))
    executor = at_ibm(api, options={"resilience_level": 1})
    run, sent = api.program_run, []

    def run_once(**arguments: Any) -> Any:
        sent.append(arguments)
        if len(sent) > 1:
            raise RuntimeError("no more")
        return run(**arguments)

    api.program_run = run_once  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="no more"):
        executor.submit([flip(0.0, 10), QuantumScript([qml.X(0)], [qml.counts()], shots=10)])
    assert [job["state"] for job in api.jobs.values()] == ["Cancelled"]


def test_if_the_second_of_two_jobs_fails_the_first_is_neither_waited_for_nor_left_running() -> None:
    api = FakeAPI(states=("Queued",), reason="the qubits are warm")
    executor = at_ibm(api, options={"resilience_level": 1})
    job_id = executor.submit([flip(0.0, 10), QuantumScript([qml.X(0)], [qml.counts()], shots=10)])
    first, second = job_id.split("+")
    api.jobs[second]["states"] = iter(("Failed",))
    assert executor.poll(job_id) is JobState.FAILED
    with pytest.raises(qexec.JobFailedError, match=f"job '{second}' failed at .* the qubits are warm"):
        executor.fetch(job_id)
    assert api.jobs[first]["state"] == "Cancelled"


# -- how they are found again


def _circuits() -> list[QuantumScript]:
    return [
        *[QuantumScript([qml.RX(0.1 * index, 0), qml.CNOT([0, 1])], [qml.probs()], shots=40) for index in range(3)],
        QuantumScript([qml.X(1)], [qml.counts(), qml.expval(qml.X(0))], shots=30),
    ]


def test_another_executor_recovers_a_job_by_its_id_and_its_circuits() -> None:
    api = FakeAPI(states=("Queued", "Running", "Completed"))
    seeded = {"simulator": {"seed_simulator": 3}}
    first = at_ibm(api, options=seeded)
    job_id = first.submit(_circuits())
    expected = first._awaited(job_id)
    second = at_ibm(api, options=seeded)
    recovered = second.recover(job_id, _circuits())
    assert len(api.jobs) == 1
    assert repr(recovered) == repr(expected)


def test_a_job_of_two_primitives_is_recovered_too() -> None:
    api = FakeAPI()
    circuits = [flip(0.0, 10), *_circuits()]
    job_id = at_ibm(api, options={"resilience_level": 1}).submit(circuits)
    recovered = at_ibm(api, options={"resilience_level": 1}).recover(job_id, circuits)
    assert float(recovered[0]) == 1
    with pytest.raises(qexec.ConfigurationError, match="is 2 jobs at the backend, and these circuits make 1"):
        at_ibm(api).recover(job_id, circuits)


def test_a_job_of_another_executor_can_be_polled_and_cancelled() -> None:
    api = FakeAPI(states=("Queued",))
    job_id = at_ibm(api).submit(_circuits())
    other = at_ibm(api)
    assert other.poll(job_id) is JobState.WAITING
    other.cancel(job_id)
    assert api.jobs[job_id]["state"] == "Cancelled"


def test_fetching_a_job_whose_circuits_are_not_known_says_how_to() -> None:
    api = FakeAPI()
    job_id = at_ibm(api).submit(_circuits())
    with pytest.raises(qexec.ConfigurationError, match=r"recover\(job_id, circuits\)"):
        at_ibm(api).fetch(job_id)


@pytest.mark.parametrize(
    "others",
    [_circuits()[:3], [one.copy(shots=7) for one in _circuits()], _circuits()[:2] + _circuits()[3:]],
    ids=["fewer", "other shots", "other rows"],
)
def test_other_circuits_than_those_that_were_sent_are_refused(others: list[QuantumScript]) -> None:
    api = FakeAPI()
    job_id = at_ibm(api).submit(_circuits())
    with pytest.raises(qexec.ConfigurationError, match="recover a job with the circuits that it was sent with"):
        at_ibm(api).recover(job_id, others)


def test_a_job_in_local_mode_is_known_to_its_executor_only() -> None:
    executor = RuntimeExecutor("aer")
    job_id = executor.submit([flip(0.0, 10)])
    assert float(executor.recover(job_id, [flip(0.0, 10)])[0]) == 1
    with pytest.raises(qexec.ConfigurationError, match="only by the executor that sent them"):
        RuntimeExecutor("aer").recover(job_id, [flip(0.0, 10)])


def test_a_job_that_ibm_does_not_have_is_said_not_to_be_there() -> None:
    executor = at_ibm(FakeAPI())
    for ask in (executor.poll, executor.fetch, executor.cancel):
        with pytest.raises(qexec.ConfigurationError, match="IBM Quantum has no job 'd0n3'"):
            ask("d0n3")


# -- and by their labels


BOTH = {"resilience_level": 1}


def _of_both() -> list[QuantumScript]:
    """Circuits of which the Estimator runs one, and the Sampler the other."""
    return [flip(0.0, 10), QuantumScript([qml.X(1)], [qml.counts(wires=[0, 1])], shots=30)]


def test_a_label_is_a_tag_beside_those_of_the_user() -> None:
    api = FakeAPI()
    executor = at_ibm(api, options={"environment": {"job_tags": ["mine"]}})
    executor.submit_labelled([flip(0.0, 10)], "run-7.3")
    executor.submit([flip(0.0, 10)])
    assert [job["job_tags"] for job in api.jobs.values()] == [["mine", "run-7.3"], ["mine"]]


def test_a_job_is_found_by_its_label_and_recovered() -> None:
    api = FakeAPI()
    executor = at_ibm(api)
    executor.submit_labelled([flip(np.pi, 10)], "one")
    job_id = executor.submit_labelled([flip(0.0, 10)], "two")
    other = at_ibm(api)
    assert (other.labels, other.find("two"), other.find("three")) == (True, job_id, None)
    assert other.recover(job_id, [flip(0.0, 10)]) == [1]


def test_of_more_jobs_with_a_label_than_ibm_lists_at_once_the_first_that_is_well_is_found() -> None:
    api = FakeAPI(states=("Queued",))
    executor = at_ibm(api)
    job_ids = [executor.submit_labelled([flip(0.0, 10)], "label") for _ in range(25)]
    for job_id in job_ids[:23]:
        executor.cancel(job_id)
    assert at_ibm(api).find("label") == job_ids[23]


def test_a_job_of_two_primitives_is_found_with_both_its_parts() -> None:
    api = FakeAPI()
    job_id = at_ibm(api, options=BOTH).submit_labelled(_of_both(), "label")
    assert len(api.jobs) == 2
    assert at_ibm(api, options=BOTH).find("label") == job_id
    counts = at_ibm(api, options=BOTH).recover(job_id, _of_both())[1]
    assert counts == {"01": 30}


@pytest.mark.parametrize("left", ["Queued", "Completed"])
def test_a_job_of_two_primitives_of_which_one_is_missing_is_given_up(left: str) -> None:
    api = FakeAPI(states=(left,))
    job_id = at_ibm(api, options=BOTH).submit_labelled(_of_both(), "label")
    first, second = job_id.split("+")
    del api.jobs[second]  # the process died before it had sent the second part
    assert at_ibm(api, options=BOTH).find("label") is None
    assert api.jobs[first]["state"] == ("Completed" if left == "Completed" else "Cancelled")


def test_parts_that_were_sent_again_are_found_beside_a_part_that_was_given_up() -> None:
    api = FakeAPI(states=("Queued",))
    executor = at_ibm(api, options=BOTH)
    _, second = executor.submit_labelled(_of_both(), "label").split("+")
    api.job_cancel(second)
    assert executor.find("label") is None
    assert executor.submit_labelled(_of_both(), "label") == executor.find("label") == "job-3+job-4"


def test_jobs_of_local_mode_have_no_labels() -> None:
    executor = RuntimeExecutor("aer")
    job_id = executor.submit_labelled([flip(0.0, 10)], "label")
    assert (executor.labels, executor.find("label")) == (False, None)
    assert executor._awaited(job_id) == [1]


# -- the machine


def test_the_least_busy_machine_with_enough_qubits_is_taken_once() -> None:
    api = FakeAPI()
    executor = at_ibm(api, "least_busy", wires=3)
    assert executor.backend == "least_busy"
    executor.run([flip(0.1, 10)])
    executor.run([flip(0.2, 10)])
    assert executor.backend == "ibm_manila"
    assert executor.machine._account.service().asked == [3]  # type: ignore[attr-defined]


def test_nothing_is_asked_before_the_first_job() -> None:
    service = FakeService(FakeAPI())
    executor = RuntimeExecutor("ibm_manila", service=service)
    assert (executor.status(), executor.rejects(flip(0.1, 10)), service.asked) == (qexec.Status(), None, [])


def test_the_status_is_that_of_the_machine() -> None:
    executor = at_ibm(FakeAPI())
    executor.run([flip(0.1, 10)])
    assert executor.status() == qexec.Status(online=True, queue_length=7)


def test_more_shots_than_the_machine_takes_are_refused() -> None:
    executor = at_ibm(FakeAPI())
    executor.run([flip(0.1, 10)])
    assert "takes at most" in str(executor.rejects(flip(0.1, 10_000_000)))


def test_a_machine_that_is_not_there_is_named() -> None:
    with pytest.raises(qexec.ConfigurationError, match="'ibm_paris' is none that this account may use"):
        at_ibm(FakeAPI(), "ibm_paris").run([flip(0.1, 10)])


# -- sessions


@pytest.mark.parametrize(("mode", "kind"), [("session", "dedicated"), ("batch", "batch")])
def test_jobs_share_a_session_that_closing_ends(open_cluster: Any, mode: Any, kind: str) -> None:
    api = FakeAPI()
    executor = at_ibm(api, mode=mode, max_time="1h 30m")
    cluster = open_cluster(executor)
    assert not api.sessions
    for angle in (0.1, 0.2):
        cluster.execute([flip(angle, 10)])
    (session_id,) = api.sessions
    assert api.sessions[session_id] == {"mode": kind, "max_ttl": 5400, "state": "active", "accepting_jobs": True}
    assert {job["session"] for job in api.jobs.values()} == {session_id} == {executor.session_id}
    cluster.close()
    assert api.sessions[session_id]["state"] == "closed"


def test_a_session_that_has_ended_is_opened_again_with_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    api = FakeAPI()
    executor = at_ibm(api, mode="session")
    executor.run([flip(0.1, 10)])
    api.close_session(str(executor.session_id))
    with caplog.at_level(logging.INFO, "pennylane_qexec"):
        assert float(executor.run([flip(0.0, 10)])[0]) == 1
    assert [record.message for record in caplog.records if record.name == "pennylane_qexec"] == [
        "the session on 'ibm_manila' has ended; opening another one"
    ]
    assert [session["state"] for session in api.sessions.values()] == ["closed", "active"]


def test_a_session_whose_first_job_cannot_be_sent_is_ended() -> None:
    api = FakeAPI()
    api.broken = RuntimeError("not now")
    executor = at_ibm(api, mode="session")
    with pytest.raises(RuntimeError, match="not now"):
        executor.submit([flip(0.1, 10)])
    assert [session["state"] for session in api.sessions.values()] == ["closed"]


def test_a_session_goes_on_after_a_job_that_could_not_be_sent() -> None:
    api = FakeAPI()
    executor = at_ibm(api, mode="session")
    executor.run([flip(0.1, 10)])
    api.broken = RuntimeError("not now")
    with pytest.raises(RuntimeError, match="not now"):
        executor.submit([flip(0.1, 10)])
    executor.run([flip(0.1, 10)])
    assert [session["state"] for session in api.sessions.values()] == ["active"]


def test_closing_twice_is_closing_once_and_a_job_opens_another_session() -> None:
    api = FakeAPI()
    executor = at_ibm(api, mode="session")
    executor.close()
    executor.run([flip(0.1, 10)])
    executor.close()
    executor.close()
    executor.run([flip(0.1, 10)])
    assert [session["state"] for session in api.sessions.values()] == ["closed", "active"]


@pytest.mark.slow
def test_a_session_ends_with_the_program() -> None:
    program = (
        "from ibm import FakeAPI, FakeService\n"
        "from pennylane_qexec import RuntimeExecutor\n"
        "from pennylane_qexec.testing import flip\n"
        "api = FakeAPI()\n"
        "api.close_session = lambda session_id: print('closed', session_id)\n"
        "executor = RuntimeExecutor('ibm_manila', service=FakeService(api), mode='session')\n"
        "executor.submit([flip(0.1, 10)])\n"
        "print('the end')\n"
    )
    ran = programs.run(program)
    assert ran.stdout.splitlines() == ["the end", "closed session-1"], ran.stderr
