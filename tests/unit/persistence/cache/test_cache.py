"""Clusters with a cache: what is known is answered, and what is not known is run."""

from __future__ import annotations

import pickle
import threading
import warnings
from collections.abc import Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Call, Job
from pennylane_qexec.testing import ScriptedExecutor, flip


class Known(ScriptedExecutor):
    """An executor that says what its results depend on.

    Args:
        identity: that.
        repeats: whether its samples follow from a seed.
    """

    def __init__(self, name: str = "known", identity: str = "known", repeats: bool = False, **options: Any) -> None:
        super().__init__(name, **options)
        self._identity = identity
        self._repeats = repeats

    @property
    def identity(self) -> str:
        return self._identity

    def repeats(self, circuit: QuantumScript) -> bool:
        return self._repeats or not circuit.shots

    @property
    def ran(self) -> int:
        """How many circuits it was given."""
        return sum(map(len, self.batches))


@pytest.fixture
def cache(tmp_path: Path) -> qexec.Cache:
    return qexec.Cache(tmp_path / "cache.db")


@pytest.fixture
def sampling(tmp_path: Path) -> qexec.Cache:
    return qexec.Cache(tmp_path / "cache.db", shots=True)


def results(outcomes: Sequence[qexec.Outcome]) -> list[Any]:
    return [outcome.result for outcome in outcomes]


def test_a_circuit_that_was_run_is_answered(open_cluster: Any, cache: qexec.Cache) -> None:
    executor = Known()
    cluster = open_cluster([executor], cache=cache)
    first, second = cluster.execute([flip(0.3)]), cluster.execute([flip(0.3)])
    assert executor.ran == 1
    assert first == second
    assert type(first[0]) is type(second[0])


def test_only_what_is_not_known_is_run_and_results_are_in_order(open_cluster: Any, cache: qexec.Cache) -> None:
    executor = Known()
    cluster = open_cluster([executor], cache=cache)
    cluster.execute([flip(0.2)])
    found = cluster.execute([flip(0.1), flip(0.2), flip(0.3)])
    assert executor.ran == 3
    np.testing.assert_allclose(found, np.cos([0.1, 0.2, 0.3]))


def test_equal_circuits_without_shots_run_once_in_a_call(open_cluster: Any, cache: qexec.Cache) -> None:
    executor = Known()
    found = open_cluster([executor], cache=cache).execute([flip(0.1), flip(0.2), flip(0.1)])
    assert executor.ran == 2
    np.testing.assert_allclose(found, np.cos([0.1, 0.2, 0.1]))


def test_samples_are_not_cached_unless_asked_for(open_cluster: Any, cache: qexec.Cache) -> None:
    executor = Known()
    cluster = open_cluster([executor], cache=cache)
    cluster.execute([flip(0.3, shots=100)])
    cluster.execute([flip(0.3, shots=100)])
    assert executor.ran == 2


def test_samples_are_cached_with_shots(open_cluster: Any, sampling: qexec.Cache) -> None:
    executor = Known()
    cluster = open_cluster([executor], cache=sampling)
    assert cluster.execute([flip(0.3, shots=100)]) == cluster.execute([flip(0.3, shots=100)])
    assert executor.ran == 1


def test_samples_of_an_executor_with_a_seed_are_cached(open_cluster: Any, cache: qexec.Cache) -> None:
    cluster = open_cluster([{"type": "default.qubit", "seed": 7}], cache=cache)
    first = cluster.execute([flip(1.3, shots=1000)])
    assert first == cluster.execute([flip(1.3, shots=1000)])
    assert cluster.history[-1].backend == "cache"


def test_equal_circuits_with_shots_in_a_call_are_different_measurements(
    open_cluster: Any, sampling: qexec.Cache
) -> None:
    executor = Known(seed=5)
    cluster = open_cluster([executor], cache=sampling)
    first = cluster.execute([flip(1.3, shots=1000)] * 3)
    assert len(set(first)) == 3
    assert executor.ran == 3
    assert cluster.execute([flip(1.3, shots=1000)] * 3) == first
    assert executor.ran == 3


def test_a_split_over_equal_executors_counts_no_sample_twice(open_cluster: Any, sampling: qexec.Cache) -> None:
    executors = [Known("one", seed=1), Known("two", seed=2)]
    cluster = open_cluster(executors, cache=sampling, split="uniform")
    circuit = QuantumScript([qml.H(0)], [qml.sample(wires=0)], shots=200)
    (samples,) = cluster.execute([circuit])
    assert [executor.shots_run for executor in executors] == [100, 100]
    halves = samples.ravel()[:100], samples.ravel()[100:]
    assert not np.array_equal(*halves)
    np.testing.assert_array_equal(cluster.execute([circuit])[0], samples)
    assert [executor.shots_run for executor in executors] == [100, 100]


