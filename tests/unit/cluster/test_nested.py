"""Calls made from inside calls, and clusters inside of clusters."""

from __future__ import annotations

import contextvars
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.devices import DefaultQubit
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Job, Result
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor, flip

PATIENCE = 30.0  # seconds after which a test that hangs fails
FOREVER = 3600.0  # seconds: a window that no test sees the end of
AT_ONCE = qexec.retries.backoff(attempts=3, initial=0)

pytestmark = pytest.mark.timeout(120)


class Recursive(ScriptedExecutor):
    """Asks for a circuit of half the angle before it runs one, until the angle is small.

    Attributes:
        ask: runs a circuit and returns its result; set after the cluster is there.
        inner: the results of the inner calls.
    """

    def __init__(self, name: str = "recursive", **options: Any) -> None:
        super().__init__(name, **options)
        self.ask: Callable[[QuantumScript], Result] = lambda circuit: 0.0
        self.inner: list[float] = []

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        for circuit in circuits:
            (angle,) = circuit.get_parameters()
            if angle > 0.1:
                self.inner.append(float(self.ask(flip(angle / 2))))
        return super().run(circuits)


def waiting(cluster: qexec.QCluster) -> Callable[[QuantumScript], Result]:
    return lambda circuit: cluster.execute([circuit])[0]


def submitting(cluster: qexec.QCluster, executor: Any) -> Callable[[QuantumScript], Result]:
    return lambda circuit: cluster.submit([Job(circuit, executor)])[0].result().result


@pytest.mark.parametrize("selector", ["cyclic", "least_loaded"])
@pytest.mark.parametrize("window", [0.0, FOREVER])
def test_an_executor_may_run_circuits_of_its_own_cluster(open_cluster: Any, window: float, selector: str) -> None:
    executor = Recursive(workers=1)
    cluster = open_cluster([executor], batch_window=window, selector=selector)
    executor.ask = waiting(cluster)
    assert np.allclose(cluster.execute([flip(1.6)]), np.cos(1.6))
    assert np.allclose(executor.inner, np.cos([0.1, 0.2, 0.4, 0.8]))


@pytest.mark.parametrize("window", [0.0, FOREVER])
def test_an_executor_may_submit_circuits_to_its_own_cluster(open_cluster: Any, window: float) -> None:
    executor = Recursive(workers=1)
    cluster = open_cluster([executor], batch_window=window)
    executor.ask = submitting(cluster, executor)
    assert np.allclose(cluster.execute([flip(1.6)]), np.cos(1.6))
    assert np.allclose(executor.inner, np.cos([0.1, 0.2, 0.4, 0.8]))


def test_every_circuit_of_a_batch_may_ask_for_others(open_cluster: Any) -> None:
    executor = Recursive(workers=1)
    cluster = open_cluster([executor])
    executor.ask = waiting(cluster)
    angles = [0.4 + 0.01 * index for index in range(20)]
    assert np.allclose(cluster.execute([flip(angle) for angle in angles]), np.cos(angles))


def test_clusters_may_call_each_other_back(open_cluster: Any) -> None:
    here, there = Recursive("here"), Recursive("there")
    one, other = open_cluster([here]), open_cluster([there])
    here.ask, there.ask = waiting(other), waiting(one)
    assert np.allclose(one.execute([flip(1.6)]), np.cos(1.6))
    assert np.allclose(here.inner + there.inner, np.cos([0.2, 0.8, 0.1, 0.4]))


def test_threads_of_a_pool_may_ask_for_circuits_that_run_in_that_pool(open_cluster: Any) -> None:
    with ThreadPoolExecutor(1) as pool:
        executor = AsksTheCluster(parallel=pool)
        CLUSTERS["pool"] = cluster = open_cluster([executor])
        assert np.allclose(cluster.execute([flip(1.6)]), np.cos(1.6))


CLUSTERS: dict[str, qexec.QCluster] = {}


class AsksTheCluster(qexec.DeviceExecutor):
    """Finds the cluster by its name, since a copy of the executor runs in the pool."""

    def __init__(self, **options: Any) -> None:
        super().__init__("default.qubit", **options)

    def perform(self, work: Any) -> Sequence[Result]:
        (angle,) = work.circuits[0].get_parameters()
        if angle > 0.1:
            CLUSTERS["pool"].submit([Job(flip(angle / 2), CLUSTERS["pool"].executors[0])])[0].result(PATIENCE)
        return super().perform(work)


