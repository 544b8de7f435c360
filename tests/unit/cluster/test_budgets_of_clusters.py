"""Budgets of clusters: what is refused, what is given back, and what counts."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Job, JobState, Result
from pennylane_qexec.testing.fakes import FakeQPU, ScriptedExecutor, flip

PATIENCE = 60.0


class RefusesSome(ScriptedExecutor):
    """Says that nothing ran when it refuses."""

    def ran_nothing(self, error: BaseException) -> bool:
        return isinstance(error, ConnectionRefusedError)


class RunsHere(ScriptedExecutor):
    """Computes in the calling thread, and notes in which threads it was asked to."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.threads: list[threading.Thread] = []

    @property
    def local(self) -> bool:
        return True

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        self.threads.append(threading.current_thread())
        return super().run(circuits)


def quick(attempts: int = 3) -> qexec.retries.Backoff:
    return qexec.retries.backoff(attempts=attempts, initial=0.0)


WAYS = [
    pytest.param({"type": "default.qubit"}, id="in the calling thread"),
    pytest.param({"type": "default.qubit", "parallel": "thread"}, id="through the lanes"),
]


@pytest.mark.parametrize("executor", WAYS)
def test_of_a_call_that_does_not_fit_nothing_is_sent(open_cluster: Any, executor: Any) -> None:
    budget = qexec.Budget(shots=100)
    cluster = open_cluster([executor], budget=budget)
    with pytest.raises(qexec.BudgetExceededError):
        cluster.execute([flip(0.1, 60), flip(0.2, 60)])
    assert len(cluster.history) == 0
    assert budget.used == budget.reserved == (0, 0, 0.0, 0.0)
    cluster.execute([flip(0.1, 60), flip(0.2, 40)])
    assert budget.used[:2] == (100, 2)


@pytest.mark.parametrize("executor", WAYS)
def test_what_is_used_is_what_the_history_says(open_cluster: Any, executor: Any) -> None:
    cost = {"per_shot": 0.001, "per_circuit": 0.01, "per_second": 0.5}
    budget = qexec.Budget(cost=100, seconds=1000)
    cluster = open_cluster([{**executor, "cost": cost}], budget=budget)
    for _ in range(3):
        cluster.execute([flip(0.1, 60), flip(0.2, 40), flip(0.3)])
    rows = cluster.history.to_dataframe()
    assert budget.used[:2] == (rows["shots"].sum(), len(rows))
    assert budget.used.cost == pytest.approx(rows["cost"].sum(), abs=1e-10)
    assert budget.used.seconds == pytest.approx(rows["seconds_running"].sum(), abs=1e-7)
    assert budget.reserved == (0, 0, 0.0, 0.0)


@pytest.mark.parametrize("executor", WAYS)
def test_analytic_circuits_count_as_circuits_without_shots(open_cluster: Any, executor: Any) -> None:
    budget = qexec.Budget(shots=0, circuits=2)
    cluster = open_cluster([executor], budget=budget)
    cluster.execute([flip(0.1), flip(0.2)])
    with pytest.raises(qexec.BudgetExceededError) as raised:
        cluster.execute([flip(0.1)])
    assert raised.value.what == "circuits"


def test_an_executor_with_shots_of_its_own_is_counted_with_those(open_cluster: Any) -> None:
    budget = qexec.Budget(shots=100)
    cluster = open_cluster([qexec.executors.Simulator("default.qubit", shots=80)], budget=budget)
    cluster.execute([flip(0.1)])
    assert budget.used.shots == 80
    with pytest.raises(qexec.BudgetExceededError):
        cluster.execute([flip(0.1, 1)])


def test_all_bins_of_a_shot_vector_count(open_cluster: Any) -> None:
    budget = qexec.Budget(shots=100)
    cluster = open_cluster(["default.qubit"], budget=budget)
    cluster.execute([flip(0.1).copy(shots=(10, 20, 30))])
    assert budget.used.shots == 60


@pytest.mark.parametrize(("split", "used"), [("uniform", 90), ("multiplier", 270)])
def test_split_shots_count_where_they_are_run(open_cluster: Any, split: str, used: int) -> None:
    budget = qexec.Budget(shots=300)
    cluster = open_cluster(["default.qubit", "default.qubit", "lightning.qubit"], split=split, budget=budget)
    cluster.execute([flip(0.1, 90)])
    assert budget.used[:2] == (used, 3)


