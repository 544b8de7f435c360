"""Pooling of mid-circuit measurements: outcomes, their arithmetic, postselection, resets and conditionals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from exact import agrees, describe

import pennylane_qexec as qexec

SHOTS = 3_000
SIGMAS = 5
SIMULATORS = {
    "lightning+aer+cirq": [
        {"type": "lightning.qubit", "seed": 1},
        {"type": "aer", "seed": 2},
        "cirq.simulator",
    ],
    "default+lightning+mixed": [
        {"type": "default.qubit", "seed": 1},
        {"type": "lightning.qubit", "seed": 2},
        {"type": "default.mixed", "seed": 3},
    ],
}
PLUGINS = "lightning.qubit,qiskit.aer,cirq.simulator"
PLAIN, RESET, POSTSELECTED = {}, {"reset": True}, {"postselect": 1}
MEASUREMENTS: dict[str, Callable[[Any, Any], Any]] = {
    "expval": lambda first, second: qml.expval(first),
    "expval of not": lambda first, second: qml.expval(~first),
    "var of arithmetic": lambda first, second: qml.var(first + 2 * second),
    "probs": lambda first, second: qml.probs(op=first),
    "probs of a list": lambda first, second: qml.probs(op=[first, second]),
    "sample": lambda first, second: qml.sample(second),
    "sample of a list": lambda first, second: qml.sample([first, second]),
    "sample of arithmetic": lambda first, second: qml.sample(3 * first - second),
    "counts": lambda first, second: qml.counts(first),
    "counts of a list": lambda first, second: qml.counts([first, second]),
    "counts of arithmetic": lambda first, second: qml.counts(first + second),
    "counts of all outcomes": lambda first, second: qml.counts([first, second], all_outcomes=True),
    "counts of all sums": lambda first, second: qml.counts(first + second, all_outcomes=True),
    "an observable": lambda first, second: qml.expval(qml.Z(2) @ qml.X(1)),
    "everything": lambda first, second: (
        qml.expval(first),
        qml.probs(wires=[2, 0]),
        qml.counts([first, second]),
        qml.var(qml.X(2)),
    ),
}


@pytest.fixture(params=SIMULATORS.values(), ids=SIMULATORS)
def three(request: pytest.FixtureRequest) -> Iterator[qexec.ClusterDevice]:
    """Three simulators, with wires to defer measurements to where they have to."""
    np.random.seed(4)  # cirq.simulator draws from numpy's global stream
    with qexec.ClusterDevice(6, executors=request.param, split="uniform") as device:
        yield device


def run(measure: Any, device: Any, shots: Any, **options: Any) -> Any:
    """Run a circuit of two mid-circuit measurements, the second with options, and a conditional operation."""

    def circuit() -> Any:
        qml.RX(0.9, 0)
        qml.CNOT([0, 1])
        first = qml.measure(0)
        qml.RY(1.1, 1)
        second = qml.measure(1, **options)
        qml.cond(first, qml.RX)(1.4, 2)
        return measure(first, second)

    return qml.set_shots(qml.QNode(circuit, device), shots)()


def exactly(measure: Any, **options: Any) -> Any:
    return run(measure, qml.device("default.qubit"), None, **options)


def joint(**options: Any) -> dict[str, float]:
    """How probable every pair of outcomes is."""
    probabilities = exactly(lambda first, second: qml.probs(op=[first, second]), **options)
    return dict(zip(["00", "01", "10", "11"], probabilities.tolist(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("shots", [60, [30, 30, 7]], ids=["shots", "shot vector"])
@pytest.mark.parametrize("measure", MEASUREMENTS.values(), ids=MEASUREMENTS)
def test_results_look_as_on_one_device(three: Any, measure: Any, shots: Any) -> None:
    one = qml.device("default.qubit", seed=9)
    assert describe(run(measure, three, shots)) == describe(run(measure, one, shots))


@pytest.mark.slow
@pytest.mark.parametrize("options", [PLAIN, RESET, POSTSELECTED], ids=["plain", "reset", "postselected"])
@pytest.mark.parametrize(
    "measure",
    [
        lambda first, second: qml.expval(first),
        lambda first, second: qml.expval(first * second),
        lambda first, second: qml.expval(qml.Z(2)),
        lambda first, second: qml.expval(qml.X(1)),
    ],
    ids=["outcome", "product", "conditional operation", "observable"],
)
def test_expectation_values_are_within_5_sigma(three: Any, measure: Any, options: Any) -> None:
    """An eighth of the shots or more is valid when postselected, and no outcome is farther than 2 from another."""
    valid = SHOTS / 8 if options == POSTSELECTED else SHOTS
    assert abs(run(measure, three, SHOTS, **options) - exactly(measure, **options)) <= SIGMAS / np.sqrt(valid)


@pytest.mark.slow
@pytest.mark.parametrize("options", [PLAIN, RESET, POSTSELECTED], ids=["plain", "reset", "postselected"])
def test_outcomes_are_distributed_as_on_one_simulator(three: Any, options: Any) -> None:
    counts = run(lambda first, second: qml.counts([first, second]), three, SHOTS, **options)
    samples = run(lambda first, second: qml.sample([first, second]), three, SHOTS, **options)
    probabilities = run(lambda first, second: qml.probs(op=[first, second]), three, SHOTS, **options)
    expected = joint(**options)
    assert agrees({str(key): int(count) for key, count in counts.items()}, expected)
    assert agrees(Counter("".join(map(str, row)) for row in samples.astype(int).tolist()), expected)
    valid = SHOTS if options != POSTSELECTED else len(samples)
    assert agrees(dict(zip(expected, (probabilities * valid).round().tolist(), strict=True)), expected)


@pytest.mark.slow
def test_arithmetic_of_outcomes_is_done_shot_by_shot(three: Any) -> None:
    expected = joint()
    counts = run(lambda first, second: qml.counts(first + second), three, SHOTS)
    sums = {0.0: expected["00"], 1.0: expected["01"] + expected["10"], 2.0: expected["11"]}
    assert agrees({float(key): int(count) for key, count in counts.items()}, sums)


@pytest.mark.slow
def test_the_variance_of_outcomes_is_that_of_the_union(three: Any) -> None:
    """Within 5 sigma, where sigma is at most 9 / (2 sqrt(shots)) for outcomes between 0 and 3."""
    measure = MEASUREMENTS["var of arithmetic"]
    assert abs(run(measure, three, SHOTS) - exactly(measure)) <= SIGMAS * 4.5 / np.sqrt(SHOTS)


@pytest.mark.parametrize("options", [PLAIN, POSTSELECTED], ids=["plain", "postselected"])
@pytest.mark.parametrize("name", ["counts of all outcomes", "counts of all sums"])
def test_all_outcomes_are_those_of_one_device(three: Any, name: str, options: Any) -> None:
    one = qml.device("default.qubit", seed=9)
    pooled, single = (run(MEASUREMENTS[name], device, 30, **options) for device in (three, one))
    assert pooled.keys() == single.keys()


@pytest.mark.slow
def test_postselection_counts_the_valid_shots_only(three: Any) -> None:
    """Number of valid shots within 5 sigma: sqrt(p (1 - p) shots)."""
    counts = run(lambda first, second: qml.counts([first, second]), three, SHOTS, **POSTSELECTED)
    weight = joint()["01"] + joint()["11"]
    assert set(counts) <= {"01", "11"}
    assert abs(sum(counts.values()) - weight * SHOTS) <= SIGMAS * np.sqrt(weight * (1 - weight) * SHOTS)


def test_every_simulator_takes_its_share_of_a_circuit_it_can_run(three: Any) -> None:
    run(MEASUREMENTS["expval"], three, 90)
    assert sorted(row.shots for row in three.history) == [30, 30, 30]


def test_devices_that_cannot_postselect_are_left_out() -> None:
    with qexec.ClusterDevice(6, executors=PLUGINS, split="uniform") as device:
        run(MEASUREMENTS["expval"], device, 90, **POSTSELECTED)
        assert {row.executor for row in device.history} == {"lightning.qubit"}


def test_devices_without_wires_to_defer_to_are_left_out() -> None:
    with qexec.ClusterDevice(3, executors=PLUGINS, split="uniform") as device:
        run(MEASUREMENTS["expval"], device, 90)
        assert [(row.executor, row.shots) for row in device.history] == [("lightning.qubit", 90)]


def test_where_no_device_can_postselect_nothing_runs() -> None:
    with qexec.ClusterDevice(6, executors="qiskit.aer,cirq.simulator", split="uniform") as device:
        with pytest.raises(qexec.NoExecutorError, match=r"'qiskit.aer' refuses it.*'cirq.simulator' refuses it"):
            run(MEASUREMENTS["expval"], device, 90, **POSTSELECTED)
        assert len(device.history) == 0