class AsksBeforeItSubmits(FakeQPU):
    """A backend with a queue that needs the result of another circuit to submit one."""

    def __init__(self) -> None:
        super().__init__()
        self.ask: Callable[[QuantumScript], Result] = lambda circuit: 0.0

    def submit(self, circuits: Sequence[QuantumScript]) -> str:
        (angle,) = circuits[0].get_parameters()
        if angle > 0.1:
            self.ask(flip(angle / 2))
        return super().submit(circuits)


def test_submitting_to_a_backend_may_need_many_jobs_of_that_backend(open_cluster: Any) -> None:
    qpu = AsksBeforeItSubmits()
    cluster = open_cluster([qpu])
    qpu.ask = waiting(cluster)
    futures = [cluster.submit([Job(flip(1.6), qpu)])[0] for _ in range(6)]
    assert np.allclose([future.result(PATIENCE).result for future in futures], np.cos(1.6))


@pytest.mark.slow
def test_a_thousand_nested_calls_leave_few_threads(open_cluster: Any) -> None:
    class AsksOften(Recursive):
        def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
            (angle,) = circuits[0].get_parameters()
            if angle > 0.1:
                self.inner += [float(self.ask(flip(0.05))) for _ in range(1000)]
            return super(Recursive, self).run(circuits)

    executor = AsksOften(workers=1)
    cluster = open_cluster([executor])
    executor.ask = waiting(cluster)
    before = threading.active_count()
    cluster.execute([flip(1.0)])
    assert np.allclose(executor.inner, [np.cos(0.05)] * 1000)
    assert threading.active_count() - before <= 3  # the engine's, the lane's, and one for calls inside of calls


class Gated(qexec.Executor):
    """Runs a circuit only when the gate of its angle opens, and notes which have started."""

    def __init__(self, angles: Sequence[float], **options: Any) -> None:
        super().__init__("gated", **options)
        self.gates = {angle: threading.Event() for angle in angles}
        self.started = {angle: threading.Event() for angle in angles}
        self.batches: list[list[float]] = []

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        angles = [circuit.get_parameters()[0] for circuit in circuits]
        self.batches.append(angles)
        for angle in angles:
            self.started[angle].set()
            assert self.gates[angle].wait(PATIENCE)
        return [0.0] * len(circuits)


def test_calls_inside_of_calls_share_no_batch_with_others_and_make_them_wait(open_cluster: Any) -> None:
    gated, asking, other = Gated([0.1, 0.2, 0.3]), Recursive(), ScriptedExecutor("other")
    cluster = open_cluster([gated, asking, other])
    asking.ask = lambda _: cluster.submit([Job(flip(0.2), gated)])[0].result(PATIENCE).result
    futures = cluster.submit([Job(flip(0.1), gated)])
    assert gated.started[0.1].wait(PATIENCE)
    futures += cluster.submit([Job(flip(1.0), asking)])
    assert gated.started[0.2].wait(PATIENCE)  # although the only worker is busy
    futures += cluster.submit([Job(flip(0.3), gated)])
    gated.gates[0.1].set()
    futures[0].result(PATIENCE)
    cluster.submit([Job(flip(0.1), other)])[0].result(PATIENCE)  # by now the engine has looked for what may start
    assert not gated.started[0.3].is_set()
    gated.gates[0.3].set()
    gated.gates[0.2].set()
    assert all(future.result(PATIENCE) for future in futures)
    assert gated.batches == [[0.1], [0.2], [0.3]]


def test_a_selector_may_run_circuits_although_their_executor_does_too(open_cluster: Any) -> None:
    executor = Recursive()

    def asks_first(circuit: QuantumScript, executors: Sequence[qexec.Executor]) -> qexec.Executor:
        if circuit.get_parameters()[0] > 1.0:
            cluster.execute([flip(0.8)])
        return executors[0]

    cluster = open_cluster([executor], selector=asks_first)
    executor.ask = waiting(cluster)
    assert np.allclose(cluster.execute([flip(1.6)]), np.cos(1.6))


def test_a_merge_may_run_circuits(open_cluster: Any) -> None:
    def asks(circuit: QuantumScript, outcomes: Sequence[Any]) -> Result:
        return cluster.execute([flip(0.0)])[0] + len(outcomes)

    cluster = open_cluster([ScriptedExecutor("one"), ScriptedExecutor("two")], split="uniform", merge=asks)
    assert np.allclose(cluster.execute([flip(0.3, shots=10)]), 3.0)


