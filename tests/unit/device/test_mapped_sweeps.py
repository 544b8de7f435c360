"""``map`` over many points: circuits that differ in numbers only run as one sweep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Job, Result, Work
from pennylane_qexec.testing import FakeQPU

POINTS = np.linspace(-2.0, 2.9, 300)


class Noted(qexec.DeviceExecutor):
    """Notes how many rows the sweeps have that it is given, and 1 for each circuit."""

    def __init__(self, name: str = "noted", fails_above: float = np.inf, **options: Any) -> None:
        super().__init__("default.qubit", name=name, parallel="thread", **options)
        self.seen: list[int] = []
        self._fails_above = fails_above

    @property
    def by_structure(self) -> bool:
        return True

    def perform_sweeps(self, work: Work) -> Sequence[Sequence[Result]]:
        self.seen += map(len, work.sweeps)
        if any(sweep.parameters.max() > self._fails_above for sweep in work.sweeps):
            raise ArithmeticError("too far")
        seen = len(self.seen)
        results = super().perform_sweeps(work)
        del self.seen[seen:]  # circuits of these sweeps
        return results

    def perform(self, work: Work) -> Sequence[Result]:
        self.seen += [1] * len(work.circuits)
        return super().perform(work)


def turned(x: Any) -> Any:
    qml.RX(x, 0)
    qml.CNOT([0, 1])
    qml.RY(2 * x, 1)
    return qml.probs(wires=[0])


def forked(x: Any) -> Any:
    (qml.RX if x < 0 else qml.RY)(x, 0)
    return qml.expval(qml.Z(0))


def electron(function: Any, executors: Any, shots: int | None = None, **options: Any) -> Any:
    node = qml.QNode(function, qml.device("default.qubit", wires=2), shots=shots)
    return qexec.qelectron(node, executors=executors, **options)


def test_the_points_of_a_map_are_a_few_sweeps_and_their_results_are_in_order() -> None:
    noted = Noted()
    with electron(turned, noted) as circuit:
        results = circuit.map(POINTS)
        assert sum(noted.seen) == len(POINTS)
        assert len(noted.seen) == 2  # 256 that go out while the others are recorded, and these
        assert np.allclose([probs[0] for probs in results], np.cos(POINTS / 2) ** 2)
        assert len(circuit.history) == len(POINTS)
        assert circuit.history.totals.circuits == len(POINTS)


def test_points_of_other_structure_are_sweeps_of_their_own() -> None:
    noted = Noted()
    with electron(forked, noted) as circuit:
        assert np.allclose(circuit.map(POINTS[::2]), np.cos(POINTS[::2]))
    assert sorted(noted.seen) == sorted([int(sum(POINTS[::2] < 0)), int(sum(POINTS[::2] >= 0))])


@pytest.mark.parametrize("policy", [{"selector": "cyclic"}, {"split": "uniform"}])
def test_each_executor_has_one_sweep(policy: dict[str, Any]) -> None:
    first, second = Noted("first", seed=1), Noted("second", seed=2)
    with electron(turned, [first, second], shots=1001, **policy) as circuit:
        results = circuit.map(POINTS[:40])
        history = circuit.history.to_dataframe()
    rows = 20 if "selector" in policy else 40
    assert (first.seen, second.seen) == ([rows], [rows])
    assert history["shots"].sum() == 1001 * 40
    # 6 sigma of 1001 shots, of which each has at most 0.5
    assert np.abs(np.array(results)[:, 0] - np.cos(POINTS[:40] / 2) ** 2).max() < 6 * 0.5 / np.sqrt(1001)


def test_a_backend_with_a_queue_gets_all_points_as_one_job() -> None:
    qpu = FakeQPU()
    with electron(turned, qpu, shots=100) as circuit:
        circuit.map(POINTS)
        assert circuit.history.to_dataframe()["batch"].nunique() == 1


def test_a_seed_of_a_cluster_draws_the_shots_of_calls_one_by_one() -> None:
    found = []
    for mapped in (True, False):
        with electron(turned, ["default.qubit", "default.qubit"], shots=50, seed=7) as circuit:
            points = POINTS[:10]
            found.append(circuit.map(points) if mapped else [circuit(x) for x in points])
    assert np.array_equal(*found)


@pytest.mark.slow
def test_a_point_that_fails_raises_its_error() -> None:
    with (
        electron(turned, Noted(fails_above=5.0), retry=None) as circuit,
        pytest.raises(qexec.ExecutorError, match="too far"),
    ):
        circuit.map(POINTS)


def test_what_a_function_raises_for_a_point_is_raised_and_nothing_more_runs() -> None:
    def picky(x: float) -> Any:
        if x > 0:
            raise LookupError("not there")
        return turned(x)

    noted = Noted()
    with electron(picky, noted) as circuit, pytest.raises(LookupError, match="not there"):
        circuit.map(POINTS)
    assert noted.seen == []


def test_derivatives_through_a_map_are_one_sweep_of_all_points_and_shifts() -> None:
    def value(x: Any) -> Any:
        qml.RX(x, 0)
        qml.RY(0.3, 0)
        return qml.expval(qml.Z(0))

    noted = Noted()
    node = qml.QNode(value, qml.device("default.qubit", wires=2), diff_method="parameter-shift")
    with qexec.qelectron(node, executors=noted) as circuit:
        derivative = qml.grad(lambda x: sum(circuit.map(list(x * pnp.array([1.0, 2.0, 3.0])))))(pnp.array(0.4))
    assert np.isclose(derivative, sum(-k * np.sin(k * 0.4) * np.cos(0.3) for k in (1, 2, 3)))
    assert noted.seen == [9]


def test_a_tracker_counts_the_circuits_of_a_map() -> None:
    with electron(turned, Noted(), shots=10) as circuit, qml.Tracker(circuit.device) as tracker:
        circuit.map(POINTS[:7])
    assert tracker.totals["simulations"] == 7
    assert tracker.totals["shots"] == 70


def test_a_function_that_maps_later_knows_the_outcome_of_each_point() -> None:
    with electron(turned, Noted(), shots=10) as circuit:
        future = qexec.run_later(circuit.map, POINTS[:5])
        future.result(60)
    assert [(one.executor, one.shots, one.circuits) for one in future.outcomes] == [("noted", 10, 1)] * 5


def test_jobs_that_cannot_be_one_sweep_stay_by_themselves() -> None:
    from pennylane_qexec.cluster.sweeps import JobGroup, grouped

    executor = Noted()
    circuits = [QuantumScript([qml.RX(x, 0)], [qml.expval(qml.Z(0))]) for x in (0.1, 0.2, 0.3)]
    jobs = [Job(circuits[0], executor), Job(circuits[1], None), Job(circuits[2], executor, vector=np.ones(1))]
    groups = grouped([JobGroup.of(place, job) for place, job in enumerate(jobs)])
    assert [group.job for group in groups] == jobs
