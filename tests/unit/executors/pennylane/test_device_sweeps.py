"""Sweeps on PennyLane's devices: the values and shots of their circuits, which are made only where they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.templates import sweep_of_circuit
from pennylane_qexec.executors import DeviceExecutor, Simulator
from pennylane_qexec.executors.jax import JaxExecutor
from pennylane_qexec.executors.pennylane import executor as devices
from pennylane_qexec.executors.shots import reshot, reshot_sweep
from pennylane_qexec.job import Call, Sweep, Work

GATES = [qml.RX(0.1, 0), qml.CRY(0.2, [0, 1]), qml.Rot(0.3, 0.4, 0.5, 1), qml.H(2), qml.RX(0.6, 2)]
HAMILTONIAN = qml.Hamiltonian([0.5, 0.25, 0.25], [qml.Z(0) @ qml.Z(1), qml.X(1), qml.Y(0) @ qml.X(2)])
MEASURED = (qml.expval(HAMILTONIAN), qml.probs(wires=[2, 0]), qml.var(qml.X(1)))
DEVICES = ("lightning.qubit", "default.qubit", "default.mixed", "cirq.simulator")


def sweep(shots: Any = None, measured: Sequence[Any] = MEASURED, rows: int = 14) -> Sweep:
    """The shifted circuits of a gradient: one angle of each differs from the first's."""
    one = sweep_of_circuit(QuantumScript(GATES, measured, shots=shots))
    assert one is not None
    table = np.repeat(one.parameters, rows, axis=0)
    table[range(1, rows), np.arange(rows - 1) % 6] += np.pi / 2
    return replace(one, parameters=table)


def work(*sweeps: Sweep, call: Call | None = None, numbers: tuple[int, ...] = ()) -> Work:
    return Work(tuple([one.template for one in sweeps]), call or Call(), numbers=numbers, sweeps=sweeps)


def circuits_only(batch: Work, executor: DeviceExecutor) -> list[list[Any]]:
    """What an executor makes of the circuits of sweeps."""
    return batch.by_sweep(executor.perform(batch.expanded()))


def same(one: Any, other: Any, tolerance: float = 0.0) -> bool:
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(same(*pair, tolerance) for pair in zip(one, other, strict=True))
    return bool(np.allclose(one, other, rtol=0, atol=tolerance))


def test_the_circuits_of_a_sweep_share_the_gates_whose_numbers_are_those_of_the_first() -> None:
    shifted = sweep()
    first, *others = shifted.circuits()
    assert [sum(a is not b for a, b in zip(one, first, strict=True)) for one in others] == [1] * 13
    for row, circuit in enumerate([first, *others]):
        assert list(circuit.get_parameters(trainable_only=False))[:6] == shifted.parameters[row].tolist()
        assert circuit.get_parameters(trainable_only=False) == shifted.circuit(row).get_parameters(trainable_only=False)
        assert circuit.measurements == list(MEASURED)


def test_a_sweep_of_the_same_circuit_is_that_circuit_each_time() -> None:
    constant = Sweep(QuantumScript([qml.H(0)], [qml.probs()], shots=3), np.empty((3, 0)), ())
    assert [one.operations for one in constant.circuits()] == [[qml.H(0)]] * 3


@pytest.mark.parametrize("device", DEVICES)
def test_values_are_those_of_the_circuits(device: str) -> None:
    batch = work(sweep(), sweep(rows=2, measured=[qml.expval(qml.Z(0))]))
    found, expected = (run(DeviceExecutor(device, wires=3)) for run in (by_sweeps(batch), by_circuits(batch)))
    assert same(found, expected, 1e-6 if device.startswith("cirq") else 1e-10)  # Cirq has single precision


@pytest.mark.slow
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("numbers", [(), (5, 100)])
@pytest.mark.parametrize("shots", [60, (20, 20, 30)])
def test_seeded_shots_are_those_of_the_circuits(device: str, numbers: tuple[int, ...], shots: Any) -> None:
    batch = work(sweep(shots), sweep(shots, [qml.sample(wires=[0])], rows=3), numbers=numbers)
    found, expected = (run(DeviceExecutor(device, wires=3, seed=4)) for run in (by_sweeps(batch), by_circuits(batch)))
    assert same(found, expected)


