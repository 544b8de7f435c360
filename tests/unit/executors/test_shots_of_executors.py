"""Executors with shots of their own, which go before those of the circuit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.executors import common_shots, objection_to_shots, refuse_split
from pennylane_qexec.testing import ScriptedExecutor

COUNTS = QuantumScript([qml.Hadamard(0)], [qml.counts(wires=[0])], shots=10)
VALUE = QuantumScript([qml.RX(0.4, 0)], [qml.expval(qml.Z(0))])
NEVER = qexec.retries.never()


class Fixed(ScriptedExecutor):
    """Runs what it is given, with shots of its own."""

    def __init__(self, name: str, shots: int | None, **options: Any) -> None:
        super().__init__(name, **options)
        self.shots = shots


def simulator(shots: int | None = 0, **options: Any) -> qexec.Executor:
    return qexec.Simulator("default.qubit", shots=shots, **options)


def total(counts: Any) -> int:
    return int(sum(counts.values()))


@pytest.mark.parametrize("parallel", ["auto", "thread"])
@pytest.mark.parametrize("asked", [None, 10, 5000])
def test_a_number_of_shots_goes_before_that_of_the_circuit(open_cluster: Any, asked: int | None, parallel: str) -> None:
    cluster = open_cluster(simulator(70, parallel=parallel))
    (counts,) = cluster.execute([COUNTS.copy(shots=asked)])
    assert total(counts) == 70
    assert [row.shots for row in cluster.history] == [70]


def test_none_makes_circuits_analytic(open_cluster: Any) -> None:
    cluster = open_cluster(simulator(None))
    (value,) = cluster.execute([VALUE.copy(shots=10)])
    assert float(value) == pytest.approx(np.cos(0.4))
    assert [row.shots for row in cluster.history] == [0]


@pytest.mark.parametrize("asked", [10, [4, 6]])
def test_zero_leaves_the_shots_of_the_circuit(open_cluster: Any, asked: Any) -> None:
    (counts,) = open_cluster(simulator(0)).execute([COUNTS.copy(shots=asked)])
    assert [total(each) for each in (counts if isinstance(counts, tuple) else (counts,))] == list(np.atleast_1d(asked))


def test_a_simulator_alone_keeps_to_its_shots_too() -> None:
    assert [total(counts) for counts in simulator(70).run([COUNTS, COUNTS.copy(shots=3)])] == [70, 70]


def test_seeds_are_drawn_as_by_a_device_with_these_shots(open_cluster: Any) -> None:
    circuit = QuantumScript([qml.Hadamard(0)], [qml.sample(wires=[0])], shots=10)
    alone = qml.execute([circuit.copy(shots=40)], qml.device("default.qubit", wires=1, seed=5), diff_method=None)
    assert np.array_equal(open_cluster(simulator(40, seed=5, parallel="auto")).execute([circuit])[0], alone[0])


def test_measurements_that_need_shots_are_refused_where_there_are_none(open_cluster: Any) -> None:
    with pytest.raises(qexec.NoExecutorError, match=r"'default\.qubit' refuses it"):
        open_cluster(simulator(None)).execute([COUNTS])


def test_a_backend_that_needs_shots_takes_analytic_circuits_if_it_has_its_own(open_cluster: Any) -> None:
    noisy = qexec.QiskitExecutor("sampler", "fake_manila", shots=30)
    (counts,) = open_cluster(noisy).execute([COUNTS.copy(shots=None)])
    assert total(counts) == 30


@pytest.mark.parametrize("own", [70, None])
@pytest.mark.parametrize("selector", ["cyclic", "least_loaded"])
def test_a_shot_vector_is_refused_where_an_executor_would_replace_it(
    open_cluster: Any, own: int | None, selector: str
) -> None:
    cluster = open_cluster([simulator(), simulator(own, name="mine")], selector=selector)
    with pytest.raises(qexec.ConfigurationError, match=r"shot vector \(4, 6\), and executor 'mine' .* shots=0"):
        cluster.execute([COUNTS.copy(shots=[4, 6])])


@pytest.mark.parametrize("parallel", ["auto", "thread"])
def test_executors_bound_late_keep_to_their_shots(open_cluster: Any, parallel: str) -> None:
    members = [simulator(70, name="a", parallel=parallel), simulator(30, name="b", parallel=parallel)]
    cluster = open_cluster(members, selector="least_loaded")
    results = cluster.execute([COUNTS] * 8)
    ran = {row.executor: row.shots for row in cluster.history}
    assert {total(counts) for counts in results} == set(ran.values()) <= {70, 30}
    assert ran.get("a", 70) == 70
    assert ran.get("b", 30) == 30


def first(circuit: QuantumScript, executors: Sequence[qexec.Executor]) -> qexec.Executor:
    return executors[0]


@pytest.mark.parametrize("own", [25, 70])
def test_after_a_failover_the_shots_are_those_of_the_other_executor(open_cluster: Any, own: int) -> None:
    broken = Fixed("broken", 50, failures=[ValueError("no")])
    cluster = open_cluster([broken, simulator(own, name="good")], selector=first, retry=NEVER)
    (counts,) = cluster.execute([COUNTS])
    assert total(counts) == own
    assert [(row.executor, row.shots) for row in cluster.history] == [("good", own)]


def test_after_a_failover_to_an_executor_without_shots_of_its_own_they_are_the_circuits_again(
    open_cluster: Any,
) -> None:
    broken = Fixed("broken", 50, failures=[ValueError("no")])
    cluster = open_cluster([broken, simulator(name="good")], selector=first, retry=NEVER)
    (counts,) = cluster.execute([COUNTS])
    assert total(counts) == 10
    assert [(row.executor, row.shots) for row in cluster.history] == [("good", 10)]


def test_after_a_failover_from_an_analytic_executor_shots_are_drawn_again(open_cluster: Any) -> None:
    broken, good = Fixed("broken", None, failures=[ValueError("no")]), Fixed("good", 0)
    open_cluster([broken, good], selector=first, retry=NEVER).execute([VALUE.copy(shots=10)])
    assert (broken.batches[0][0].shots.total_shots, good.shots_run) == (None, 10)


def test_the_limit_of_shots_holds_for_those_that_are_run(open_cluster: Any) -> None:
    (counts,) = open_cluster(simulator(70, max_shots=100)).execute([COUNTS.copy(shots=5000)])
    assert total(counts) == 70
    with pytest.raises(qexec.NoExecutorError, match="takes at most 100 shots"):
        open_cluster(simulator(700, max_shots=100)).execute([COUNTS])


@pytest.mark.slow
def test_circuits_prepared_in_a_worker_process_have_the_shots_of_their_executor(open_cluster: Any) -> None:
    cluster = open_cluster(simulator(70, parallel="process", workers=1))
    (counts,) = cluster.execute([COUNTS])
    assert total(counts) == 70
    assert [row.shots for row in cluster.history] == [70]


@pytest.mark.parametrize("own", [50, None])
def test_a_gradient_is_taken_with_the_shots_of_the_executor(open_device: Any, own: int | None) -> None:
    device = open_device([simulator(own)], 1)

    @qml.set_shots(20)
    @qml.qnode(device, diff_method="parameter-shift")
    def circuit(angle: Any) -> Any:
        qml.RX(angle, 0)
        return qml.expval(qml.Z(0))

    slope = qml.grad(circuit)(qml.numpy.array(0.4))
    assert [row.shots for row in device.history] == [own or 0] * 3
    assert slope == pytest.approx(-np.sin(0.4), abs=1e-9 if own is None else 5 / np.sqrt(own))


def test_device_derivatives_are_not_claimed_where_an_executor_has_shots_of_its_own(open_device: Any) -> None:
    device = open_device([simulator(), simulator(50)], 1)

    @qml.qnode(device)
    def circuit(angle: Any) -> Any:
        qml.RX(angle, 0)
        return qml.expval(qml.Z(0))

    qml.grad(circuit)(qml.numpy.array(0.4))
    assert len(device.history) == 3
    assert not device.supports_derivatives(qml.devices.ExecutionConfig(gradient_method="adjoint"))


def test_device_derivatives_are_claimed_where_all_executors_are_analytic(open_device: Any) -> None:
    device = open_device([simulator(None), simulator()], 1)
    assert device.supports_derivatives(qml.devices.ExecutionConfig(gradient_method="adjoint"))


@pytest.mark.parametrize("own", [50, None])
def test_shots_cannot_be_split_over_executors_with_their_own(own: int | None) -> None:
    with pytest.raises(qexec.ConfigurationError, match=r"split='uniform' shares out .* executor 'mine' .* shots=0"):
        refuse_split([simulator(), simulator(own, name="mine")], "uniform")


def test_shots_can_be_split_over_executors_without_their_own() -> None:
    refuse_split([simulator(), simulator()], "uniform")


@pytest.mark.parametrize(
    ("own", "common"), [([], 0), ([0], 0), ([50, 50], 50), ([None, None], None), ([50, 60], 0), ([50, 0], 0)]
)
def test_the_shots_that_executors_share(own: list[int | None], common: int | None) -> None:
    assert common_shots([simulator(shots) for shots in own]) == common


def test_a_part_of_a_shot_vector_is_objected_to_by_executors_with_their_own() -> None:
    assert "shot vector" in str(objection_to_shots(simulator(50), COUNTS.copy(shots=[1, 1])))
    assert "shot vector" in str(simulator(50).rejects(COUNTS.copy(shots=[1, 1])))
    assert objection_to_shots(simulator(), COUNTS.copy(shots=[1, 1])) is None


def test_the_shots_asked_for_survive_pennylanes_copies() -> None:
    changed = simulator(50).with_shots(COUNTS)
    assert changed.shots.total_shots == 50
    assert simulator().with_shots(changed.copy()).shots.total_shots == 10
    assert simulator().with_shots(changed.bind_new_parameters([], [])).shots.total_shots == 10
    assert simulator(None).with_shots(changed).shots.total_shots is None


def test_equal_circuits_of_executors_with_other_shots_are_not_taken_for_one(open_device: Any) -> None:
    turns = itertools.count()

    def in_turn(circuit: QuantumScript, executors: Sequence[Any]) -> Any:
        return executors[next(turns) % 2]

    device = open_device([simulator(50), simulator(60)], selector=in_turn)
    results = qml.execute([COUNTS, COUNTS], device, diff_method=None, cache=True)
    assert [total(counts) for counts in results] == [50, 60]
