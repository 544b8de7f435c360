"""Qiskit Runtime in local mode: what is run, with how many shots, and what comes back."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import SamplerV2
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from qiskit_ibm_runtime.fake_provider.local_service import QiskitRuntimeLocalService

import pennylane_qexec as qexec
from pennylane_qexec.executors.runtime import RuntimeExecutor
from pennylane_qexec.executors.runtime.plans import precision
from pennylane_qexec.job import Work
from pennylane_qexec.testing import flip

BELL = [qml.Hadamard(0), qml.CNOT([0, 1])]


def plain(counted: Any) -> dict[str, int]:
    return {str(key): int(count) for key, count in counted.items()}


def turned(angle: float, *measurements: Any, shots: int = 1000) -> QuantumScript:
    return QuantumScript([qml.RX(angle, 0), qml.CNOT([0, 1]), qml.RY(angle, 1)], measurements, shots=shots)


def energy() -> Any:
    return qml.expval(qml.Z(0) @ qml.Z(1) + 0.5 * qml.X(0) + 2 * qml.I(0))


def exact(circuit: QuantumScript) -> Any:
    return qml.execute([circuit.copy(shots=None)], qml.device("default.qubit"))[0]


# -- the same as Qiskit's own primitive


def test_counts_are_those_of_the_primitive_itself_at_the_same_seed() -> None:
    backend, angle, seeded = FakeManilaV2(), Parameter("angle"), {"simulator": {"seed_simulator": 11}}
    circuit = QuantumCircuit(3, 3)
    circuit.rx(angle, 0)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    circuit.measure([0, 1, 2], [2, 1, 0])
    fitted = generate_preset_pass_manager(1, backend=backend, seed_transpiler=7).run(circuit)
    (answer,) = SamplerV2(mode=backend, options=seeded).run([(fitted, [[0.3], [0.6]], 800)]).result()
    expected = [answer.data.c[row].get_counts() for row in (0, 1)]

    executor = RuntimeExecutor("fake_manila", options=seeded, optimization_level=1, seed_transpiler=7)
    tapes = [
        QuantumScript([qml.RX(value, 0), qml.CNOT([0, 1]), qml.CNOT([1, 2])], [qml.counts(wires=[0, 1, 2])], shots=800)
        for value in (0.3, 0.6)
    ]
    assert [plain(counted) for counted in executor.run(tapes)] == expected


def test_a_seed_repeats_a_program_and_not_a_job() -> None:
    def run() -> list[Any]:
        executor = RuntimeExecutor("aer", seed=4)
        return [np.asarray(executor.run([QuantumScript(BELL, [qml.sample()], shots=50)])[0]) for _ in range(2)]

    first, second = run(), run()
    assert all(map(np.array_equal, first, second))
    assert not np.array_equal(first[0], first[1])


# -- fusion and shots


def test_circuits_of_one_structure_are_one_pub_for_each_group_of_measurements() -> None:
    executor = RuntimeExecutor("aer")
    pubs = executor.pubs([turned(0.1 * index, energy()) for index in range(9)])["sampler"]
    assert [parameters.shape for _, parameters, _ in pubs] == [(9, 2), (9, 2)]


def test_circuits_with_different_shots_are_run_with_theirs() -> None:
    shots = [1000, 7, 1000, 513]
    results = RuntimeExecutor("aer").run([QuantumScript(BELL, [qml.counts()], shots=number) for number in shots])
    assert [sum(plain(counted).values()) for counted in results] == shots


def test_a_classical_shadow_has_just_the_shots_that_were_asked() -> None:
    circuit = QuantumScript(BELL, [qml.classical_shadow(wires=[0, 1], seed=3)], shots=100)
    pubs = RuntimeExecutor("aer").pubs([circuit])["sampler"]
    assert sum(len(parameters) * shots for _, parameters, shots in pubs) == 100
    assert len({id(fitted) for fitted, _, _ in pubs}) == 1


@pytest.mark.parametrize("asked", [10, 100])
def test_a_classical_shadow_has_just_the_shots_of_an_executor_with_its_own(open_device: Any, asked: int) -> None:
    device = open_device([qexec.QiskitExecutor("sampler", "aer", shots=100)])
    circuit = QuantumScript(BELL, [qml.classical_shadow(wires=[0, 1], seed=3)], shots=asked)
    (shadow,) = qml.execute([circuit], device, diff_method=None)
    assert np.shape(shadow) == (2, 100, 2)
    assert sum(row.shots for row in device.history) == 100


def test_an_estimator_is_asked_for_a_precision_that_means_exactly_the_shots() -> None:
    for shots in (*range(1, 3000), 10_000, 99_999, 1_000_000, 10_000_019):
        assert math.ceil(1 / precision(shots) ** 2) == shots


def test_the_estimator_runs_exactly_the_shots_that_were_asked() -> None:
    executor = RuntimeExecutor("aer", primitive="estimator", seed=1)
    circuits = [flip(0.3, shots) for shots in (1000, 1000, 999, 4096)]
    job_id = executor.submit(circuits)
    results = executor.fetch(job_id)
    (job,) = executor._jobs.get(job_id).parts  # type: ignore[union-attr]
    assert [answer.metadata["shots"] for answer in job.download("aer")] == [1000, 999, 4096]
    assert len(results) == 4


def test_a_structure_is_compiled_once_whatever_its_shots() -> None:
    executor = RuntimeExecutor("fake_manila")
    first = executor.pubs([turned(0.1, energy())])["sampler"]
    second = executor.pubs([turned(0.2, energy(), shots=70), turned(0.3, energy(), shots=70)])["sampler"]
    assert all(one[0] is other[0] for one, other in zip(first, second, strict=True))


# -- results


@pytest.mark.parametrize(
    "measurement",
    [
        qml.expval(qml.Z(0) @ qml.X(1)),
        energy(),
        qml.var(qml.Y(0)),
        qml.probs(wires=[1, 0]),
        qml.probs(),
        qml.expval(qml.Hermitian(np.array([[1, 0.5j], [-0.5j, 2]]), 1)),
        qml.var(qml.Hermitian(np.array([[1, 0.5], [0.5, 2]]), 1)),
        qml.expval(qml.Projector([1], 0)),
    ],
    ids=str,
)
def test_numbers_are_near_the_exact_ones(measurement: Any) -> None:
    """4000 shots; the spectra are within [-1.5, 3.5], so that 5 standard errors are at most 5 * 2.5 / 63 = 0.2."""
    circuit = turned(0.7, measurement, shots=4000)
    (result,) = RuntimeExecutor("aer", seed=3).run([circuit])
    assert np.shape(result) == np.shape(exact(circuit))
    assert np.allclose(result, exact(circuit), atol=0.2)


def test_shadows_samples_and_counts_have_the_shapes_that_pennylane_gives_them() -> None:
    measurements = [
        qml.sample(qml.Z(0)),
        qml.sample(wires=[0, 1]),
        qml.counts(all_outcomes=True),
        qml.classical_shadow(wires=[0, 1], seed=5),
        qml.shadow_expval(qml.Z(0) @ qml.Z(1), seed=5),
    ]
    circuit = QuantumScript(BELL, measurements, shots=60)
    (result,) = RuntimeExecutor("aer", seed=3).run([circuit])
    (expected,) = qml.execute([circuit], qml.device("default.qubit", seed=1))
    assert [np.shape(one) for one in result] == [np.shape(one) for one in expected]
    assert set(plain(result[2])) == set(plain(expected[2]))
    assert np.array_equal(result[3][1], expected[3][1])  # the recipes, which a seed decides


def test_more_wires_than_a_table_has_columns_for() -> None:
    circuit = QuantumScript([qml.X(wire) for wire in (0, 9, 13)], [qml.counts(), qml.expval(qml.Z(9))], shots=30)
    ((counted, value),) = RuntimeExecutor("aer", wires=14).run([circuit])
    assert plain(counted) == {"10000000010001": 30}
    assert float(value) == -1


def test_mid_circuit_measurements_are_deferred(open_device: Any) -> None:
    @qml.set_shots(50)
    @qml.qnode(open_device([RuntimeExecutor("aer")]))
    def circuit() -> Any:
        qml.X(0)
        outcome = qml.measure(0, reset=True)
        qml.cond(outcome, qml.X)(1)
        return qml.counts(wires=[0, 1]), qml.expval(outcome)

    counted, value = circuit()
    assert plain(counted) == {"01": 50}
    assert float(value) == 1


def test_gradients_are_near_the_exact_ones(open_device: Any) -> None:
    """A derivative is half the difference of two means of 1000 shots: 5 standard errors are at most 0.12."""

    def circuit(x: Any) -> Any:
        qml.RX(x[0], 0)
        qml.CNOT([0, 1])
        qml.RY(x[1], 1)
        return qml.expval(qml.Z(0) @ qml.Z(1))

    x = qml.numpy.array([0.4, 0.8], requires_grad=True)
    noisy = qml.set_shots(qml.QNode(circuit, open_device([RuntimeExecutor("aer", seed=5)])), 1000)
    expected = qml.grad(qml.QNode(circuit, qml.device("default.qubit")))(x)
    assert np.allclose(qml.grad(noisy)(x), expected, atol=0.12)


# -- the Estimator


def test_the_estimator_gives_expectation_values_with_constants() -> None:
    """4000 shots: 5 standard errors of a weight of 1.5 in all are 0.12."""
    circuits = [turned(angle, energy(), qml.expval(qml.Y(1)), shots=4000) for angle in (0.2, 0.9)]
    results = RuntimeExecutor("aer", primitive="estimator", seed=2).run(circuits)
    assert np.allclose(results, [exact(circuit) for circuit in circuits], atol=0.12)


def test_an_option_that_only_the_estimator_has_sends_it_what_it_can_do() -> None:
    with pytest.warns(UserWarning, match="resilience_level: no effect on 'aer'"):
        executor = RuntimeExecutor("aer", options={"resilience_level": 1})
    pubs = executor.pubs([flip(0.1, 100), turned(0.1, qml.counts()), turned(0.2, qml.var(qml.Z(0)))])
    assert {primitive: len(made) for primitive, made in pubs.items()} == {"estimator": 1, "sampler": 2}
    results = executor.run([flip(0.0, 100), turned(0.0, qml.counts())])
    assert (float(results[0]), plain(results[1])) == (1.0, {"00": 1000})


def test_a_circuit_that_the_transpiler_would_panic_over_is_run() -> None:
    circuit = QuantumScript([qml.OrbitalRotation(0.3, range(4))], [qml.probs()], shots=10)
    assert np.array_equal(RuntimeExecutor("aer", optimization_level=3).run([circuit])[0], np.eye(16)[0])


@pytest.mark.parametrize("measurement", [qml.var(qml.Z(0)), qml.counts(), qml.expval(qml.I(0))], ids=str)
def test_the_estimator_alone_refuses_what_it_cannot_do(measurement: Any) -> None:
    executor = RuntimeExecutor("aer", primitive="estimator")
    assert "primitive='estimator'" in str(executor.rejects(turned(0.1, measurement)))
    assert executor.rejects(flip(0.1, 10)) is None
    with pytest.raises(qexec.ConfigurationError, match="has to be sampled"):
        executor.submit([turned(0.1, measurement)])


# -- what does not fit


@pytest.mark.parametrize(
    ("circuit", "reason"),
    [
        (flip(0.1), "needs a number of shots"),
        (QuantumScript([qml.X(wire) for wire in range(6)], [qml.counts()], shots=5), "has 5 qubits"),
        (QuantumScript([qml.X(0)], [qml.state()], shots=5), "is not accepted with finite shots"),
        (flip(0.1, 200), "takes at most 100 shots"),
    ],
    ids=["analytic", "wide", "state", "shots"],
)
def test_what_does_not_fit_is_refused_before_it_is_sent(circuit: QuantumScript, reason: str) -> None:
    executor = RuntimeExecutor("fake_manila", max_shots=100)
    assert reason in str(executor.rejects(circuit))


def test_wires_that_it_does_not_have_are_refused() -> None:
    executor = RuntimeExecutor("aer", wires=["a", "b"])
    assert executor.rejects(flip(0.1, 10, "a")) is None
    assert "has 2 wires, and no wire 'c'" in str(executor.rejects(flip(0.1, 10, "c")))


def test_a_measurement_of_everything_measures_all_wires_of_the_executor() -> None:
    (result,) = RuntimeExecutor("aer", wires=3).run([QuantumScript([qml.X(1)], [qml.probs()], shots=10)])
    assert np.array_equal(result, [0, 0, 1, 0, 0, 0, 0, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"backend": "fake_manilla"}, r"Did you mean 'fake_manila'\?"),
        ({"backend": "ibmq_quito"}, "'fake_quito' simulates it"),
        ({"backend": 3}, "is no backend of Qiskit"),
        ({"backend": ""}, "names nothing"),
        ({"backend": "aer", "primitive": "smapler"}, r"Did you mean 'sampler'\?"),
        ({"backend": "aer", "optimization_level": 4}, "must be 0, 1, 2 or 3"),
        ({"backend": "aer", "seed": -1}, "seed=-1"),
        ({"backend": "aer", "seed": 1, "options": {"simulator": {"seed_simulator": 2}}}, "give one"),
        ({"backend": "aer", "mode": "sesion"}, r"Did you mean 'session'\?"),
        ({"backend": "aer", "max_time": 60}, "give mode='session' or 'batch'"),
        ({"backend": "aer", "mode": "batch", "max_time": "soon"}, "'1h 30m'"),
        ({"backend": "ibm_torino", "channel": "ibm_quantum"}, "channel='ibm_quantum' is not known"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_with_what_to_do(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(qexec.ConfigurationError, match=message):
        RuntimeExecutor(**arguments)


def test_specs_make_it() -> None:
    executor = qexec.executor("ibm:fake_manila", wires=3)
    assert isinstance(executor, RuntimeExecutor)
    assert (executor.name, executor.backend, len(executor.wires or ())) == ("ibm:fake_manila", "fake_manila", 3)
    assert qexec.executor("ibm:least_busy").backend == "least_busy"


def test_a_backend_of_qiskit_will_do() -> None:
    executor = RuntimeExecutor(FakeManilaV2())
    assert executor.backend == "fake_manila"
    assert float(executor.run([flip(0.0, 100)])[0]) > 0.8


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Properties of fake_nighthawk")
def test_a_local_service_will_do() -> None:
    executor = RuntimeExecutor("fake_manila", service=QiskitRuntimeLocalService(), mode="batch")
    assert float(executor.run([flip(0.0, 100)])[0]) > 0.8
    executor.close()


@pytest.mark.slow
def test_numbers_decide_on_what_a_job_in_local_mode_draws() -> None:
    circuits = (turned(0.4, qml.sample(wires=[0, 1])), turned(0.6, energy()))
    executor, replica, other = (
        RuntimeExecutor("aer", seed=1),
        RuntimeExecutor("aer", seed=1),
        RuntimeExecutor("aer", seed=2),
    )
    replica.become_replica(1)
    samples, value = executor.perform(Work(circuits, numbers=(4, 5)))
    executor.run(circuits)
    for again in (executor, replica):
        same, equal = again.perform(Work(circuits, numbers=(4, 5)))
        assert np.array_equal(samples, same)
        assert value == equal
    for work in (Work(circuits, numbers=(4, 6)), Work(circuits)):
        assert not np.array_equal(samples, executor.perform(work)[0])
    assert not np.array_equal(samples, other.perform(Work(circuits, numbers=(4, 5)))[0])