def test_a_split_that_does_not_fit_is_refused_whole(open_cluster: Any) -> None:
    executors = [ScriptedExecutor("one"), ScriptedExecutor("two")]
    cluster = open_cluster(executors, split="multiplier", budget=qexec.Budget(shots=100))
    with pytest.raises(qexec.BudgetExceededError):
        cluster.execute([flip(0.1, 60)])
    assert [executor.batches for executor in executors] == [[], []]


def test_circuits_for_whoever_is_free_first_are_reserved_as_for_the_dearest(open_cluster: Any) -> None:
    gate = threading.Event()
    cheap = ScriptedExecutor("cheap", gate=gate, cost=qexec.Cost(per_circuit=1))
    dear = ScriptedExecutor("dear", gate=gate, failures=[ValueError("not I")] * 9, cost=qexec.Cost(per_circuit=3))
    budget = qexec.Budget(cost=10)
    cluster = open_cluster([cheap, dear], selector="least_loaded", budget=budget)
    future = cluster.submit([Job(flip(0.1), None)])[0]
    assert budget.reserved.cost == 3.0
    gate.set()
    future.result(PATIENCE)
    assert budget.reserved.cost == 0.0
    assert budget.used.cost == 1.0 + 3.0 * len(dear.batches)


def test_a_further_attempt_counts_again(open_cluster: Any) -> None:
    budget = qexec.Budget(shots=300)
    executor = ScriptedExecutor(failures=[OSError("no"), OSError("no")])
    cluster = open_cluster([executor], retry=quick(), budget=budget)
    cluster.execute([flip(0.1, 100)])
    assert budget.used[:2] == (300, 3)
    assert executor.shots_run == 100


def test_a_further_attempt_that_does_not_fit_is_not_made(open_cluster: Any) -> None:
    budget = qexec.Budget(shots=299)
    executor = ScriptedExecutor(failures=[OSError("the laser is off")] * 9)
    cluster = open_cluster([executor], retry=quick(), budget=budget)
    with pytest.raises(qexec.BudgetExceededError) as raised:
        cluster.execute([flip(0.1, 100)])
    assert isinstance(raised.value.__cause__, OSError)
    assert len(executor.batches) == 2
    assert budget.used.shots == 200
    assert budget.reserved.shots == 0


def test_an_attempt_of_which_the_executor_says_that_nothing_ran_is_given_back(open_cluster: Any) -> None:
    budget = qexec.Budget(shots=100)
    executor = RefusesSome(failures=[ConnectionRefusedError("busy"), ConnectionRefusedError("busy")])
    cluster = open_cluster([executor], retry=quick(), budget=budget)
    cluster.execute([flip(0.1, 100)])
    assert budget.used[:2] == (100, 1)


def test_another_executor_after_a_failure_counts_by_its_own_price(open_cluster: Any) -> None:
    budget = qexec.Budget(cost=1.5)
    first = ScriptedExecutor("first", failures=[ValueError("not here")], cost=qexec.Cost(per_circuit=0.5))
    second = ScriptedExecutor("second", cost=qexec.Cost(per_circuit=1.0))
    cluster = open_cluster([first, second], budget=budget)
    cluster.execute([flip(0.1)])
    assert budget.used.cost == 1.5


def test_another_executor_that_does_not_fit_is_not_asked(open_cluster: Any) -> None:
    budget = qexec.Budget(cost=1.4)
    first = ScriptedExecutor("first", failures=[ValueError("not here")], cost=qexec.Cost(per_circuit=0.5))
    second = ScriptedExecutor("second", cost=qexec.Cost(per_circuit=1.0))
    cluster = open_cluster([first, second], budget=budget)
    with pytest.raises(qexec.BudgetExceededError) as raised:
        cluster.execute([flip(0.1)])
    assert isinstance(raised.value.__cause__, ValueError)
    assert second.batches == []
    assert (budget.used.cost, budget.reserved.cost) == (0.5, 0.0)


def test_circuits_of_a_batch_that_failed_are_tried_alone_as_far_as_the_budget_goes(open_cluster: Any) -> None:
    budget = qexec.Budget(circuits=5)
    executor = ScriptedExecutor(failures=[ValueError("one of you is wrong")])
    cluster = open_cluster([executor], retry=quick(), budget=budget)
    futures = cluster.submit([Job(flip(angle), executor) for angle in (0.1, 0.2, 0.3)])
    errors = [type(future.exception(PATIENCE)).__name__ for future in futures]
    assert errors == ["NoneType", "NoneType", "BudgetExceededError"]
    assert budget.used.circuits == sum(map(len, executor.batches)) == 5


