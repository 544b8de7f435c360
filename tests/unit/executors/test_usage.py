"""What circuits use is counted as the backends run them: in every basis that is measured, under every policy."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.devices.qubit import sampling
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.job import Call, Result, Usage
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor, flip

PRICE = {"per_circuit": 0.5, "per_shot": 0.001}
Z, X, Y = qml.Z, qml.X, qml.Y


def hamiltonian() -> Any:
    """Three bases: ZZ; X and X; YY."""
    return qml.Hamiltonian([1, 0.5, 0.5, 0.3], [Z(0) @ Z(1), X(0), X(1), Y(0) @ Y(1)])


def bell(*measurements: Any, shots: Any = 1000, angle: Any = 0.3) -> QuantumScript:
    return QuantumScript([qml.RY(angle, 0), qml.CNOT([0, 1])], measurements, shots=shots)


def energy(shots: Any = 1000, angle: Any = 0.3) -> QuantumScript:
    return bell(qml.expval(hamiltonian()), shots=shots, angle=angle)


def runs(executor: Executor, circuit: QuantumScript) -> tuple[int, int]:
    usage = executor.usage(circuit)
    return usage.circuits, usage.shots


EXECUTORS = [
    "default.qubit",
    "lightning.qubit",
    "default.mixed",
    "reference.qubit",
    "aer",
    "aer:fake_manila",
    "ibm:fake_manila",
    "rehearsal:default.qubit",
]

MEASURED = {
    "three bases": ([qml.expval(hamiltonian())], 3),
    "words that fit": ([qml.expval(qml.Hamiltonian([1, 1, 1], [Z(0) @ Z(1), Z(0), Z(1)]))], 1),
    "two observables": ([qml.expval(Z(0)), qml.expval(X(0))], 2),
    "outcomes beside an observable": ([qml.probs(wires=[0]), qml.expval(X(0)), qml.counts(wires=[1])], 2),
    "outcomes": ([qml.probs(wires=[0]), qml.counts(wires=[1])], 1),
    "nothing": ([qml.expval(qml.sum(qml.s_prod(np.float64(0), X(0)), qml.s_prod(0.0, X(0))))], 1),
    "one word": ([qml.expval(X(0) @ Y(1))], 1),
    "no word": ([qml.expval(qml.sum(X(0), qml.H(0), Z(1)))], 2),
}


@pytest.mark.parametrize("spec", EXECUTORS)
@pytest.mark.parametrize("measured", MEASURED)
def test_every_basis_counts_with_all_the_shots(spec: str, measured: str) -> None:
    measurements, measurement_bases = MEASURED[measured]
    executor = qexec.executor(spec, wires=2)
    if spec != "reference.qubit":  # which measures observables that are no words each in a circuit of its own
        assert runs(executor, bell(*measurements)) == (measurement_bases, 1000 * measurement_bases)
    assert runs(executor, bell(*measurements, shots=None)) == (1, 0) or spec == "reference.qubit"
    executor.close()


@pytest.mark.parametrize("measured", MEASURED)
@pytest.mark.parametrize("shots", [10, [10, 20]], ids=str)
@pytest.mark.parametrize("angle", [0.3, np.array([0.1, 0.2, 0.3])], ids=["one", "broadcasted"])
def test_usage_is_what_the_simulator_draws(
    monkeypatch: pytest.MonkeyPatch, measured: str, shots: Any, angle: Any
) -> None:
    drawn: list[int] = []
    sample_state = sampling.sample_state

    def watched(state: Any, shots: int, is_state_batched: bool = False, **options: Any) -> Any:
        drawn.extend([shots] * (state.shape[0] if is_state_batched else 1))
        return sample_state(state, shots, is_state_batched, **options)

    monkeypatch.setattr(sampling, "sample_state", watched)
    circuit = bell(*MEASURED[measured][0], shots=shots, angle=angle)
    executor = qexec.executor("default.qubit")
    usage = executor.usage(circuit)
    executor.run([circuit])
    assert usage.shots == sum(drawn)


@pytest.mark.parametrize("primitive", ["sampler", "estimator"])
@pytest.mark.parametrize("shots", [10, [10, 20]], ids=str)
def test_usage_is_what_runtime_is_sent(monkeypatch: pytest.MonkeyPatch, primitive: Any, shots: Any) -> None:
    from qiskit.primitives import backend_estimator_v2

    ran: list[tuple[int, int]] = []
    run_circuits = backend_estimator_v2._run_circuits

    def watched(circuits: Any, backend: Any, **options: Any) -> Any:
        ran.append((len(circuits), len(circuits) * options["shots"]))
        return run_circuits(circuits, backend, **options)

    monkeypatch.setattr(backend_estimator_v2, "_run_circuits", watched)
    executor = qexec.RuntimeExecutor("fake_manila", primitive=primitive)
    circuit = bell(qml.expval(hamiltonian()), qml.expval(X(0) + 2 * Z(0)), shots=shots)
    for pub in executor.pubs([circuit]).get("sampler", ()):
        ran.append((len(pub[1]), len(pub[1]) * pub[2]))
    if primitive == "estimator":
        executor.run([circuit])
    assert runs(executor, circuit) == tuple(map(sum, zip(*ran, strict=True)))


def test_a_classical_shadow_is_a_circuit_for_each_shot_on_a_simulator() -> None:
    circuit = bell(qml.classical_shadow([0, 1]), qml.expval(X(0)), shots=20)
    assert runs(qexec.executor("default.qubit"), circuit) == (21, 40)


def test_counting_leaves_the_observable_of_the_user_as_it_is() -> None:
    observable = hamiltonian()
    for spec in ("aer", "default.qubit"):
        qexec.executor(spec).usage(bell(qml.expval(observable)))
    assert observable.grouping_indices is None


def test_counting_is_done_once_for_the_circuits_of_a_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    from pennylane_qexec.circuits import measurement_bases

    counted: list[QuantumScript] = []

    def count(circuit: QuantumScript) -> int:
        counted.append(circuit)
        return 3

    monkeypatch.setattr(measurement_bases, "_counted_by_backends", measurement_bases.Counter(count))
    tape = energy()
    tape.trainable_params = [0]
    circuits, _ = qml.gradients.param_shift(tape)
    executor = qexec.AerExecutor()
    assert [executor.usage(circuit).shots for circuit in [*circuits, energy(), energy(20)]] == [3000, 3000, 3000, 60]
    assert len(counted) == 1


class Packing(ScriptedExecutor):
    """A backend that bills pairs of shots, and two dollars for each circuit besides."""

    def usage(self, circuit: QuantumScript) -> Usage:
        return Usage(1, (circuit.shots.total_shots or 0) // 2, 2.0)


def test_what_an_executor_says_of_its_own_usage_counts_everywhere(open_cluster: Any) -> None:
    cluster = open_cluster([Packing("packing")], budget=qexec.Budget())
    estimate = cluster.estimate([energy()])
    cluster.execute([energy()])
    (row,) = cluster.history
    assert (estimate.circuits, estimate.shots, estimate.cost) == (1, 500, 2.0)
    assert cluster.budget.used[:3] == (500, 1, 2.0) == (row.shots, row.circuits, row.cost)


CLUSTERS: dict[str, dict[str, Any]] = {
    "selector": {},
    "least loaded": {"selector": "least_loaded"},
    "uniform": {"split": "uniform"},
    "multiplier": {"split": "multiplier"},
    "weighted": {"split": {"weighted": {"a": 1, "b": 3}}},
}


def all_counts(cluster: qexec.QCluster, circuits: Sequence[QuantumScript]) -> list[tuple[int, int, float]]:
    """Circuits, shots and cost as estimate, budget, history, its rows, outcomes and tracker have them."""
    device = qml.device("qexec.cluster", wires=2, cluster=cluster)
    estimate = cluster.estimate(circuits)
    with qml.Tracker(device) as tracker:
        device.execute(circuits)
    used, totals, rows = cluster.budget.used, cluster.history.totals, list(cluster.history)
    return [
        (estimate.circuits, estimate.shots, round(estimate.cost or 0.0, 9)),
        (used.circuits, used.shots, round(used.cost, 9)),
        (totals.circuits, totals.shots, round(totals.cost or 0.0, 9)),
        (sum(row.circuits for row in rows), sum(row.shots for row in rows), round(sum(row.cost for row in rows), 9)),
        (tracker.totals["executions"], tracker.totals["shots"], round(totals.cost or 0.0, 9)),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("policy", CLUSTERS)
@pytest.mark.parametrize("kind", ["default.qubit", "lightning.qubit", "aer", "ibm:aer", "rehearsal:aer", "custom"])
def test_all_counts_agree_under_every_policy(open_cluster: Any, policy: str, kind: str) -> None:
    def member(name: str) -> Any:
        return FakeQPU(name, cost=PRICE) if kind == "custom" else {"type": kind, "name": name, "cost": PRICE}

    cluster = open_cluster([member("a"), member("b")], budget=qexec.Budget(), **CLUSTERS[policy])
    counts = all_counts(cluster, [energy(), energy(500), bell(qml.probs(wires=[0]), shots=100)])
    assert counts == [counts[0]] * 5
    if "split" not in CLUSTERS[policy]:
        assert counts[0] == (7, 4600, 8.1)
    elif policy != "multiplier":
        assert counts[0] == (14, 4600, 11.6)


@pytest.mark.slow
def test_all_counts_agree_in_worker_processes(open_cluster: Any) -> None:
    member = {"type": "lightning.qubit", "parallel": "process", "workers": 1, "cost": PRICE}
    counts = all_counts(open_cluster([member], budget=qexec.Budget()), [energy(), energy(500)])
    assert counts == [(6, 4500, 7.5)] * 5


def test_all_counts_agree_for_a_hybrid_and_its_member_that_runs(open_cluster: Any) -> None:
    members = [{"type": "default.qubit", "cost": PRICE}, {"type": "ibm:fake_manila", "cost": {"per_shot": 1.0}}]
    counts = all_counts(open_cluster([qexec.Hybrid(members)], budget=qexec.Budget()), [energy()])
    assert counts == [(3, 3000, 4.5)] * 5


def test_all_counts_agree_for_a_cluster_inside_of_a_cluster(open_cluster: Any) -> None:
    inner = open_cluster([{"type": "default.qubit", "cost": PRICE}, FakeQPU(cost=PRICE)], split="uniform")
    counts = all_counts(open_cluster([inner], budget=qexec.Budget()), [energy()])
    assert counts == [(6, 3000, 6.0)] * 5


def test_a_budget_refuses_what_its_bases_would_pass_before_anything_is_sent(open_cluster: Any) -> None:
    executor = FakeQPU()
    cluster = open_cluster([executor], budget=qexec.Budget(shots=1500))
    with pytest.raises(qexec.BudgetExceededError, match="3,000 more shots"):
        cluster.execute([energy()])
    assert executor.jobs == {}


def test_the_most_shots_of_an_executor_are_those_of_all_bases(open_cluster: Any) -> None:
    cluster = open_cluster([FakeQPU("small", max_shots=2000), FakeQPU("large", max_shots=6000)])
    cluster.execute([energy()] * 3)
    assert [row.executor for row in cluster.history] == ["large"] * 3
    assert len({row.batch for row in cluster.history}) == 2  # of 6000 and of 3000 shots
    with pytest.raises(qexec.NoExecutorError, match="runs 9000 for this circuit, as it measures several bases"):
        cluster.execute([energy(3000)])


def test_circuits_that_a_device_takes_apart_need_not_run_together(open_cluster: Any) -> None:
    """It makes three circuits of 1000 shots of this one, and they come in two batches."""
    cluster = open_cluster([{"type": "reference.qubit", "max_shots": 2000}])
    cluster.execute([energy()])
    assert cluster.history.totals[:2] == (3, 3000)


def test_attempts_that_failed_are_in_the_totals_as_in_the_budget(open_cluster: Any) -> None:
    executor = ScriptedExecutor(failures=[ConnectionError("no")], cost=PRICE)
    cluster = open_cluster([executor], budget=qexec.Budget(), retry={"attempts": 2, "initial": 0.001})
    (outcome,) = cluster.run([qexec.job.Job(energy(100), executor)])
    (row,) = cluster.history
    totals, used = cluster.history.totals, cluster.budget.used
    assert (outcome.circuits, outcome.shots, outcome.cost) == (3, 300, pytest.approx(1.8))
    assert (row.circuits, row.shots, row.cost, row.attempt) == (3, 300, pytest.approx(1.8), 2)
    assert (totals.circuits, totals.shots, totals.cost) == (6, 600, pytest.approx(3.6))
    assert used == (totals.shots, totals.circuits, totals.cost, totals.seconds)


def test_a_job_that_failed_says_what_its_attempts_have_used(open_cluster: Any) -> None:
    executor = ScriptedExecutor(failures=[ValueError("no")], cost=PRICE)
    cluster = open_cluster([executor])
    with pytest.raises(qexec.ExecutorError):
        cluster.execute([energy(100)])
    (row,) = cluster.history
    assert (row.shots, row.circuits, row.cost) == (300, 3, pytest.approx(1.8))
    assert cluster.history.totals[:3] == (3, 300, pytest.approx(1.8))


def test_an_attempt_of_which_nothing_ran_is_not_counted(open_cluster: Any) -> None:
    class Honest(ScriptedExecutor):
        def ran_nothing(self, error: BaseException) -> bool:
            return True

    cluster = open_cluster([Honest(failures=[ValueError("no")], cost=PRICE)])
    with pytest.raises(qexec.ExecutorError):
        cluster.execute([energy(100)])
    (row,) = cluster.history
    assert (row.shots, row.cost) == (0, 0.0)
    assert cluster.history.totals == (0, 0, 0.0, 0.0)


def test_the_attempt_of_a_hedge_that_lost_is_in_the_totals(open_cluster: Any) -> None:
    gate = threading.Event()
    slow, fast = ScriptedExecutor("slow", gate=gate), ScriptedExecutor("fast")
    cluster = open_cluster([slow, fast], budget=qexec.Budget(), hedge=0.01)
    cluster.execute([energy(100)])
    gate.set()
    cluster.close()
    assert cluster.history.totals.shots == 600 == cluster.budget.used.shots


def test_what_a_cache_knows_uses_nothing(open_cluster: Any, tmp_path: Any) -> None:
    options = {"cache": {"url": str(tmp_path / "cache.db"), "shots": True}, "budget": qexec.Budget()}
    cluster = open_cluster([{"type": "default.qubit", "cost": PRICE, "parallel": "thread"}], **options)
    device = qml.device("qexec.cluster", wires=2, cluster=cluster)
    with qml.Tracker(device) as tracker:
        device.execute([energy(100)])
        cluster.cache.flush()
        device.execute([energy(100)])
    assert [(row.circuits, row.shots) for row in cluster.history] == [(3, 300), (0, 0)]
    assert (tracker.totals["executions"], tracker.totals["shots"]) == (3, 300)
    assert cluster.history.totals[:2] == (3, 300) == cluster.budget.used[1::-1]


@pytest.mark.parametrize(
    ("measurements", "executions", "shots"),
    [
        ([qml.expval(X(0))], 1, 10),
        ([qml.expval(X(0)), qml.expval(Y(0))], 2, 20),
        ([qml.expval(qml.Hamiltonian([1, 0.5, 1], [X(0), Y(0), X(1)]))], 2, 20),
        ([qml.expval(qml.sum(X(0), qml.H(0)))], 2, 20),
        ([qml.probs(wires=(0, 1)), qml.sample(wires=(0, 1)), qml.expval(X(0))], 2, 20),
        ([qml.shadow_expval(hamiltonian()), qml.probs(wires=(0, 1))], 11, 20),
    ],
)
def test_the_tracker_says_what_that_of_the_simulator_says(
    open_device: Any, measurements: Any, executions: int, shots: int
) -> None:
    circuit = QuantumScript([], measurements, shots=10)
    found = []
    for device in (qml.device("default.qubit", wires=2), open_device(["default.qubit"], 2)):
        with qml.Tracker(device) as tracker:
            device.execute(circuit)
        found.append({name: tracker.totals[name] for name in ("batches", "simulations", "executions", "shots")})
    assert found == [{"batches": 1, "simulations": 1, "executions": executions, "shots": shots}] * 2


def test_the_tracker_counts_analytic_circuits_as_pennylane_does(open_device: Any) -> None:
    found = []
    for device in (qml.device("default.qubit", wires=2), open_device(["default.qubit"], 2)):
        with qml.Tracker(device) as tracker:
            device.execute(energy(None, np.array([0.1, 0.2])))
        found.append({name: tracker.totals[name] for name in ("batches", "simulations", "executions")})
    assert found[0] == found[1]


def test_a_rehearsal_charges_for_every_basis() -> None:
    rehearsal = qexec.Rehearsal("default.qubit", cost=PRICE, seed=1)
    rehearsal.run([energy(100)])
    (entry,) = rehearsal.ledger
    assert (entry.executed, entry.cost, entry.shots) == (300, pytest.approx(1.8), (100,))


def test_a_rehearsal_with_drift_counts_what_it_samples() -> None:
    rehearsal = qexec.Rehearsal("default.qubit", drift={"start": 0.1}, seed=1)
    assert runs(rehearsal, energy([100, 200])) == (6, 900)


def test_a_circuit_that_is_prepared_late_counts_as_what_is_made_of_it() -> None:
    """Lightning takes broadcasted circuits apart, and runs mid-circuit measurements shot by shot."""
    executor = qexec.executor("lightning.qubit")
    call = Call()
    assert executor.usage_of(energy(10, np.array([0.1, 0.2])), call)[:2] == (6, 60)
    measure = QuantumScript([qml.RX(0.1, 0), qml.ops.MidMeasure(0)], [qml.expval(Z(0))], shots=10)
    assert executor.usage_of(measure, call).shots == 10


def test_usage_reports_what_nobody_knows() -> None:
    executor = ScriptedExecutor(cost={"per_second": 1.0})
    assert executor.usage(flip(0.1, 10)) == Usage(1, 10, None, None)
    executor.meter.ran(1, 10, 2.0)
    assert executor.usage(flip(0.1, 10)) == Usage(1, 10, 2.0, 2.0)


class Answering(Executor):
    """Returns a number without looking at anything."""

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        return [np.float64(0.0) for _ in circuits]


def test_a_custom_executor_is_assumed_to_run_every_basis(open_cluster: Any) -> None:
    cluster = open_cluster([Answering(cost=PRICE)])
    assert cluster.estimate([energy()]).shots == 3000


def test_a_circuit_of_which_nothing_is_left_to_run_uses_nothing(open_cluster: Any) -> None:
    cluster = open_cluster([{"type": "reference.qubit", "max_shots": 2000}])
    assert cluster.execute([bell(qml.expval(qml.I(0)))]) == [1.0]
    assert cluster.history.totals[:2] == (0, 0)


class _SaysNothing(qexec.DeviceExecutor):
    """An executor whose author has not thought of every circuit."""

    def usage_of(self, circuit: QuantumScript, call: Call) -> Usage:
        raise ValueError("no idea")


def test_an_executor_that_fails_to_say_what_was_used_has_run_its_circuits_nevertheless(open_cluster: Any) -> None:
    cluster = open_cluster([_SaysNothing("default.qubit")], selector="least_loaded")
    assert cluster.execute([flip(0.0, 20)]) == [1]
    assert cluster.execute([flip(np.pi, 20)]) == [-1]
    assert cluster.history.totals.shots == 40