class AsksInside(DefaultQubit):
    """A device that runs another circuit on itself, by way of a cluster, before it runs one."""

    def __init__(self) -> None:
        super().__init__(wires=1)
        self.ask: Callable[[QuantumScript], Result] = lambda circuit: 0.0

    def execute(self, circuits: Any, execution_config: Any = None) -> Any:
        for circuit in circuits:
            (angle,) = circuit.get_parameters()
            if angle > 0.1:
                self.ask(flip(angle / 2))
        return super().execute(circuits, execution_config)


@pytest.mark.parametrize("options", [{}, {"parallel": "thread"}])
@pytest.mark.parametrize("timeout", [None, PATIENCE])
def test_a_device_object_may_run_circuits_on_itself(open_cluster: Any, options: Any, timeout: float | None) -> None:
    device = AsksInside()
    cluster = open_cluster([qexec.DeviceExecutor(device, **options)], timeout=timeout)
    device.ask = waiting(cluster)
    assert np.allclose(cluster.execute([flip(1.6)]), np.cos(1.6))


# -- what is called when a job ends


def called_back(future: Future[Any], function: Callable[[], Any]) -> Future[Any]:
    """The future of a function that is called when another future is done."""
    result: Future[Any] = Future()

    def call(_: Future[Any]) -> None:
        try:
            result.set_result(function())
        except Exception as error:
            result.set_exception(error)

    future.add_done_callback(call)
    return result


@pytest.fixture
def gate() -> threading.Event:
    return threading.Event()


def test_a_callback_that_would_wait_for_its_own_thread_is_refused(open_cluster: Any, gate: Any) -> None:
    executor = ScriptedExecutor(gate=gate)
    cluster = open_cluster([executor])
    (future,) = cluster.submit([Job(flip(0.1), executor)])
    answer = called_back(future, lambda: cluster.execute([flip(0.2)]))
    gate.set()
    with pytest.raises(qexec.ConfigurationError, match=r"Ask without waiting \(submit, run_later\)"):
        answer.result(PATIENCE)


@pytest.mark.parametrize("failures", [0, 1])
def test_a_callback_may_run_circuits_that_its_own_thread_can_run(open_cluster: Any, gate: Any, failures: int) -> None:
    class Fails(qexec.DeviceExecutor):
        def perform(self, work: Any) -> Sequence[Result]:
            if failures:
                raise OSError("out of order")
            return super().perform(work)

    gated = ScriptedExecutor(gate=gate)
    cluster, simulator = open_cluster([gated]), open_cluster([Fails("default.qubit")], retry=AT_ONCE)
    (future,) = cluster.submit([Job(flip(0.1), gated)])
    answer = called_back(future, lambda: simulator.execute([flip(0.2)]))
    gate.set()
    if failures:
        assert isinstance(answer.exception(PATIENCE), qexec.ExecutorError)
    else:
        assert np.allclose(answer.result(PATIENCE), np.cos(0.2))


def test_a_callback_may_submit_what_the_batch_around_it_waits_for(open_cluster: Any) -> None:
    class Chains(Recursive):
        def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
            (angle,) = circuits[0].get_parameters()
            if angle > 1.0:
                (first,) = cluster.submit([Job(flip(0.1), self)])
                second = called_back(first, lambda: cluster.submit([Job(flip(0.2), self)])[0])
                return [second.result(PATIENCE).result(PATIENCE).result]
            return super().run(circuits)

    executor = Chains(workers=1)
    cluster = open_cluster([executor])
    (future,) = cluster.submit([Job(flip(1.6), executor)])
    assert np.allclose(future.result(PATIENCE).result, np.cos(0.2))


NOTE = contextvars.ContextVar("NOTE", default="")


def test_a_callback_sees_the_context_variables_of_whoever_asked(open_cluster: Any, gate: Any) -> None:
    executor = ScriptedExecutor(gate=gate)
    cluster = open_cluster([executor])
    cluster.submit([Job(flip(0.1), executor)])
    assert executor.started.wait(PATIENCE)
    notes = []
    for note in ("one", "two"):
        context = contextvars.copy_context()
        context.run(NOTE.set, note)
        (future,) = context.run(cluster.submit, [Job(flip(0.1), executor)])
        notes.append(called_back(future, NOTE.get))
    gate.set()
    assert [note.result(PATIENCE) for note in notes] == ["one", "two"]


def test_a_callback_that_exits_does_not_take_the_engine_with_it(open_cluster: Any, gate: Any) -> None:
    executor = ScriptedExecutor(gate=gate)
    cluster = open_cluster([executor])
    (future,) = cluster.submit([Job(flip(0.1), executor)])
    future.add_done_callback(lambda _: sys.exit(1))
    gate.set()
    assert np.allclose(cluster.execute([flip(0.2)]), np.cos(0.2))