def test_a_failure_in_the_calling_thread_counts_too(open_cluster: Any) -> None:
    executor = RunsHere(failures=[OSError("no")])
    budget = qexec.Budget(shots=200)
    cluster = open_cluster([executor], budget=budget, retry=quick())
    cluster.execute([flip(0.1, 100)])
    assert executor.threads[0] is threading.current_thread() is not executor.threads[1]
    assert (budget.used.shots, budget.reserved.shots) == (200, 0)


def test_after_a_failure_in_the_calling_thread_what_does_not_fit_is_not_tried_again(open_cluster: Any) -> None:
    executor = RunsHere(failures=[OSError("no")])
    budget = qexec.Budget(shots=199)
    cluster = open_cluster([executor], budget=budget, retry=quick())
    with pytest.raises(qexec.BudgetExceededError) as raised:
        cluster.execute([flip(0.1, 100)])
    assert isinstance(raised.value.__cause__, OSError)
    assert (budget.used.shots, budget.reserved.shots) == (100, 0)


def test_ctrl_c_in_the_calling_thread_counts_what_ran_and_gives_back_the_rest(open_cluster: Any) -> None:
    first, second = RunsHere("first", failures=[KeyboardInterrupt()]), RunsHere("second")
    budget = qexec.Budget(shots=200)
    cluster = open_cluster([first, second], budget=budget)
    with pytest.raises(KeyboardInterrupt):
        cluster.execute([flip(0.1, 100), flip(0.2, 100)])
    assert second.batches == []
    assert (budget.used.shots, budget.reserved.shots) == (100, 0)


def test_cancelling_gives_back_at_once_what_was_not_sent(open_cluster: Any) -> None:
    gate = threading.Event()
    executor = ScriptedExecutor(gate=gate, workers=1, max_circuits=1)
    budget = qexec.Budget(shots=300)
    cluster = open_cluster([executor], budget=budget)
    futures = cluster.submit([Job(flip(0.1, 100), executor) for _ in range(3)])
    assert executor.started.wait(PATIENCE)
    assert budget.reserved.shots == 300
    futures[2].cancel()
    assert budget.reserved.shots == 200
    replacement = cluster.submit([Job(flip(0.1, 100), executor)])[0]
    gate.set()
    for future in (futures[0], futures[1], replacement):
        future.result(PATIENCE)
    assert (budget.used.shots, budget.reserved.shots) == (300, 0)
    assert executor.shots_run == 300


def test_what_was_sent_counts_although_it_was_cancelled(open_cluster: Any) -> None:
    qpu = FakeQPU(polls=None)
    budget = qexec.Budget(shots=150)
    cluster = open_cluster([qpu], budget=budget)
    future = cluster.submit([Job(flip(0.1, 100), qpu)])[0]
    assert qpu.submitted.wait(PATIENCE)
    future.cancel()
    assert qpu.stopped.wait(PATIENCE)
    cluster.close()
    assert (budget.used.shots, budget.reserved.shots) == (100, 0)


def test_a_job_that_is_cancelled_before_it_is_submitted_is_given_back(open_cluster: Any) -> None:
    """Four threads submit to a backend with a queue; the fifth job waits for one of them."""
    gate, begun = threading.Event(), threading.Semaphore(0)

    class Slow(FakeQPU):
        def submit(self, circuits: Sequence[QuantumScript]) -> str:
            begun.release()
            gate.wait()
            return super().submit(circuits)

    qpu, other = Slow(max_circuits=1), ScriptedExecutor()
    budget = qexec.Budget(shots=500)
    cluster = open_cluster([qpu, other], budget=budget)
    futures = cluster.submit([Job(flip(0.1, 100), qpu) for _ in range(5)])
    for _ in range(4):
        assert begun.acquire(timeout=PATIENCE)
    futures[4].cancel()
    cluster.run([Job(flip(0.1), other)])  # when this has run, the engine has seen to the cancelled one
    gate.set()
    for future in futures[:4]:
        future.result(PATIENCE)
    cluster.close()
    assert (budget.used.shots, budget.reserved.shots) == (400, 0)
    assert len(qpu.jobs) == 4


