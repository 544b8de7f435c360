"""No shot is lost or invented: whatever the circuit, the split and the failures, what ran is what was asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pennylane.measurements import Shots
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec import splits
from pennylane_qexec.testing import ScriptedExecutor

RETRY = qexec.retries.backoff(attempts=3, initial=0)
GATES = [qml.Hadamard, qml.X, qml.S]


@st.composite
def operations(draw: Any) -> list[Any]:
    """Up to six gates on one to three wires, and an identity on each so that every wire is there."""
    wires = range(draw(st.integers(1, 3)))
    gates = [qml.I(wire) for wire in wires]
    for _ in range(draw(st.integers(0, 6))):
        wire = draw(st.sampled_from(wires))
        gates.append(draw(st.sampled_from([*(gate(wire) for gate in GATES), qml.RX(draw(st.floats(0, 6)), wire)])))
        if len(wires) > 1 and draw(st.booleans()):
            gates.append(qml.CNOT([wire, (wire + 1) % len(wires)]))
    return gates


@st.composite
def cut(draw: Any) -> Any:
    """A split of a user: the shots cut at random places, with empty shares and executors named twice among them."""
    fractions = sorted(draw(st.lists(st.floats(0, 1), min_size=0, max_size=5)))
    order = draw(st.permutations(range(len(fractions) + 1)))

    def split(circuit: QuantumScript, executors: Sequence[Any]) -> list[tuple[Any, int]]:
        total = circuit.shots.total_shots
        ends = [0, *(int(fraction * total) for fraction in fractions), total]
        pieces = np.diff(ends)[list(order)]
        return [(executors[index % len(executors)], int(piece)) for index, piece in enumerate(pieces)]

    return split


WEIGHTS = st.lists(st.floats(0, 100), min_size=3, max_size=3).filter(any)
SPLITS = st.one_of(
    st.sampled_from(["uniform", "multiplier", "proportional"]),
    WEIGHTS.map(lambda weights: splits.weighted({f"executor-{index}": w for index, w in enumerate(weights)})),
    cut(),
)
SHOTS = st.one_of(st.integers(1, 400), st.lists(st.integers(1, 60), min_size=1, max_size=4))


def no_three_in_a_row(failures: list[bool]) -> bool:
    """Three failures in a row would set the executor aside for a second."""
    return not any(all(failures[index : index + 3]) for index in range(len(failures) - 2))


FAULTS = st.lists(
    st.lists(st.booleans(), max_size=5).filter(no_three_in_a_row).map(lambda pattern: [*pattern, False]),
    min_size=3,
    max_size=3,
)


def executors(faults: Iterable[list[bool]], **options: Any) -> list[ScriptedExecutor]:
    return [
        ScriptedExecutor(
            f"executor-{index}", failures=[OSError("line noise") if fails else None for fails in pattern], **options
        )
        for index, pattern in enumerate(faults)
    ]


def counted(result: Any) -> list[int]:
    bins = result if isinstance(result, tuple) else (result,)
    return [sum(int(count) for count in each.values()) for each in bins]


@pytest.mark.slow
@given(operations(), SHOTS, SPLITS, FAULTS)
def test_the_shots_executed_and_merged_are_the_shots_asked_for(
    gates: list[Any], shots: Any, split: Any, faults: list[list[bool]]
) -> None:
    members = executors(faults)
    asked = [int(number) for number in Shots(shots)]
    times = len(members) if split == "multiplier" else 1
    with qexec.QCluster(members, split=split, retry=RETRY) as cluster:
        (result,) = cluster.execute([QuantumScript(gates, [qml.counts()], shots=shots)])
        assert counted(result) == [times * number for number in asked]
        assert sum(row.shots for row in cluster.history if row.state is qexec.JobState.DONE) == times * sum(asked)
        assert all(row.state is qexec.JobState.DONE for row in cluster.history)
    assert sum(member.shots_run for member in members) == times * sum(asked)


@pytest.mark.slow
@settings(max_examples=25)
@given(operations(), SHOTS, SPLITS.filter(lambda split: split != "multiplier"), FAULTS)
def test_every_sampling_circuit_of_a_circuit_runs_all_the_shots(
    gates: list[Any], shots: Any, split: Any, faults: list[list[bool]]
) -> None:
    """Observables that do not commute take a circuit each, unless one executor does it all by itself."""
    members = executors(faults)
    measurements = [qml.counts(qml.X(0)), qml.sample(qml.Y(0)), qml.sample(wires=[0])]
    asked = [int(number) for number in Shots(shots)]
    with qexec.QCluster(members, split=split, retry=RETRY) as cluster:
        (result,) = cluster.execute([QuantumScript(gates, measurements, shots=shots)])
        per_bin = result if len(asked) > 1 else (result,)
        assert [sum(counts.values()) for counts, _, _ in per_bin] == asked
        assert [len(samples) for _, samples, _ in per_bin] == asked
        assert [len(samples) for _, _, samples in per_bin] == asked
        done = sum(row.shots for row in cluster.history)
    assert sum(member.shots_run for member in members) == done
    assert done in (sum(asked), 3 * sum(asked))


@pytest.mark.slow
@settings(max_examples=25)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), FAULTS, st.integers(1, 3), st.integers(50, 90))
def test_limits_of_batches_lose_no_shot(
    numbers: list[int], faults: list[list[bool]], max_circuits: int, max_shots: int
) -> None:
    members = executors(faults, max_circuits=max_circuits, max_shots=max_shots)
    with qexec.QCluster(members, split="uniform", retry=RETRY) as cluster:
        results = cluster.execute([QuantumScript([qml.Hadamard(0)], [qml.counts()], shots=n) for n in numbers])
    assert [sum(counted(result)) for result in results] == numbers
    assert sum(member.shots_run for member in members) == sum(numbers)


@settings(max_examples=25)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=6), FAULTS, st.sampled_from(["cyclic", "random"]))
def test_a_selector_sends_every_shot_once(numbers: list[int], faults: list[list[bool]], selector: str) -> None:
    members = executors(faults)
    with qexec.QCluster(members, selector=selector, retry=RETRY, seed=0) as cluster:
        results = cluster.execute([QuantumScript([qml.Hadamard(0)], [qml.counts()], shots=n) for n in numbers])
    assert [sum(counted(result)) for result in results] == numbers
    assert sum(member.shots_run for member in members) == sum(numbers)


def test_a_share_that_fails_over_is_counted_once() -> None:
    broken, good = ScriptedExecutor("broken", failures=[ValueError("no")]), ScriptedExecutor("good")
    with qexec.QCluster([broken, good], split="uniform", retry=RETRY) as cluster:
        (counts,) = cluster.execute([QuantumScript([qml.Hadamard(0)], [qml.counts()], shots=31)])
        assert sum(counts.values()) == 31
        assert [(row.executor, row.state) for row in cluster.history] == [("good", "done")] * 2
    assert (broken.shots_run, good.shots_run) == (0, 31)


def test_a_circuit_that_cannot_be_saved_gives_no_result() -> None:
    with (
        qexec.QCluster(
            [
                ScriptedExecutor("a", failures=[ValueError("no")] * 9),
                ScriptedExecutor("b", failures=[ValueError()] * 9),
            ],
            split="uniform",
            retry=RETRY,
        ) as cluster,
        pytest.raises(qexec.ExecutorError),
    ):
        cluster.execute([QuantumScript([qml.Hadamard(0)], [qml.counts()], shots=31)])
