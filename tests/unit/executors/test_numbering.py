"""Circuits with numbers: what they draw follows from the seed of their executor and their number alone."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.devices import Device
from pennylane.tape import QuantumScript
from scipy.stats import chi2, norm

import pennylane_qexec as qexec
from pennylane_qexec.executors.pennylane import broadcasting
from pennylane_qexec.executors.pennylane.seeds import Numbering, StreamOffsets, of_parts, place_of
from pennylane_qexec.job import Call, Job, Work

SEEDED = ["default.qubit", "default.mixed", "lightning.qubit", "aer", "jax", "reference.qubit", "cirq.simulator"]
SIGMAS = 5


def circuit(angle: float = 1.2, shots: int | None = 50) -> QuantumScript:
    operations = [qml.RX(angle, 0), qml.CNOT([0, 1]), qml.RY(0.7, 1)]
    return QuantumScript(operations, [qml.probs(wires=[0, 1])], shots=shots)


def taken_apart(shots: int = 50) -> QuantumScript:
    """A circuit that some simulators run as two, whose measurements do not go together."""
    return QuantumScript([qml.RX(1.2, 0)], [qml.expval(qml.Z(0)), qml.expval(qml.X(0))], shots=shots)


def made(name: str, seed: int = 1, **options: Any) -> qexec.Executor:
    if name == "jax":
        options |= {"compile": "never", "cache": False}
    return qexec.executor({"type": name, "seed": seed, **options})


def run(executor: qexec.Executor, numbers: Sequence[int], circuits: Sequence[QuantumScript] = ()) -> list[Any]:
    given = tuple(circuits) or tuple(circuit() for _ in numbers)
    return list(executor.perform(Work(given, numbers=tuple(numbers))))


def same(one: Any, other: Any) -> bool:
    return all(map(np.array_equal, map(np.asarray, one), map(np.asarray, other)))


@pytest.mark.parametrize("name", SEEDED)
def test_another_seed_draws_something_else(name: str) -> None:
    assert not same(run(made(name, seed=1), range(6)), run(made(name, seed=2), range(6)))


@pytest.mark.parametrize("name", SEEDED)
def test_a_new_executor_goes_on_where_another_one_was_interrupted(name: str) -> None:
    circuits = [circuit(0.1 * index) if index % 3 else taken_apart() for index in range(8)]
    whole = run(made(name), range(8), circuits)
    rest = run(made(name), range(5, 8), circuits[5:])
    assert all(map(same, map(np.atleast_1d, whole[5:]), map(np.atleast_1d, rest)))


@pytest.mark.parametrize("name", SEEDED)
def test_circuits_without_numbers_draw_what_they_would_without_those_with_some(name: str) -> None:
    alone, mixed = made(name), made(name)
    expected = [alone.run([circuit()])[0] for _ in range(3)]
    got = []
    for number in range(3):
        got += mixed.run([circuit()])
        run(mixed, [number, 77])
    assert same(expected, got)


@pytest.mark.parametrize("name", ["default.qubit", "aer", "jax"])
def test_numbers_do_not_matter_to_an_executor_without_a_seed(name: str) -> None:
    options = {"compile": "never", "cache": False} if name == "jax" else {}
    executor = qexec.executor({"type": name, **options})
    first, second = (run(executor, [1], [circuit(shots=10_000)]) for _ in range(2))
    assert not same(first, second)


@pytest.mark.parametrize("name", SEEDED)
def test_analytic_circuits_are_exact_whatever_their_number(name: str) -> None:
    results = run(made(name), [3, 4], [circuit(shots=None), circuit(shots=None)])
    exact = np.asarray(qml.execute([circuit(shots=None)], qml.device("reference.qubit", wires=2))[0])
    assert np.allclose(results, [exact, exact], atol=1e-6)


@pytest.mark.parametrize("name", ["default.qubit", "lightning.qubit"])
def test_a_device_given_as_an_object_draws_by_the_seed_that_it_was_built_with(name: str) -> None:
    def given(seed: int) -> qexec.Executor:
        return qexec.executor(qml.device(name, wires=2, seed=seed))

    assert same(run(given(1), range(6)), run(made(name, 1, wires=2), range(6)))
    assert not same(run(given(1), range(6)), run(given(2), range(6)))


def test_the_parts_of_a_circuit_draw_from_streams_of_their_own() -> None:
    """X and Z of a state between both have one distribution: that 12 pairs of sums are equal has a chance of 1e-18."""
    between = QuantumScript([qml.RY(np.pi / 4, 0)], taken_apart().measurements, shots=1000)
    for name in ("default.qubit", "cirq.simulator", "aer"):
        results = np.array(run(made(name), range(12), [between] * 12))
        assert np.any(results[:, 0] != results[:, 1])


def test_parts_have_numbers_of_their_own_and_the_first_has_the_circuits() -> None:
    numbers = of_parts((4, 5, 6), (1, 3, 0))
    assert numbers[:2] == (4, 5)
    assert len(set(numbers)) == 4
    assert of_parts((), (1, 3)) == ()


def test_bound_circuits_keep_their_numbers() -> None:
    executor = made("default.qubit")
    bound = executor.binder(Call().config, circuit())(circuit())
    work = Work(bound.circuits, Call(config=bound.config, bound=True), numbers=(9,))
    assert same(executor.perform(work), run(executor, [9]))


@pytest.mark.parametrize("name", ["default.qubit", "default.mixed"])
def test_circuits_that_run_as_one_draw_by_their_numbers_too(name: str) -> None:
    circuits = [circuit(0.1 * index) for index in range(16)]
    alone = [run(made(name), [number], [one])[0] for number, one in enumerate(circuits)]
    for _ in range(2):  # found out, and known
        device, numbering = qml.device(name, seed=5), Numbering.of(1)
        assert numbering is not None
        places = StreamOffsets(numbering.stream(device._rng), [place_of(number) for number in range(16)])
        together = broadcasting.execute(device, circuits, Call().config, places=places)
        assert same(together, alone)


def test_a_device_of_another_kind_is_built_anew_for_each_circuit(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []

    class Odd(Device):
        """A simulator that does not show what it draws from."""

        def __init__(self, wires: Any = None, seed: int | None = None) -> None:
            super().__init__(wires=wires)
            built.append(seed)
            self.hidden = qml.devices.DefaultQubit(wires=wires, seed=seed)

        def preprocess_transforms(self, execution_config: Any = None) -> Any:
            return self.hidden.preprocess_transforms(execution_config)

        def execute(self, circuits: Any, execution_config: Any = None) -> Any:
            return self.hidden.execute(circuits)

    monkeypatch.setattr(qml, "device", lambda name, wires=None, **options: Odd(wires, **options))
    first = run(made("default.qubit"), range(4))
    assert len(set(built)) == 5
    executor = made("default.qubit")
    assert same(first[::-1], [run(executor, [number])[0] for number in (3, 2, 1, 0)])


def test_a_batch_of_jobs_has_their_numbers() -> None:
    assert Work.of([Job(circuit(), number=4), Job(circuit(), number=2)]).numbers == (4, 2)
    assert Work.of([Job(circuit()), Job(circuit())]).numbers == ()


def test_a_part_of_a_batch_has_what_belongs_to_its_circuits() -> None:
    circuits = [circuit(), taken_apart(), circuit(0.3)]
    part = Work(tuple(circuits), vectors=("a", "b", "c"), numbers=(4, 5, 6)).part([2, 0])
    assert part == Work((circuits[2], circuits[0]), vectors=("c", "a"), numbers=(6, 4))


def test_seeds_that_are_no_numbers_give_no_streams() -> None:
    assert Numbering.of("global") is None
    assert Numbering.of(None) is None
    assert Numbering.of(np.random.default_rng(1)) is None
    assert Numbering.of([1, 2]) is not None


def test_an_executor_sent_to_another_process_draws_the_same_by_numbers() -> None:
    executor = made("lightning.qubit")
    copy = pickle.loads(pickle.dumps(executor))
    copy.become_replica(3)
    assert same(run(executor, range(5)), run(copy, range(5)))


def test_the_members_of_a_hybrid_get_the_numbers_of_their_circuits() -> None:
    def hybrid() -> qexec.Executor:
        members = {"small": {"type": "default.qubit", "seed": 1}, "large": {"type": "lightning.qubit", "seed": 2}}
        return qexec.Hybrid(members, rule=[qexec.Tier("small", wires=1), qexec.Tier("large")])

    circuits = [circuit() if index % 2 else taken_apart() for index in range(6)]
    whole = run(hybrid(), range(6), circuits)
    alone = [run(hybrid(), [index], [circuits[index]])[0] for index in range(6)]
    assert all(map(same, map(np.atleast_1d, whole), map(np.atleast_1d, alone)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["default.qubit", "lightning.qubit", "aer", "jax"])
def test_circuits_of_many_numbers_are_independent(name: str) -> None:
    """Chi-square of 2000 circuits within 5 sigma: of all outcomes, and of neighbours' first outcomes together."""
    half = QuantumScript([qml.H(0), qml.H(1)], [qml.sample(wires=[0, 1])], shots=16)
    drawn = np.array(run(made(name), range(2000), [half] * 2000)).reshape(2000, 16, 2)
    outcomes = 2 * drawn[..., 0] + drawn[..., 1]
    assert _chi_square(np.bincount(outcomes.ravel(), minlength=4)) < SIGMAS
    pairs = 4 * outcomes[:-1:2] + outcomes[1::2]
    assert _chi_square(np.bincount(pairs.ravel(), minlength=16)) < SIGMAS
    within = np.array([_statistic(np.bincount(row, minlength=4)) for row in outcomes])
    assert abs(within.sum() - 3 * 2000) < SIGMAS * np.sqrt(2 * 3 * 2000)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["default.qubit", "lightning.qubit", "aer", "jax"])
