"""Seeds: no two executors of a cluster draw equal shots, and a cluster's seed makes results repeatable.

Counts of 4096 shots over four outcomes are equal by chance with a probability of 1.4e-6. So that two of the runs here,
of 6 counts or more, are equal has one below 1e-35, and that three pairs of at most 24 counts are, one below 1e-11.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.engine import process_pool
from pennylane_qexec.executors import identity

CIRCUIT = QuantumScript([qml.H(0), qml.H(1)], [qml.counts(wires=[0, 1])], shots=4096)

MIXTURES: dict[str, Callable[[], list[Any]]] = {
    "equal simulators": lambda: ["lightning.qubit", "lightning.qubit"],
    "simulators that draw alike": lambda: ["default.qubit", "default.mixed", "reference.qubit"],
    "with and without noise": lambda: ["aer", "aer:fake_manila"],
    "one that falls back on the other": lambda: [{"type": "jax", "compile": "never"}, "default.qubit"],
    "a hybrid": lambda: [{"type": "hybrid", "members": ["default.qubit", "lightning.qubit"]}, "default.qubit"],
    "rehearsals": lambda: [qexec.Rehearsal("aer", clock=qexec.VirtualClock()), "rehearsal:lightning.qubit"],
    "local mode": lambda: ["ibm:fake_manila", "ibm:aer"],
    "devices": lambda: [qml.device("default.qubit", wires=2), qml.device("cirq.simulator", wires=2), "cirq.simulator"],
    # those from here on are one executor each
    "worker processes": lambda: [{"type": "default.qubit", "parallel": "process", "workers": 2, "max_circuits": 1}],
    "threads": lambda: [{"type": "lightning.qubit", "parallel": "thread", "workers": 3, "max_circuits": 1}],
}
by_mixture = pytest.mark.parametrize("make", MIXTURES.values(), ids=MIXTURES)


def counted(counts: Any) -> tuple[int, ...]:
    return tuple([int(counts.get(bits, 0)) for bits in ("00", "01", "10", "11")])


def one_by_one(_: QuantumScript, outcomes: Sequence[Any]) -> list[tuple[int, ...]]:
    """A merge that keeps the shares apart."""
    return [counted(outcome.result) for outcome in outcomes]


def drawn(executors: Any, **options: Any) -> list[tuple[int, ...]]:
    """What the shares of 2 calls with 3 circuits draw."""
    with qexec.QCluster(executors, split="uniform", merge=one_by_one, **options) as cluster:
        return [share for _ in range(2) for shares in cluster.execute([CIRCUIT] * 3) for share in shares]


def drawn_whole(executors: Any, **options: Any) -> list[tuple[int, ...]]:
    with qexec.QCluster(executors, **options) as cluster:
        return [counted(result) for _ in range(2) for result in cluster.execute([CIRCUIT] * 3)]


def equal_pairs(draws: Sequence[Any]) -> int:
    return sum(one == other for one, other in combinations(draws, 2))


@pytest.mark.slow
@by_mixture
def test_a_clusters_seed_repeats_the_shots_of_executors_without_one(make: Any) -> None:
    first, again, other = drawn_whole(make(), seed=3), drawn_whole(make(), seed=3), drawn_whole(make(), seed=4)
    assert first == again != other
    assert equal_pairs(first) < 3


@pytest.mark.slow
@pytest.mark.parametrize("make", list(MIXTURES.values())[:-2], ids=list(MIXTURES)[:-2])
def test_shares_of_executors_that_a_cluster_has_seeded_are_independent(make: Any) -> None:
    assert equal_pairs(drawn(make(), seed=3)) < 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "kinds",
    [
        ["default.qubit", "default.qubit"],
        ["default.qubit", "default.mixed", "reference.qubit"],
        ["lightning.qubit", "jax", "default.qubit"],
        ["aer", "aer:fake_manila", "aer:fake_manila"],
        ["cirq.simulator", "cirq.mixedsimulator"],
        ["ibm:fake_manila", "ibm:fake_manila"],
        ["rehearsal:default.qubit", "rehearsal:default.qubit"],
    ],
    ids=" ".join,
)
def test_executors_with_equal_seeds_draw_different_shots(kinds: list[str]) -> None:
    specs = [{"type": kind, "seed": 7} for kind in kinds]
    assert equal_pairs(drawn(specs)) < 3
    numbered = drawn(specs, seed=1)
    assert equal_pairs(numbered) < 3
    assert drawn(specs, seed=1) == numbered


def test_the_first_of_equal_seeds_is_kept() -> None:
    with qexec.QCluster([{"type": "default.qubit", "seed": 7}] * 2) as cluster:
        assert cluster.executors[0].streams == {7}
        assert cluster.executors[1].streams != {7}


def test_seeds_that_differ_are_kept() -> None:
    specs = [{"type": "aer", "seed": 7}, {"type": "default.qubit", "seed": 8}]
    with qexec.QCluster(specs, seed=1) as cluster:
        assert [one.streams for one in cluster.executors] == [qexec.executor(spec).streams for spec in specs]


def test_aers_seeds_may_not_be_a_step_apart() -> None:
    """Aer adds 2113 from circuit to circuit: the second of one executor would be the first of the other."""
    specs = [{"type": "aer:fake_manila", "seed": seed} for seed in (7, 7 + 2113)]
    assert equal_pairs(drawn(specs)) < 3


def test_devices_of_the_user_with_equal_seeds_draw_different_shots_and_are_left_as_they_are() -> None:
    devices = [qml.device("default.qubit", wires=2, seed=7) for _ in range(2)]
    states = [device._rng.bit_generator.state for device in devices]
    assert equal_pairs(drawn(devices)) < 3
    assert devices[1]._rng.bit_generator.state == states[1]


def test_seeds_of_clusters_inside_of_clusters_differ_too() -> None:
    with qexec.QCluster([{"type": "default.qubit", "seed": 7}]) as inner:
        assert equal_pairs(drawn([inner, {"type": "default.mixed", "seed": 7}])) < 3


def test_members_of_a_hybrid_with_equal_seeds_get_different_ones() -> None:
    hybrid = qexec.Hybrid([{"type": "default.qubit", "seed": 7}, {"type": "default.mixed", "seed": 7}])
    one, other = (member.streams for member in hybrid.members)
    assert not one & other


def test_a_seed_is_derived_again_until_it_is_free() -> None:
    executors = [qexec.executor("default.qubit", seed=7) for _ in range(20)]
    identity.settle(executors)
    assert len(frozenset().union(*[one.streams for one in executors])) == 20


@pytest.mark.parametrize("options", [{}, {"executors": ["lightning.qubit", "aer"], "selector": "random"}], ids=str)
def test_a_devices_seed_repeats_a_program(options: Any) -> None:
    def program(seed: int) -> list[Any]:
        with qml.device("qexec.cluster", wires=2, seed=seed, **options) as device:

            @qml.set_shots(4096)
            @qml.qnode(device, diff_method="parameter-shift")
            def circuit(x: Any) -> Any:
                qml.RX(x, 0)
                qml.CNOT([0, 1])
                return qml.expval(qml.Z(0) + qml.X(1))

            x = qml.numpy.array(0.3, requires_grad=True)
            return [float(f(x)) for f in (circuit, qml.grad(circuit)) for _ in range(3)]

    first = program(5)
    assert program(5) == first != program(6)
    assert len(set(first)) > 4


@pytest.mark.parametrize("how", ["called", "later", "mapped"])
def test_the_seed_of_a_qelectron_repeats_its_shots(how: str) -> None:
    def program(seed: int) -> list[tuple[int, ...]]:
        @qexec.qelectron(seed=seed)
        @qml.qnode(qml.device("default.qubit", wires=2), shots=4096)
        def circuit(x: float) -> Any:
            qml.RX(x, 0)
            qml.H(1)
            return qml.counts()

        angles = [np.pi / 2] * 6
        if how == "later":
            return list(map(counted, qexec.gather([circuit.run_later(x) for x in angles])))
        return list(map(counted, circuit.map(angles) if how == "mapped" else map(circuit, angles)))

    first = program(5)
    assert program(5) == first != program(6)
    assert equal_pairs(first) < 3


def test_circuits_of_one_job_with_different_shots_draw_different_ones_in_local_mode() -> None:
    """Qiskit runs circuits with equal shots together, and each such run by the seed of the job."""
    executor = qexec.RuntimeExecutor("aer", seed=1)
    runs = []
    for _ in range(2):
        circuits = [CIRCUIT.copy(shots=shots) for shots in (4096, 4097)]
        first, second = (counted(counts) for counts in executor.run(circuits))
        runs.append(sum(abs(one - other) for one, other in zip(first, second, strict=True)))
    assert max(runs) > 1


def test_the_bins_of_a_shot_vector_are_independent_for_sums_on_lightning() -> None:
    """That four bins of 2048 shots have one value has a probability below 1e-5, and four times that one below 1e-20."""
    energy = qml.expval(0.3 * qml.Z(0) + 0.7 * qml.Z(1))
    circuit = QuantumScript([qml.H(0), qml.H(1)], [energy], shots=[2048] * 4)
    executor = qexec.executor("lightning.qubit")
    assert any(len(set(map(float, result))) > 1 for result in executor.run([circuit] * 4))


def test_first_shots_on_lightning_are_those_of_the_device_alone() -> None:
    circuit = QuantumScript([qml.H(0)], [qml.sample(wires=[0])], shots=100)
    alone = qml.device("lightning.qubit", wires=1, seed=7).execute(circuit)
    assert np.array_equal(qexec.executor("lightning.qubit", wires=1, seed=7).run([circuit])[0], alone)


def test_lightning_devices_of_the_user_are_left_as_they_are() -> None:
    device = qml.device("lightning.qubit", wires=1)
    before = device.LightningMeasurements
    qexec.executor(device).run([QuantumScript([qml.H(0)], [qml.expval(qml.Z(0)), qml.expval(qml.X(0))], shots=100)])
    assert device.LightningMeasurements is before


def test_worker_processes_that_have_started_change_neither_numbers_nor_what_is_recorded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(type(process_pool.shared_pool), "warm", True)
    monkeypatch.setattr(process_pool.shared_pool, "hands", 1)
    circuit = QuantumScript([qml.QFT(range(3))], [qml.counts(qml.X(0)), qml.counts(qml.Z(0))], shots=10)

    def prepared_late(cluster: qexec.QCluster, executor: int = 0) -> bool:
        return cluster.prepares_late(cluster.executors[executor], circuit, later=True)

    with qexec.QCluster("lightning.qubit") as cluster:
        assert prepared_late(cluster)
        with qexec.durable_run("a run", store=tmp_path / "runs.db"):
            assert not prepared_late(cluster)
    with qexec.QCluster(["lightning.qubit", {"type": "default.qubit", "parallel": "process"}], seed=1) as cluster:
        assert [prepared_late(cluster, executor) for executor in (0, 1)] == [False, True]