def test_executors_with_different_identities_share_nothing(open_cluster: Any, cache: qexec.Cache) -> None:
    executors = [Known("one", identity="one"), Known("two", identity="two")]
    cluster = open_cluster(executors, cache=cache)  # cyclic
    for _ in range(4):
        cluster.execute([flip(0.3)])
    assert [executor.ran for executor in executors] == [1, 1]


def test_circuits_for_whoever_is_free_are_answered_by_the_results_of_any(open_cluster: Any, cache: qexec.Cache) -> None:
    executors = [Known("one", identity="one"), Known("two", identity="two")]
    cluster = open_cluster(executors, cache=cache, selector="least_loaded")
    cluster.execute([flip(0.3)])
    cluster.execute([flip(0.3)])
    assert sum(executor.ran for executor in executors) == 1


def test_who_changes_a_result_does_not_change_the_cache(open_cluster: Any, cache: qexec.Cache) -> None:
    cluster = open_cluster([Known()], cache=cache)
    circuit = QuantumScript([qml.RX(0.3, 0)], [qml.probs(wires=0)])
    for _ in range(3):
        (probabilities,) = cluster.execute([circuit])
        np.testing.assert_allclose(probabilities.sum(), 1)
        probabilities[:] = 5


def test_twins_in_a_call_do_not_share_an_array(open_cluster: Any, cache: qexec.Cache) -> None:
    circuit = QuantumScript([qml.RX(0.3, 0)], [qml.probs(wires=0)])
    one, other = open_cluster([Known()], cache=cache).execute([circuit, circuit])
    one[:] = 5
    np.testing.assert_allclose(other.sum(), 1)


def test_what_is_cached_costs_nothing_of_a_budget(open_cluster: Any, cache: qexec.Cache) -> None:
    cluster = open_cluster([Known()], cache=cache, budget={"circuits": 1})
    cluster.execute([flip(0.3)])
    cluster.execute([flip(0.3)])
    assert cluster.budget.used.circuits == 1
    with pytest.raises(qexec.BudgetExceededError):
        cluster.execute([flip(0.4)])


def test_the_history_and_the_outcome_say_what_was_answered(open_cluster: Any, cache: qexec.Cache) -> None:
    executor = Known(cost={"per_circuit": 1.0})
    cluster = open_cluster([executor], cache=cache)
    cluster.run([Job(flip(0.3), executor)])
    (outcome,) = cluster.run([Job(flip(0.3), executor)])
    assert (outcome.executor, outcome.backend, outcome.batch, outcome.attempt, outcome.cost) == (
        *("known", "cache"),
        *(0, 0, 0.0),
    )
    ran, answered = cluster.history
    assert (ran.batch, ran.attempt, ran.cost) == (1, 1, 1.0)
    assert (answered.executor, answered.backend, answered.state) == ("known", "cache", "done")
    assert (answered.batch, answered.attempt, answered.seconds, answered.cost) == (0, 0, 0.0, 0.0)
    assert answered.fingerprint == ran.fingerprint


def test_errors_are_not_cached(open_cluster: Any, cache: qexec.Cache) -> None:
    executor = Known(failures=[ValueError("not today")])
    cluster = open_cluster([executor], cache=cache)
    with pytest.raises(qexec.ExecutorError, match="not today"):
        cluster.execute([flip(0.3)])
    np.testing.assert_allclose(cluster.execute([flip(0.3)]), np.cos(0.3))


def test_what_another_executor_ran_in_place_of_one_that_failed_is_not_kept_for_that_one(
    open_cluster: Any, cache: qexec.Cache
) -> None:
    failing, other = Known("one", identity="one", failures=[ValueError("no")]), Known("two", identity="two")
    cluster = open_cluster([failing, other], cache=cache)
    job = Job(flip(0.3), failing)
    assert cluster.run([job])[0].executor == "two"
    assert cluster.run([job])[0].executor == "one"
    assert (failing.ran, other.ran) == (2, 1)


def test_an_executor_that_has_no_identity_is_not_cached_and_named_in_a_warning(
    open_cluster: Any, cache: qexec.Cache
) -> None:
    executor = ScriptedExecutor("mine")
    with pytest.warns(UserWarning, match="'mine' are not cached"):
        cluster = open_cluster([executor], cache=cache)
    cluster.execute([flip(0.3)])
    cluster.execute([flip(0.3)])
    assert sum(map(len, executor.batches)) == 2