# -- clusters inside of clusters


@pytest.fixture
def nested(open_cluster: Any) -> tuple[qexec.QCluster, qexec.QCluster]:
    """A cluster of a simulator and a cluster of two, and that inner cluster."""
    inner = open_cluster(["lightning.qubit", {"type": "default.qubit", "seed": 1}], seed=1)
    return open_cluster([inner, {"type": "default.qubit", "name": "outer", "seed": 2}], seed=2), inner


def test_a_cluster_runs_circuits_for_another_by_its_own_policies(nested: Any) -> None:
    outer, inner = nested
    angles = [0.1 * index for index in range(8)]
    assert np.allclose(outer.execute([flip(angle) for angle in angles]), np.cos(angles))
    assert [row.executor for row in outer.history].count("lightning.qubit+default.qubit") == 4
    assert [row.executor for row in inner.history].count("lightning.qubit") == 2


def test_a_cluster_may_be_the_only_executor(open_cluster: Any) -> None:
    inner = open_cluster([ScriptedExecutor(), FakeQPU()])
    assert np.allclose(open_cluster(inner).execute([flip(0.3)]), np.cos(0.3))
    assert np.allclose(open_cluster([inner]).execute([flip(0.3)]), np.cos(0.3))


def test_clusters_may_be_nested_several_times(open_cluster: Any) -> None:
    cluster = open_cluster([ScriptedExecutor()])
    for _ in range(4):
        cluster = open_cluster([cluster])
    assert np.allclose(cluster.execute([flip(0.1 * index) for index in range(10)]), np.cos(0.1 * np.arange(10)))


@pytest.mark.parametrize(
    "measurement",
    [
        qml.expval(qml.Z(0) @ qml.X(1)),
        qml.var(qml.Z(0)),
        qml.probs(wires=[0, 1]),
        qml.expval(2.0 * qml.Z(0) + qml.X(1)),
        qml.state(),
        qml.vn_entropy(wires=[0]),
    ],
    ids=lambda measurement: type(measurement).__name__,
)
def test_measurements_come_through_as_they_are(nested: Any, measurement: Any) -> None:
    circuit = QuantumScript([qml.RX(0.4, 0), qml.CNOT([0, 1]), qml.RY(0.3, 1)], [measurement])
    expected = qml.device("default.qubit").execute([qml.devices.DefaultQubit().preprocess()[0]([circuit])[0][0]])[0]
    for result in nested[0].execute([circuit] * 4):
        assert np.allclose(result, expected)


def test_shots_split_outside_and_inside_add_up(open_cluster: Any) -> None:
    inner = open_cluster([ScriptedExecutor("one", seed=1), ScriptedExecutor("two", seed=2)], split="uniform")
    outer = open_cluster([inner, ScriptedExecutor("three", seed=3)], split="uniform")
    circuit = QuantumScript([qml.H(0)], [qml.counts(wires=[0])], shots=1001)
    (counts,) = outer.execute([circuit])
    assert sum(counts.values()) == 1001
    assert sorted(row.shots for row in outer.history) == [500, 501]
    assert sum(row.shots for row in inner.history) == next(r.shots for r in outer.history if r.executor == "one+two")
    assert {row.executor for row in inner.history} == {"one", "two"}


def test_gradients_come_through(open_device: Any, nested: Any) -> None:
    device = open_device(executors=[nested[1]])

    @qml.qnode(device)
    def circuit(angle: Any) -> Any:
        qml.RX(angle, 0)
        return qml.expval(qml.Z(0))

    angle = qml.numpy.array(0.3, requires_grad=True)
    assert np.allclose(qml.grad(circuit)(angle), -np.sin(0.3))
    assert len(nested[1].history) == 3


def test_mid_circuit_measurements_come_through_with_their_method(open_device: Any, open_cluster: Any) -> None:
    device = open_device(executors=[open_cluster(["default.qubit"])])

    @qml.qnode(device, mcm_method="deferred")
    def circuit() -> Any:
        qml.X(0)
        outcome = qml.measure(0, reset=True)
        qml.cond(outcome, qml.X)(1)
        return qml.expval(qml.Z(0)), qml.expval(qml.Z(1))

    assert np.allclose(circuit(), [1, -1])