def test_closing_gives_back_what_waits_and_counts_what_runs(open_cluster: Any) -> None:
    gate = threading.Event()
    executor = ScriptedExecutor(gate=gate, workers=1, max_circuits=1)
    budget = qexec.Budget(shots=300)
    cluster = open_cluster([executor], budget=budget)
    futures = cluster.submit([Job(flip(0.1, 100), executor) for _ in range(3)])
    assert executor.started.wait(PATIENCE)
    cluster.close()
    gate.set()
    assert all(isinstance(future.exception(), qexec.JobCancelledError) for future in futures)
    assert (budget.used.shots, budget.reserved.shots) == (100, 0)


def test_a_circuit_that_timed_out_while_it_waited_gives_back(open_cluster: Any) -> None:
    gate = threading.Event()
    executor = ScriptedExecutor(gate=gate, workers=1, max_circuits=1)
    budget = qexec.Budget(shots=300)
    cluster = open_cluster([executor], budget=budget, timeout=0.05)
    futures = cluster.submit([Job(flip(0.1, 100), executor) for _ in range(2)])
    assert all(isinstance(future.exception(PATIENCE), qexec.JobTimeoutError) for future in futures)
    cluster.close()
    gate.set()
    assert (budget.used.shots, budget.reserved.shots) == (100, 0)


@pytest.mark.parametrize(("error", "used"), [(ValueError("no such gate"), 0), (ConnectionResetError("gone"), 100)])
def test_a_submission_that_the_backend_refuses_for_good_is_given_back_and_a_lost_one_is_not(
    open_cluster: Any, error: Exception, used: int
) -> None:
    class Refuses(FakeQPU):
        def submit(self, circuits: Sequence[QuantumScript]) -> str:
            raise error

    budget = qexec.Budget(shots=1000)
    cluster = open_cluster([Refuses()], budget=budget, retry=qexec.retries.never())
    with pytest.raises(qexec.ExecutorError):
        cluster.execute([flip(0.1, 100)])
    assert (budget.used.shots, budget.reserved.shots) == (used, 0)


def test_a_job_that_fails_at_its_backend_counts(open_cluster: Any) -> None:
    budget = qexec.Budget(shots=1000)
    cluster = open_cluster([FakeQPU(ends=JobState.FAILED)], budget=budget, retry=quick(2))
    with pytest.raises(qexec.ExecutorError):
        cluster.execute([flip(0.1, 100)])
    assert budget.used[:2] == (200, 2)


def test_once_all_seconds_are_used_nothing_more_is_sent(open_cluster: Any) -> None:
    """No simulation takes less than a millionth of a second."""
    budget = qexec.Budget(seconds=1e-6)
    cluster = open_cluster([ScriptedExecutor()], budget=budget)
    cluster.execute([flip(0.1)])
    assert budget.used.seconds > 1e-6
    assert budget.left.seconds == 0.0
    with pytest.raises(qexec.BudgetExceededError) as raised:
        cluster.execute([flip(0.1)])
    assert raised.value.what == "seconds"


def test_seconds_are_reserved_by_the_speed_until_now(open_cluster: Any) -> None:
    gate = threading.Event()
    executor = ScriptedExecutor(gate=gate, cost=qexec.Cost(per_second=2.0))
    executor.meter.ran(circuits=10, shots=1000, seconds=20.0)
    budget = qexec.Budget(seconds=30, cost=100)
    cluster = open_cluster([executor], budget=budget)
    future = cluster.submit([Job(flip(0.1, 500), executor)])[0]
    assert budget.reserved.seconds == 10.0  # 500 shots, of which 50 took a second; 10 circuits took 20 seconds
    assert budget.reserved.cost == 20.0
    gate.set()
    future.result(PATIENCE)
    assert budget.reserved == (0, 0, 0.0, 0.0)
    assert 0 < budget.used.seconds < 10


def test_clusters_that_are_given_one_budget_share_it(open_cluster: Any) -> None:
    budget = qexec.Budget(shots=100)
    one = open_cluster(["default.qubit"], budget=budget)
    other = open_cluster([ScriptedExecutor()], budget=budget)
    one.execute([flip(0.1, 60)])
    with pytest.raises(qexec.BudgetExceededError):
        other.execute([flip(0.1, 60)])