def test_a_cluster_inside_answers_by_a_cache_of_its_own(open_cluster: Any, cache: qexec.Cache) -> None:
    executor = Known()
    inner = open_cluster([executor], cache=cache)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outer = open_cluster([inner], cache=cache)
    outer.execute([flip(0.3)])
    outer.execute([flip(0.3)])
    assert executor.ran == 1


def test_a_closed_cluster_answers_nothing(open_cluster: Any, cache: qexec.Cache) -> None:
    executor = Known()
    cluster = open_cluster([executor], cache=cache)
    job = Job(flip(0.3), executor)
    cluster.run([job])
    cluster.close()
    with pytest.raises(qexec.ConfigurationError, match="closed"):
        cluster.run([job])
    with pytest.raises(qexec.ConfigurationError, match="closed"):
        cluster.submit([job])


def test_submitted_circuits_that_are_known_are_done_at_once(open_cluster: Any, cache: qexec.Cache) -> None:
    gate = threading.Event()
    gate.set()
    executor = Known(gate=gate)
    cluster = open_cluster([executor], cache=cache)
    cluster.run([Job(flip(0.1), executor)])
    gate.clear()
    try:
        known, unknown = cluster.submit([Job(flip(0.1), executor), Job(flip(0.2), executor)])
        assert known.done()
        assert not unknown.done()
    finally:
        gate.set()
    np.testing.assert_allclose([known.result().result, unknown.result().result], np.cos([0.1, 0.2]))


def test_submitted_circuits_are_kept_when_they_have_run(open_cluster: Any, cache: qexec.Cache) -> None:
    executor, kept = Known(), threading.Event()
    cluster = open_cluster([executor], cache=cache)
    (future,) = cluster.submit([Job(flip(0.1), executor)])
    future.add_done_callback(lambda _: kept.set())  # called after the cache's own
    assert kept.wait(30)
    assert cluster.submit([Job(flip(0.1), executor)])[0].done()


def test_submitted_twins_run_once(open_cluster: Any, cache: qexec.Cache) -> None:
    executor = Known()
    futures = open_cluster([executor], cache=cache).submit([Job(flip(0.1), executor)] * 2)
    np.testing.assert_allclose([future.result(30).result for future in reversed(futures)], np.cos([0.1, 0.1]))
    assert executor.ran == 1


def test_a_twin_whose_other_is_cancelled_runs_after_all(open_cluster: Any, cache: qexec.Cache) -> None:
    gate = threading.Event()
    executor = Known(gate=gate, max_circuits=1)
    cluster = open_cluster([executor], cache=cache)
    try:
        blocking, first, twin = cluster.submit([Job(flip(angle), executor) for angle in (0.1, 0.2, 0.2)])
        assert executor.started.wait(30)
        assert first.cancel()
    finally:
        gate.set()
    np.testing.assert_allclose(twin.result(30).result, np.cos(0.2))
    blocking.result(30)
    with pytest.raises(CancelledError):
        first.result()


def test_a_twin_fails_as_its_other(open_cluster: Any, cache: qexec.Cache) -> None:
    executor = Known(failures=[ValueError("no")] * 2)
    futures = open_cluster([executor], cache=cache).submit([Job(flip(0.1), executor)] * 2)
    for future in futures:
        assert isinstance(future.exception(30), qexec.ExecutorError)


def test_results_that_are_not_numpys_are_not_kept(open_cluster: Any, cache: qexec.Cache) -> None:
    class Foreign:
        """A number of another library's."""

        def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
            return np.array(0.5, dtype)

    class Odd(Known):
        def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Any]:
            super().run(circuits)
            return [Foreign() for _ in circuits]

    executor = Odd()
    cluster = open_cluster([executor], cache=cache)
    assert list(map(float, map(np.asarray, cluster.execute([flip(0.1), flip(0.1)])))) == [0.5, 0.5]
    cluster.execute([flip(0.1)])
    assert executor.ran == 2


@pytest.mark.slow
def test_what_is_backpropagated_is_not_cached(open_cluster: Any, cache: qexec.Cache) -> None:
    cluster = open_cluster(["default.qubit"], cache=cache)
    node = qml.QNode(
        lambda x: (qml.RX(x, 0), qml.expval(qml.Z(0)))[1],
        qexec.ClusterDevice(1, cluster=cluster),
        diff_method="backprop",
    )
    angle = qml.numpy.array(0.3, requires_grad=True)
    for _ in range(2):
        np.testing.assert_allclose(qml.grad(node)(angle), -np.sin(0.3))
    assert "cache" not in [row.backend for row in cluster.history]