def test_failures_inside_are_tried_again_inside(open_cluster: Any) -> None:
    executor = ScriptedExecutor(failures=[OSError("busy"), OSError("busy")])
    inner = open_cluster([executor], retry=AT_ONCE)
    outer = open_cluster([inner], retry=qexec.retries.never())
    assert np.allclose(outer.execute([flip(0.3)]), np.cos(0.3))
    assert [row.attempt for row in inner.history] == [3]
    assert [row.attempt for row in outer.history] == [1]


def test_what_an_inner_cluster_cannot_do_goes_to_another_executor(open_cluster: Any) -> None:
    inner = open_cluster([ScriptedExecutor(failures=[OSError("broken")])], retry=qexec.retries.never())
    outer = open_cluster([inner, ScriptedExecutor("other")], retry=qexec.retries.never())
    assert np.allclose(outer.execute([flip(0.3)]), np.cos(0.3))
    assert [row.executor for row in outer.history] == ["other"]


def test_a_circuit_that_nobody_inside_can_run_is_refused_with_the_reasons(open_cluster: Any) -> None:
    inner = open_cluster([{"type": "default.qubit", "wires": 1}, {"type": "lightning.qubit", "wires": 1}])
    outer = open_cluster([inner])
    with pytest.raises(qexec.NoExecutorError) as raised:
        outer.execute([flip(0.1, wire=5)])
    assert str(raised.value).count("has 1 wire, and no wire 5") == 2
    assert "'default.qubit+lightning.qubit' has no executor for it" in str(raised.value)


def test_a_circuit_that_somebody_inside_can_run_is_not_refused(open_cluster: Any) -> None:
    inner = open_cluster([{"type": "default.qubit", "wires": 1}, "lightning.qubit"])
    assert np.allclose(open_cluster([inner]).execute([flip(0.3, wire=5)]), np.cos(0.3))


class Offline(ScriptedExecutor):
    """Says that it is offline."""

    def status(self) -> Any:
        from pennylane_qexec.job import Status

        return Status(online=False)


def test_an_inner_cluster_is_online_while_one_of_its_executors_is(open_cluster: Any) -> None:
    (half,) = open_cluster([open_cluster([Offline("one"), ScriptedExecutor("two")])]).executors
    (none,) = open_cluster([open_cluster([Offline("one"), Offline("two")])]).executors
    assert half.status().online
    assert not none.status().online


def test_closing_the_outer_cluster_leaves_the_inner_one_open(open_cluster: Any) -> None:
    inner = open_cluster([ScriptedExecutor()])
    with qexec.QCluster([inner]) as outer:
        outer.execute([flip(0.1)])
    assert np.allclose(inner.execute([flip(0.3)]), np.cos(0.3))


def test_an_inner_cluster_that_was_closed_is_left_out(open_cluster: Any) -> None:
    inner = open_cluster([ScriptedExecutor()])
    outer = open_cluster([inner])
    inner.close()
    with pytest.raises(qexec.NoExecutorError, match="is a cluster that was closed"):
        outer.execute([flip(0.1)])


def test_a_backend_inside_gets_the_circuits_of_a_call_as_one_job(open_cluster: Any) -> None:
    qpu = FakeQPU()
    open_cluster([open_cluster([qpu])]).execute([flip(0.1 * index) for index in range(20)])
    assert [len(circuits) for circuits in qpu.jobs.values()] == [20]


def test_an_inner_cluster_has_workers_for_all_that_is_inside(open_cluster: Any) -> None:
    inner = open_cluster([ScriptedExecutor("one", workers=3), ScriptedExecutor("two", workers=2)])
    (executor,) = open_cluster([inner]).executors
    assert executor.workers == 6


def test_many_executors_inside_make_a_short_name(open_cluster: Any) -> None:
    (executor,) = open_cluster([open_cluster([ScriptedExecutor(name) for name in "abcde"])]).executors
    assert executor.name == "a+b+c+2 more"


def test_a_cluster_inside_of_itself_is_refused(open_cluster: Any) -> None:
    cluster = open_cluster([ScriptedExecutor()])
    outer = open_cluster([open_cluster([cluster])])
    for inner in (cluster, outer):
        with pytest.raises(qexec.ConfigurationError, match="cannot be one of its own executors"):
            cluster.__init__([inner])


def test_a_cluster_given_twice_is_refused(open_cluster: Any) -> None:
    cluster = open_cluster([ScriptedExecutor()])
    with pytest.raises(qexec.ConfigurationError, match="was given twice"):
        qexec.QCluster([cluster, cluster])