def test_circuits_in_a_cluster_of_a_cluster_count_once_where_they_are_run(open_cluster: Any) -> None:
    inner = open_cluster(["default.qubit", "default.qubit"], split="multiplier", budget=(own := qexec.Budget()))
    budget = qexec.Budget(shots=250)
    outer = open_cluster([inner], budget=budget)
    outer.execute([flip(0.1, 100)])
    assert budget.used[:2] == own.used[:2] == (200, 2)
    with pytest.raises(qexec.BudgetExceededError):
        outer.execute([flip(0.1, 100)])
    assert (budget.used.shots, budget.reserved.shots) == (200, 0)
    assert own.reserved.shots == 0


def test_the_price_inside_of_a_cluster_counts_for_the_budget_of_the_one_around_it(open_cluster: Any) -> None:
    inner = open_cluster([{"type": "default.qubit", "cost": {"per_circuit": 1.0}}])
    budget = qexec.Budget(cost=1.5)
    outer = open_cluster([inner], budget=budget)
    outer.execute([flip(0.1)])
    for _ in range(5):  # more than the failures after which an executor would be set aside
        with pytest.raises(qexec.BudgetExceededError) as raised:
            outer.execute([flip(0.1)])
        assert raised.value.what == "cost"
    assert budget.used.cost == 1.0


def test_circuits_that_an_executor_asks_for_itself_are_part_of_the_circuits_it_runs(open_cluster: Any) -> None:
    inner = open_cluster(["default.qubit"])

    class Asks(qexec.Executor):
        def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
            return [inner.execute([flip(0.1, 10), flip(0.2, 10)])[0] for _ in circuits]

    with qexec.Budget() as budget:
        open_cluster([Asks()]).execute([flip(0.1, 100)])
    assert budget.used[:2] == (100, 1)


def test_a_gradient_that_does_not_fit_is_refused_whole(open_device: Any) -> None:
    budget = qexec.Budget(circuits=5)
    device = open_device("default.qubit", budget=budget)

    @qml.set_shots(10)
    @qml.qnode(device, diff_method="parameter-shift")
    def circuit(x: Any, y: Any, z: Any) -> Any:
        qml.RX(x, 0)
        qml.RY(y, 0)
        qml.RX(z, 0)
        return qml.expval(qml.Z(0))

    point = [qml.numpy.array(value, requires_grad=True) for value in (0.1, 0.2, 0.3)]
    with pytest.raises(qexec.BudgetExceededError) as raised:
        qml.grad(circuit)(*point)
    assert (raised.value.asked, raised.value.used) == (7, 0)
    assert budget.used.circuits == len(device.history) == 0


def test_calls_that_run_later_fail_as_soon_as_they_do_not_fit(open_cluster: Any) -> None:
    gate = threading.Event()
    executor = ScriptedExecutor(gate=gate)
    cluster = open_cluster([executor], budget=qexec.Budget(shots=250))

    @qexec.qelectron(executors=cluster)
    @qml.set_shots(100)
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(x: float) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    futures = [circuit.run_later(0.1) for _ in range(3)]
    assert isinstance(futures[2].exception(PATIENCE), qexec.BudgetExceededError)
    assert not futures[0].done()
    gate.set()
    assert all(-1 <= future.result(PATIENCE) <= 1 for future in futures[:2])
    assert executor.shots_run == 200


def test_a_qelectron_has_a_budget_of_its_own_as_an_option() -> None:
    @qexec.qelectron(budget=qexec.Budget(circuits=1))
    @qml.qnode(qml.device("default.qubit", wires=1))
    def circuit(x: float) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    with circuit:
        circuit(0.1)
        with pytest.raises(qexec.BudgetExceededError):
            circuit(0.1)


def test_a_batch_for_a_cluster_inside_holds_only_circuits_of_the_same_budgets(open_cluster: Any) -> None:
    inner = open_cluster([ScriptedExecutor()])
    outer = open_cluster([inner], batch_window=0.5)  # until somebody asks for the results
    executor = outer.executors[0]
    with qexec.Budget() as one:
        futures = outer.submit([Job(flip(0.1, 10), executor)])
    with qexec.Budget() as two:
        futures += outer.submit([Job(flip(0.1, 20), executor)])
    futures += outer.submit([Job(flip(0.1, 40), executor)])
    for future in futures:
        future.result(PATIENCE)
    assert (one.used.shots, two.used.shots) == (10, 20)