@pytest.mark.parametrize("method", ["adjoint", "parameter-shift"])
def test_gradients_are_cached(open_cluster: Any, cache: qexec.Cache, method: str) -> None:
    cluster = open_cluster(["default.qubit"], cache=cache)

    def circuit(x: Any) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    node = qml.QNode(circuit, qexec.ClusterDevice(1, cluster=cluster), diff_method=method)
    angle = qml.numpy.array(0.3, requires_grad=True)
    first = qml.grad(node)(angle)
    ran = len(cluster.history)
    assert qml.grad(node)(angle) == first
    assert {row.backend for row in cluster.history[ran:]} == {"cache"}


def test_jacobian_products_are_known_by_their_vectors(open_cluster: Any, cache: qexec.Cache) -> None:
    cluster = open_cluster(["lightning.qubit"], cache=cache)
    (executor,) = cluster.executors
    config = executor.device().setup_execution_config(
        qml.devices.ExecutionConfig(gradient_method="adjoint", use_device_gradient=True)
    )
    call = Call("compute_vjp", config, bound=True)

    def product(vector: float) -> Any:
        circuit = QuantumScript([qml.RX(0.3, 0)], [qml.expval(qml.Z(0))], trainable_params=[0])
        return cluster.run([Job(circuit, executor, call, (np.array(vector),))])[0]

    first, second, again = product(1.0), product(2.0), product(1.0)
    np.testing.assert_allclose(np.squeeze([first.result, second.result]), -np.sin(0.3) * np.array([1, 2]))
    np.testing.assert_array_equal(np.squeeze(again.result), np.squeeze(first.result))
    assert [one.backend for one in (first, second, again)] == ["lightning.qubit", "lightning.qubit", "cache"]


def test_snapshots_are_taken_every_time(open_cluster: Any, cache: qexec.Cache) -> None:
    executor = Known()
    cluster = open_cluster([executor], cache=cache)
    circuit = QuantumScript([qml.RX(0.3, 0), qml.Snapshot("here")], [qml.expval(qml.Z(0))])
    cluster.execute([circuit])
    cluster.execute([circuit])
    assert executor.ran == 2


def test_qelectrons_take_a_cache(cache: qexec.Cache) -> None:
    @qexec.qelectron(executors=["default.qubit"], cache=cache)
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(x: float) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    with circuit:
        assert circuit(0.3) == circuit(0.3)
        assert circuit.history[-1].backend == "cache"


def test_a_cluster_that_is_sent_elsewhere_takes_its_cache_with_it(open_cluster: Any, tmp_path: Path) -> None:
    cluster = open_cluster(["default.qubit"], cache={"url": str(tmp_path / "cache.db"), "shots": True})
    cluster.close()
    copied = pickle.loads(pickle.dumps(cluster))
    with copied:
        assert copied.cache.shots
        assert copied.cache.url == cluster.cache.url


@pytest.mark.parametrize("given", [None, False])
def test_without_a_cache_nothing_is_answered(open_cluster: Any, given: Any) -> None:
    executor = Known()
    cluster = open_cluster([executor], cache=given)
    cluster.execute([flip(0.3)])
    cluster.execute([flip(0.3)])
    assert cluster.cache is None
    assert executor.ran == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"shot": True}, "Did you mean 'shots'"),
        (7, "cache=7 is no cache"),
        ({"shots": 1}, "shots=1 must be True or False"),
        ({"size": "much"}, "size='much' is no size"),
        ({"size": 0}, "size=0 is no size"),
        ("ftp://somewhere", "no kind of store"),
    ],
)
def test_what_is_no_cache_is_refused(given: Any, message: str) -> None:
    with pytest.raises(qexec.ConfigurationError, match=message):
        qexec.QCluster(["default.qubit"], cache=given)


@pytest.mark.slow
def test_experiments_take_a_cache(cache: qexec.Cache) -> None:
    circuit = QuantumScript([qml.H(0)], [qml.counts(wires=0)])
    with qexec.QuantumExecutor(cache=cache) as runner:
        found = [
            runner.run_experiment(circuit, 100, ["local_aer/aer_simulator"], config={"seed": 7}).get_merged_results()
            for _ in range(2)
        ]
    assert found[0] == found[1]