def by_sweeps(batch: Work) -> Any:
    return lambda executor: executor.perform_sweeps(batch)


def by_circuits(batch: Work) -> Any:
    return lambda executor: circuits_only(batch, executor)


@pytest.mark.parametrize("device", ["lightning.qubit", "default.qubit"])
def test_templates_that_are_bound_already_are_not_prepared_again(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    executor, shifted = DeviceExecutor(device, seed=1), sweep(50)
    bound = executor.binder(Call().config, shifted.template)(shifted.template)
    batch = work(shifted, call=Call(config=bound.config, bound=True))
    expected = circuits_only(batch, DeviceExecutor(device, seed=1))
    monkeypatch.setattr(DeviceExecutor, "binder", None)
    assert same(executor.perform_sweeps(batch), expected)


def test_a_simulator_that_broadcasts_is_given_the_matrix_and_no_circuits(monkeypatch: pytest.MonkeyPatch) -> None:
    executor, batch = DeviceExecutor("default.qubit"), work(sweep(), sweep())
    expected = executor.perform_sweeps(batch)
    made = []
    monkeypatch.setattr(Sweep, "circuits", lambda one: made.append(one))
    assert same(executor.perform_sweeps(batch), expected, 1e-10)
    assert made == []


def test_a_program_looks_at_a_template_once_for_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    executor, seen = DeviceExecutor("lightning.qubit"), []
    binder = DeviceExecutor.binder

    def watched(self: Any, config: Any, circuit: Any) -> Any:
        bind = binder(self, config, circuit)
        return lambda one: (seen.append(one), bind(one))[1]

    monkeypatch.setattr(DeviceExecutor, "binder", watched)
    shifted = sweep()
    executor.perform_sweeps(work(shifted))
    assert seen == [shifted.template]


def test_long_sweeps_run_some_rows_at_a_time_with_the_same_results(monkeypatch: pytest.MonkeyPatch) -> None:
    batches = [work(sweep(40), numbers=numbers) for numbers in ((), (3,))]
    expected = [DeviceExecutor("lightning.qubit", seed=2).perform_sweeps(batch) for batch in batches]
    monkeypatch.setattr(devices, "_ROWS", 4)
    found, most = [], []
    circuits = Sweep.circuits
    monkeypatch.setattr(Sweep, "circuits", lambda one: (most.append(len(one)), circuits(one))[1])
    for batch in batches:
        found.append(DeviceExecutor("lightning.qubit", seed=2).perform_sweeps(batch))
    assert max(most) == 4
    assert all(map(same, found, expected))


class Doubling(DeviceExecutor):
    """A user's class, which does more with circuits."""

    def perform(self, work: Work) -> Any:
        return [2 * result for result in super().perform(work)]


class DoublingJax(JaxExecutor):
    """The same, with JAX."""

    def perform(self, work: Work) -> Any:
        return [2 * result for result in super().perform(work)]


@pytest.mark.parametrize("make", [lambda: Doubling("default.qubit"), lambda: DoublingJax(cache=False)])
def test_what_a_class_of_a_users_own_makes_of_circuits_it_makes_of_rows(make: Any) -> None:
    values = sweep(measured=[qml.expval(qml.Z(0))])
    executor = make()
    expected = [2 * value for value in DeviceExecutor("default.qubit").run_sweep(values)]
    assert np.allclose(executor.perform_sweeps(work(values))[0], expected, rtol=0, atol=1e-10)
    assert np.allclose(executor.run_sweep(values), expected, rtol=0, atol=1e-10)


LABELS: dict[str, tuple[list[Any], Any]] = {
    "numbers": ([0, 1], qml.probs()),
    "numbers in another order": ([1, 0], qml.probs(wires=[0, 1])),
    "numbers with a gap": ([0, 3], qml.probs(wires=[3, 0])),
    "labels": (["b", "a"], qml.expval(qml.Z("a"))),
    "a wire that is measured only": ([0, 1], qml.probs(wires=[2, 0])),
}


@pytest.mark.parametrize("kind", LABELS)
def test_lightning_without_wires_has_those_of_the_circuits(kind: str) -> None:
    (first, second), measurement = LABELS[kind]
    operations = [qml.RX(0.3, first), qml.CNOT([first, second]), qml.RY(0.2, second)]
    one = sweep_of_circuit(QuantumScript(operations, [measurement]))
    assert one is not None
    batch = work(replace(one, parameters=np.array([[0.3, 0.2], [1.2, 0.2], [0.3, 2.0]])))
    executor = DeviceExecutor("lightning.qubit")
    (found,) = executor.perform_sweeps(batch)
    expected = qml.execute(batch.expanded().circuits, qml.device("default.qubit"), None)
    assert np.allclose(found, expected, rtol=0, atol=1e-10)
    assert executor.device().wires is None


def _measuring() -> Any:
    qml.RX(0.3, 0)
    qml.cond(qml.measure(0), qml.X)(1)
    qml.RY(0.1, 2)
    return qml.probs(wires=[0, 1, 2])


BY_HAND = {
    "mid-circuit measurements": (_measuring, 30, (0, 3)),
    "a template": (lambda: (qml.AngleEmbedding([0.3, 0.2], [0, 1]), qml.RX(0.2, 0), qml.probs(wires=[1]))[2], 30, (1,)),
    "a batch": (lambda: (qml.RX(np.array([0.1, 0.2]), 0), qml.RY(0.2, 1), qml.probs(wires=[0, 1]))[2], 30, (1,)),
    "a shadow": (lambda: (qml.RX(0.2, 0), qml.classical_shadow([0], seed=2))[1], 30, (0,)),
    "controlled": (lambda: (qml.ctrl(qml.RX(0.2, 0), [1, 2]), qml.expval(qml.Z(0)))[1], None, (0,)),
}


@pytest.mark.parametrize(
    ("device", "kind"),
    [("default.qubit", kind) for kind in BY_HAND]
    + [("lightning.qubit", kind) for kind in BY_HAND if kind != "a shadow"],  # which lightning does not take
)
def test_what_has_to_be_prepared_row_by_row_gives_what_its_circuits_give(device: str, kind: str) -> None:
    function, shots, slots = BY_HAND[kind]
    template = qml.tape.make_qscript(function, shots=shots)()
    rows = np.random.default_rng(0).uniform(-3, 3, (13, len(slots)))
    batch = work(Sweep(template, rows, slots), numbers=(7,))
    found, expected = (run(DeviceExecutor(device, wires=3, seed=4)) for run in (by_sweeps(batch), by_circuits(batch)))
    assert same(found, expected, 1e-10 if shots is None else 0)


@pytest.mark.parametrize("shots", [None, 70])
def test_an_executor_with_shots_of_its_own_runs_every_row_with_them(shots: int | None) -> None:
    asked = sweep(20, [qml.sample(wires=[0])] if shots else [qml.probs(wires=[0])])
    (rows,) = Simulator("lightning.qubit", shots=shots).perform_sweeps(work(asked))
    assert [np.size(row) for row in rows] == [shots or 2] * 14
    executor = Simulator("lightning.qubit", shots=shots)
    changed, template = reshot_sweep(asked, executor), sweep(shots, asked.template.measurements)
    assert changed.key == template.key
    assert reshot(changed.circuit(0), Simulator()).shots.total_shots == 20  # it remembers what it was asked with


def test_a_sweep_of_one_row_is_a_circuit() -> None:
    batch = work(sweep(rows=1))
    ((row,),) = DeviceExecutor("default.qubit").perform_sweeps(batch)
    assert same(row, circuits_only(batch, DeviceExecutor("default.qubit"))[0][0], 1e-10)
