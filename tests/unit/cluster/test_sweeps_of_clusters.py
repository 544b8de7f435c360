"""Sweeps of a cluster: who gets which rows, and what comes of them, beside the circuits one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.circuits.templates import sweep_of_circuit
from pennylane_qexec.cluster.planning import CallPlanner
from pennylane_qexec.cluster.sweeps import jobs_of
from pennylane_qexec.job import Sweep

ROWS = 9
SHOTS = 20_000
OBSERVABLE = 0.5 * qml.Z(0) @ qml.Z(1) + 0.3 * qml.X(0) @ qml.X(1)


def sweep_with(shots: int | None, *measurements: Any) -> Sweep:
    operations = [qml.RX(0.0, 0), qml.RY(0.0, 1), qml.CNOT([0, 1]), qml.RZ(0.0, 1)]
    sweep = sweep_of_circuit(QuantumScript(operations, measurements or [qml.expval(OBSERVABLE)], shots=shots))
    assert sweep is not None
    rows = np.random.default_rng(0).uniform(-2, 2, (ROWS, 3))
    return Sweep(sweep.template, rows, sweep.slots, sweep.key)


def exactly(sweep: Sweep) -> list[Any]:
    analytic = [QuantumScript(one.operations, one.measurements) for one in sweep.circuits()]
    return list(qml.execute(analytic, qml.device("default.qubit", wires=2), diff_method=None))


CLUSTERS: dict[str, tuple[Sequence[Any], dict[str, Any], int]] = {
    "one": (["lightning.qubit"], {}, 1),
    "equivalent, in turn": (["aer", "lightning.qubit"], {}, 2),
    "equivalent, by chance": (["aer", "lightning.qubit"], {"selector": "random", "seed": 1}, 2),
    "whoever is free": (["aer", "lightning.qubit"], {"selector": "least_loaded"}, 4),
    "different": (["aer:fake_manila", "lightning.qubit"], {"selector": "cyclic"}, 1),
    "split": (["aer", "lightning.qubit"], {"split": "uniform"}, 4),
}


@pytest.mark.filterwarnings("ignore:.*results differ:UserWarning")
@pytest.mark.parametrize(("executors", "options", "jobs"), CLUSTERS.values(), ids=CLUSTERS)
def test_rows_stay_sweeps_wherever_they_go(
    open_cluster: Callable[..., qexec.QCluster], executors: Any, options: Any, jobs: int
) -> None:
    cluster, sweep = open_cluster(executors, **options), sweep_with(SHOTS)
    made, postprocess = jobs_of(sweep, CallPlanner(cluster))
    shares = len(executors) * 2 if "split" in options else 1  # of two bases each
    assert sum(job.rows for job in made) == ROWS * max(shares, 1)
    assert all(job.sweep is not None for job in made)
    assert len(made) == jobs
    results = postprocess([outcome.result for outcome in cluster.run(made)])
    noisy = 0.15 if "aer:fake_manila" in executors else 0.0
    assert results == pytest.approx(exactly(sweep), abs=noisy + 6 * 0.8 / np.sqrt(SHOTS))  # 6 sigma


@pytest.mark.parametrize("executors", [["lightning.qubit"], ["aer", "default.qubit"], ["cirq.simulator"]], ids=str)
def test_several_measurements_of_all_rows_are_right(
    open_cluster: Callable[..., qexec.QCluster], executors: Any
) -> None:
    measurements = [qml.probs(wires=[0, 1]), qml.expval(qml.Y(0)), qml.var(qml.X(1))]
    cluster, sweep = open_cluster(executors), sweep_with(None, *measurements)
    made, postprocess = jobs_of(sweep, CallPlanner(cluster))
    results = postprocess([outcome.result for outcome in cluster.run(made)])
    for result, expected in zip(results, exactly(sweep), strict=True):
        for one, other in zip(result, expected, strict=True):
            assert np.allclose(one, other, rtol=0, atol=1e-6 if "cirq.simulator" in executors else 1e-10)


def test_a_function_of_the_user_is_asked_for_each_row(open_cluster: Callable[..., qexec.QCluster]) -> None:
    asked = []

    def by_angle(circuit: QuantumScript, executors: Sequence[Any]) -> Any:
        asked.append(float(circuit.operations[0].data[0]))
        return executors[int(asked[-1] > 0)]

    sweep = sweep_with(None)
    made, _ = jobs_of(sweep, CallPlanner(open_cluster(["aer", "lightning.qubit"], selector=by_angle)))
    assert asked == sweep.parameters[:, 0].tolist()
    assert [job.executor.name for job in made] == [["aer", "lightning.qubit"][angle > 0] for angle in asked]


def test_numbers_that_a_program_adds_to_gates_are_the_same_in_all_rows(
    open_cluster: Callable[..., qexec.QCluster],
) -> None:
    """A basis of its own for each term: rotations that are no parameters of the template."""
    sweep = sweep_with(SHOTS, qml.expval(qml.X(0) @ qml.Y(1)), qml.expval(qml.Z(0)))
    cluster = open_cluster(["aer", "lightning.qubit"], split="uniform")
    made, postprocess = jobs_of(sweep, CallPlanner(cluster))
    turned = [job for job in made if len(job.circuit.operations) > len(sweep.template.operations)]
    assert turned
    for job in turned:
        assert job.sweep is not None
        assert np.ptp(job.sweep.parameters[:, 3:], axis=0) == pytest.approx(0)
    results = postprocess([outcome.result for outcome in cluster.run(made)])
    assert np.allclose(results, exactly(sweep), rtol=0, atol=6 / np.sqrt(SHOTS))


class Compiling(qexec.Executor):
    """A user's backend that runs sweeps."""

    def __init__(self) -> None:
        super().__init__()
        self.swept: list[int] = []

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Any]:
        return qml.execute(circuits, qml.device("default.qubit"), diff_method=None)  # type: ignore[no-any-return]

    def run_sweep(self, sweep: Sweep) -> Sequence[Any]:
        self.swept.append(len(sweep))
        return self.run(sweep.circuits())


def test_the_gradient_of_a_users_executor_runs_as_a_sweep_if_it_takes_sweeps() -> None:
    executor = Compiling()
    with qml.device("qexec.cluster", wires=1, executors=[executor]) as device:

        @qml.qnode(device, diff_method="parameter-shift")
        def turned(angle: Any) -> Any:
            qml.RX(angle, 0)
            return qml.expval(qml.Z(0))

        slope = qml.grad(turned)(qml.numpy.array(0.3, requires_grad=True))
    assert slope == pytest.approx(-np.sin(0.3), abs=1e-10)
    assert executor.swept == [3]
