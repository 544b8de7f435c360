"""JAX: circuits of one structure in one compiled function give what they would give one by one."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cloudpickle
import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.executors.jax import JaxExecutor, compiler

ANGLES = np.array([[0.3, 1.1], [-0.7, 0.4], [2.0, -1.3]])


def make(**options: Any) -> JaxExecutor:
    """An executor that compiles at once, and leaves nothing on disk."""
    return JaxExecutor(**{"compile": "now", "cache": False, **options})


def circuit(angles: Sequence[float], *measurements: Any, shots: Any = None) -> QuantumScript:
    """A circuit of two wires that do not come in the order of their numbers."""
    operations = [qml.RX(angles[0], 1), qml.CNOT([1, 0]), qml.RY(angles[1], 0)]
    return QuantumScript(operations, list(measurements) or [qml.expval(qml.Z(0))], shots=shots)


def circuits(*measurements: Any, shots: Any = None, angles: Any = ANGLES) -> list[QuantumScript]:
    """Circuits that differ in their angles."""
    return [circuit(row, *measurements, shots=shots) for row in angles]


def exact(batch: Sequence[QuantumScript]) -> Any:
    """What default.qubit says without shots."""
    return qml.execute([one.copy(shots=None) for one in batch], qml.device("default.qubit"))


@pytest.mark.slow
def test_exact_results_of_all_measurements_are_those_of_default_qubit() -> None:
    batch = circuits(
        qml.expval(qml.X(0) @ qml.Y(1) + 0.5 * qml.Z(1)),
        qml.expval(qml.Hermitian(np.array([[1, 1j], [-1j, 0]]), 1)),
        qml.var(qml.X(1)),
        qml.probs(wires=[1, 0]),
        qml.probs(op=qml.Y(0)),
        qml.state(),
        qml.density_matrix([1]),
        qml.vn_entropy([0]),
        qml.mutual_info([0], [1]),
        qml.purity([0]),
    )
    executor = make()
    results = executor.run(batch)
    assert executor.compiled == 1
    for result, expected in zip(results, exact(batch), strict=True):
        assert isinstance(result, tuple)
        for one, other in zip(result, expected, strict=True):
            assert np.shape(one) == np.shape(other)
            assert np.allclose(one, other, rtol=0, atol=1e-10)


def test_a_single_exact_result_is_a_number_and_no_tuple() -> None:
    (result, *_) = make().run(circuits())
    assert isinstance(result, np.float64)


def test_exact_results_are_arrays_of_the_users_own() -> None:
    (result, *_) = make().run(circuits(qml.probs(wires=[0])))
    result += 1
    assert result.sum() == pytest.approx(3)


def test_sampled_results_are_distributed_as_on_default_qubit() -> None:
    """Each within 5 standard errors of 20000 shots: 0.035 for values of at most 1, twice that for variances."""
    measurements = (qml.expval(qml.X(0) @ qml.Y(1)), qml.expval(qml.Z(1)), qml.var(qml.Z(0)), qml.probs(wires=[1, 0]))
    batch = circuits(*measurements, shots=20_000)
    executor = make(seed=7)
    results = executor.run(batch)
    assert executor.compiled == 1
    for result, expected in zip(results, exact(batch), strict=True):
        for one, other, tolerance in zip(result, expected, (0.035, 0.035, 0.07, 0.018), strict=True):
            assert np.shape(one) == np.shape(other)
            assert np.allclose(one, other, rtol=0, atol=tolerance)


def test_samples_and_counts_are_drawn_from_the_same_distribution() -> None:
    """Both within 5 standard errors of 20000 shots of each probability, which is 0.018 at most."""
    batch = circuits(qml.sample(wires=[1, 0]), qml.counts(wires=[1, 0]), shots=20_000)
    wanted = exact(circuits(qml.probs(wires=[1, 0])))
    for (samples, counts), probabilities in zip(make(seed=3).run(batch), wanted, strict=True):
        assert samples.shape == (20_000, 2)
        frequencies = np.bincount(samples @ [2, 1], minlength=4) / 20_000
        counted = np.array([counts.get(key, 0) for key in ("00", "01", "10", "11")]) / 20_000
        assert np.allclose(frequencies, probabilities, rtol=0, atol=0.018)
        assert np.allclose(counted, probabilities, rtol=0, atol=0.018)


def test_few_shots_of_many_wires_are_drawn_one_by_one_and_none_is_lost() -> None:
    operations = [qml.RY(1.1, wire) for wire in range(6)]
    results = make(seed=1).run([QuantumScript(operations, [qml.counts(wires=range(6))], shots=9)] * 2)
    assert [sum(counts.values()) for counts in results] == [9, 9]


MIXED = [
    *circuits(qml.expval(qml.Z(0)), shots=50),
    *circuits(qml.sample(wires=[0, 1]), qml.expval(qml.X(0)), shots=20),
    *circuits(qml.expval(qml.Z(0)), shots=50),
    QuantumScript([qml.H(0)], [qml.sample(wires=[0])], shots=5),
]
"""Circuits of two structures, and one that is not worth compiling."""


def same(one: Any, other: Any) -> bool:
    """Whether results are equal in all that they consist of."""
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(np.array_equal(one, other))


@pytest.fixture(scope="module")
def at_once() -> Any:
    """The results of ``MIXED``, in one batch."""
    return make(seed=5).run(MIXED)


@pytest.mark.slow
def test_with_a_seed_circuits_give_one_by_one_what_they_give_together(at_once: Any) -> None:
    executor = make(seed=5)
    assert same(at_once, [executor.run([one])[0] for one in MIXED])


@pytest.mark.parametrize("options", [{"chunk": 2}, {"compile": "never"}])
def test_with_a_seed_it_makes_no_difference_how_circuits_are_computed(at_once: Any, options: Any) -> None:
    assert same(at_once, make(seed=5, **options).run(MIXED))


def test_replicas_draw_from_streams_of_their_own(at_once: Any) -> None:
    replica = cloudpickle.loads(cloudpickle.dumps(make(seed=5, compile="never")))
    replica.become_replica(0)
    assert not same(at_once, replica.run(MIXED))


def test_without_a_seed_two_runs_differ() -> None:
    executor = make()
    batch = circuits(qml.sample(wires=[0, 1]), shots=100)
    assert not same(executor.run(batch), executor.run(batch))


def test_batches_of_similar_sizes_share_a_function_and_numbers_of_shots_do_too() -> None:
    executor = make()
    for number in (4, 3, 4):
        executor.run(circuits(angles=ANGLES[[0, 1, 2, 1][:number]], shots=10))
    executor.run(circuits(shots=20))
    assert executor.compiled == 1


def test_many_circuits_run_in_chunks_of_one_size() -> None:
    angles = np.random.default_rng(0).uniform(-3, 3, (10, 2))
    executor = make(chunk=4)
    assert np.allclose(executor.run(circuits(angles=angles)), exact(circuits(angles=angles)), rtol=0, atol=1e-10)
    assert executor.compiled == 1


def test_while_a_function_is_compiled_in_the_background_circuits_run_one_by_one() -> None:
    executor, gate = make(compile="background"), threading.Event()
    executor._fusion.queue.add("gate", lambda: bool(gate.wait()))
    for _ in range(3):
        assert np.allclose(executor.run(circuits()), exact(circuits()), rtol=0, atol=1e-10)
    assert not executor.wait(timeout=0)
    assert executor.compiled == 0
    gate.set()
    assert executor.wait()
    assert executor.compiled == 1
    assert np.allclose(executor.run(circuits()), exact(circuits()), rtol=0, atol=1e-10)
    assert executor.compiled == 1


def test_where_it_is_not_clear_which_way_is_faster_both_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pennylane_qexec.executors.jax.batches._UNBEATABLE", 0.0)
    executor = make()
    results = [executor.run(circuits()) for _ in range(8)]
    assert np.allclose(results, exact(circuits()), rtol=0, atol=1e-10)


def test_circuits_that_come_once_are_not_compiled_in_the_background() -> None:
    executor = make(compile="background")
    executor.run(circuits(shots=10))
    assert executor.wait()
    assert executor.compiled == 0


def test_what_cannot_be_traced_runs_one_by_one_and_is_said_once_in_the_log(caplog: Any) -> None:
    observable = qml.SparseHamiltonian(qml.Z(0).sparse_matrix(), wires=[0])
    executor, batch = make(), circuits(qml.expval(observable))
    with caplog.at_level(logging.DEBUG, "pennylane_qexec"):
        for _ in range(2):
            assert np.allclose(executor.run(batch), exact(batch), rtol=0, atol=1e-10)
    assert executor.compiled == 0
    assert [record.message for record in caplog.records if "cannot be compiled" in record.message] != []
    assert len(caplog.records) == 1


def test_circuits_that_have_to_be_prepared_are_compiled_as_they_are_then() -> None:
    weights = np.random.default_rng(0).uniform(-3, 3, (3, 1, 2))
    batch = [QuantumScript([qml.BasicEntanglerLayers(one, [0, 1])], [qml.expval(qml.Z(1))]) for one in weights]
    executor = make()
    assert np.allclose(executor.run(batch), exact(batch), rtol=0, atol=1e-10)
    assert executor.compiled == 1


def test_mid_circuit_measurements_and_shot_vectors_run_on_the_simulator() -> None:
    def measured() -> Any:
        qml.X(0)
        return qml.expval(qml.measure(0))

    (outcome,) = make().run([qml.tape.make_qscript(measured, shots=20)()])
    assert float(outcome) == 1
    (vector,) = make().run([circuit([np.pi, 0.0], shots=(10, 20))])
    assert [float(value) for value in vector] == [-1, -1]


def test_labels_of_wires_keep_their_order(open_device: Any) -> None:
    device = open_device([make()], wires=["b", 7, "a"])

    @qml.qnode(device)
    def probabilities(angle: Any) -> Any:
        qml.RX(angle, "a")
        qml.X("b")
        return qml.probs()

    expected = np.array([np.cos(0.2) ** 2, np.sin(0.2) ** 2])
    assert np.allclose(probabilities(0.4).reshape(2, 2, 2)[1, 0], expected, rtol=0, atol=1e-10)


def test_broadcasted_circuits_give_a_result_for_each_value(open_device: Any) -> None:
    node = qml.QNode(lambda angle: (qml.RX(angle, 0), qml.expval(qml.Z(0)))[1], open_device([make()]))
    angles = np.linspace(0, 1, 5)
    assert np.allclose(node(angles), np.cos(angles), rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", ["parameter-shift", "adjoint", "backprop"])
def test_gradients_are_those_of_default_qubit(open_device: Any, method: str) -> None:
    def cost(angles: Any) -> Any:
        qml.RX(angles[0], 0)
        qml.CNOT([0, 1])
        qml.RY(angles[1], 1)
        return qml.expval(qml.X(1))

    angles = qml.numpy.array([0.3, 0.8], requires_grad=True)
    ours = qml.QNode(cost, open_device([make()]), diff_method=method)
    theirs = qml.QNode(cost, qml.device("default.qubit"), diff_method=method)
    assert np.allclose(qml.grad(ours)(angles), qml.grad(theirs)(angles), rtol=0, atol=1e-10)


def test_a_gradient_with_shots_compiles_one_function_for_all_shifted_circuits(open_device: Any) -> None:
    executor = make(seed=2)
    node = qml.QNode(lambda angle: (qml.RX(angle, 0), qml.expval(qml.Z(0)))[1], open_device([executor]), shots=10_000)
    node(0.5)
    assert executor.compiled == 1
    # Two shifted circuits with 10000 shots each: 5 standard errors are 0.03.
    assert float(qml.grad(node)(qml.numpy.array(0.5))) == pytest.approx(-np.sin(0.5), abs=0.03)
    assert executor.compiled == 2


def test_threads_with_different_circuits_do_not_disturb_each_other() -> None:
    executor = make()

    def run(number: int) -> bool:
        batch = circuits(qml.expval(qml.Z(number % 2)))
        return np.allclose(executor.run(batch), exact(batch), rtol=0, atol=1e-10)

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(run, range(12)))


def test_the_user_keeps_32_bits_where_he_has_them() -> None:
    import jax

    make().run(circuits())
    assert jax.numpy.ones(1).dtype == np.float32


def test_too_many_wires_are_refused_with_the_memory_they_need() -> None:
    reason = make().rejects(QuantumScript([qml.RX(0.1, wire) for wire in range(50)], [qml.expval(qml.Z(0))]))
    assert reason is not None
    assert "GiB of memory for 50 wires" in reason


def test_a_missing_jax_is_named_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)
    with pytest.raises(qexec.errors.ConfigurationError, match=r"pip install 'pennylane-qexec\[jax\]'"):
        make()


def test_a_jax_that_is_too_new_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import jax

    monkeypatch.setattr(jax, "__version_info__", (0, 11, 0))
    with pytest.raises(qexec.errors.ConfigurationError, match=r"pip install 'jax<0.11'"):
        make()


@pytest.mark.parametrize(
    "options", [{"platform": "gpuu"}, {"compile": "later"}, {"chunk": 0}, {"chunk": 1.5}, {"seed": -1}]
)
def test_options_that_make_no_sense_are_refused(options: Any) -> None:
    with pytest.raises(qexec.errors.ConfigurationError):
        make(**options)


def test_the_spec_jax_makes_this_executor() -> None:
    executor = qexec.executor({"type": "jax:cpu", "cache": False})
    assert isinstance(executor, JaxExecutor)
    assert executor.name == "jax:cpu"


@pytest.mark.parametrize("odd", [lambda x: qml.RX(np.array([x]), 0), lambda x: qml.Projector([0], [0])])
def test_what_the_simulator_does_besides_multiplying_is_left_to_it(odd: Any) -> None:
    """Broadcasting, even over one value, and projections, after which the state is scaled up again."""
    circuits = [QuantumScript([qml.RY(x, 0), odd(x), qml.RY(0.2, 0)], [qml.expval(qml.Z(0))]) for x in (0.3, 0.7)]
    results = JaxExecutor(compile="now", cache=False).run(circuits)
    expected = qml.execute(circuits, qml.device("default.qubit"), None)
    assert [np.shape(one) for one in results] == [np.shape(one) for one in expected]
    assert np.allclose(results, expected)


def test_the_memory_of_the_processor_is_that_of_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    here = compiler.Platform("cpu")
    monkeypatch.setattr(compiler, "free_memory", lambda: 3.0 * 2**20)
    assert here.free_bytes() == 3 * 2**20
    monkeypatch.setattr(compiler, "free_memory", lambda: -1.0)  # a container that has more than it may have
    assert here.free_bytes() == 0