def test_executors_of_neighbouring_seeds_are_independent(name: str) -> None:
    """Chi-square of pairs of outcomes, of one number and two seeds, within 5 sigma."""
    half = QuantumScript([qml.H(0), qml.H(1)], [qml.sample(wires=[0, 1])], shots=16)
    drawn = [np.array(run(made(name, seed), range(1000), [half] * 1000)).reshape(1000, 16, 2) for seed in (1, 2)]
    first, second = (2 * one[..., 0] + one[..., 1] for one in drawn)
    assert _chi_square(np.bincount((4 * first + second).ravel(), minlength=16)) < SIGMAS


@pytest.mark.slow
def test_noisy_circuits_of_aer_draw_by_their_numbers() -> None:
    circuits = [circuit(0.1 * index) if index % 3 else taken_apart() for index in range(9)]
    noisy = qexec.AerExecutor("fake_manila", seed=1)
    numbers = [0, 1, 2, 7, 8, 30, 4, 5, 31]
    whole = run(noisy, numbers, circuits)
    alone = [run(noisy, [number], [one])[0] for number, one in zip(numbers, circuits, strict=True)]
    assert all(map(same, map(np.atleast_1d, whole), map(np.atleast_1d, alone)))


def _statistic(counts: np.ndarray) -> float:
    expected = counts.sum() / len(counts)
    return float(((counts - expected) ** 2 / expected).sum())


def _chi_square(counts: np.ndarray) -> float:
    """How many sigmas of a normal distribution an excess as large as this of even counts is worth."""
    return float(norm.isf(chi2.sf(_statistic(counts), len(counts) - 1)))
