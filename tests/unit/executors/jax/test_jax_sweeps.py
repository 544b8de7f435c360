"""Sweeps by JAX: compiled functions take the matrix; circuits are made only where they run one by one."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

from pennylane_qexec import QCluster
from pennylane_qexec.circuits import structure
from pennylane_qexec.circuits.templates import sweep_of_circuit
from pennylane_qexec.executors.jax import JaxExecutor, batches
from pennylane_qexec.job import Call, Job, Sweep, Work

HAMILTONIAN = qml.Hamiltonian([0.5, 0.2, 0.3], [qml.Z(0) @ qml.Z(1), qml.X(0) @ qml.X(1), qml.Y(1)])
GATES = [qml.RX(0.0, 1), qml.CNOT([1, 0]), qml.RY(0.0, 0), qml.RZ(0.0, 1)]


def make(**options: Any) -> JaxExecutor:
    """An executor that compiles at once, and leaves nothing on disk."""
    return JaxExecutor(**{"compile": "now", "cache": False, **options})


def sweep(rows: int = 6, shots: Any = None, measured: Sequence[Any] = (qml.expval(HAMILTONIAN),)) -> Sweep:
    one = sweep_of_circuit(QuantumScript(GATES, measured, shots=shots))
    assert one is not None
    return replace(one, parameters=np.random.default_rng(1).uniform(-3, 3, (rows, 3)))


def work(*sweeps: Sweep, call: Call | None = None, numbers: tuple[int, ...] = ()) -> Work:
    return Work(tuple([one.template for one in sweeps]), call or Call(), numbers=numbers, sweeps=sweeps)


def expected(batch: Work, **options: Any) -> list[list[Any]]:
    """What the circuits of sweeps give, run one by one."""
    return batch.by_sweep(make(compile="never", **options).perform(batch.expanded()))


def same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(np.array_equal(one, other))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many circuits were made of sweeps, each time."""
    numbers: list[int] = []
    circuits = Sweep.circuits
    monkeypatch.setattr(Sweep, "circuits", lambda one: (numbers.append(len(one)), circuits(one))[1])
    return numbers


@pytest.mark.parametrize("bound", [False, True])
def test_compiled_sweeps_have_the_values_of_their_circuits_of_which_none_are_made(bound: bool, made: list[int]) -> None:
    batch = work(sweep(), sweep(2, measured=[qml.expval(qml.Z(0)), qml.probs(wires=[1])]), call=Call(bound=bound))
    found = make().perform_sweeps(batch)
    assert made == []
    exact = qml.execute(batch.expanded().circuits, qml.device("default.qubit"), None)
    assert np.allclose(found[0], exact[:6], rtol=0, atol=1e-10)
    assert all(
        np.allclose(a, b, rtol=0, atol=1e-10)
        for row in zip(found[1], exact[6:], strict=True)
        for a, b in zip(*row, strict=True)
    )


def test_a_long_sweep_is_one_batch_of_which_no_circuits_are_made(made: list[int]) -> None:
    long = sweep(600)
    with QCluster([make()]) as cluster:
        (outcome,) = cluster.run([Job(long.template, cluster.executors[0], sweep=long)])
        assert {row.batch for row in cluster.history} == {1}
    values = make().run_sweep(long)
    assert made == []
    assert np.allclose(outcome.result, values, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "numbers"), [({}, ()), ({"chunk": 4}, (5, 100, 900)), ({"compile": "never"}, (5, 100, 900))]
)
def test_seeded_shots_are_those_of_the_circuits_however_they_are_computed(options: Any, numbers: Any) -> None:
    measured = [qml.sample(wires=[1]), qml.expval(qml.X(0))]
    batch = work(sweep(6, 20, measured), sweep(2, (10, 20)), sweep(3, 20, measured), numbers=numbers)
    assert same(make(seed=3, **options).perform_sweeps(batch), expected(batch, seed=3))


def test_rows_that_come_while_a_function_is_compiled_run_some_at_a_time_and_the_others_with_it(
    made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "_ROWS_ALONE", 4)
    executor, gate = make(compile="background", seed=3), threading.Event()
    executor._fusion.queue.add("gate", lambda: bool(gate.wait()))
    exactly = executor._fusion._exactly

    def until_compiled(*arguments: Any) -> Any:
        if len(made) == 2:
            gate.set()
            assert executor.wait()
        return exactly(*arguments)

    monkeypatch.setattr(executor._fusion, "_exactly", until_compiled)
    batch = work(sweep(30, 50, [qml.expval(qml.Z(0) @ qml.Z(1))]))
    (found,) = executor.perform_sweeps(batch)
    assert made == [4, 4, 4]
    assert executor.compiled == 1
    assert same([found], expected(batch, seed=3))


def test_without_a_seed_shots_are_drawn_of_probabilities_before_anything_is_compiled() -> None:
    """Values of 20000 shots have spreads of 0.0071: one of twelve is off by 0.05 with a probability below 1e-10."""
    batch = work(sweep(6, 20_000, [qml.expval(qml.Z(0)), qml.expval(qml.X(0))]))
    executor = make(compile="never")
    (found,), again = executor.perform_sweeps(batch), executor.perform_sweeps(batch)
    exact = [one.copy(shots=None) for one in batch.expanded().circuits]
    assert np.allclose(found, qml.execute(exact, qml.device("default.qubit"), None), rtol=0, atol=0.05)
    assert not same([found], again)


def test_long_sweeps_of_what_cannot_be_compiled_run_some_rows_at_a_time(
    made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pennylane_qexec.executors.jax.executor._ROWS", 4)
    shadow = sweep(10, 20, [qml.classical_shadow([0, 1], seed=1)])
    (rows,) = make(seed=2).perform_sweeps(work(shadow))
    assert made == [4, 4, 2]
    assert same([rows], expected(work(shadow), seed=2))


def _embedded() -> Any:
    qml.AngleEmbedding([0.3, 0.2], [0, 1])
    qml.RX(0.2, 0)
    return qml.expval(qml.Z(0))


def _measured() -> Any:
    qml.RX(0.3, 0)
    qml.cond(qml.measure(0), qml.X)(1)
    return qml.probs(wires=[0, 1])


def _broadcasted() -> Any:
    qml.RX(np.array([0.1, 0.2]), 1)
    qml.RX(0.2, 0)
    return qml.probs(wires=[0, 1])


@pytest.mark.parametrize(
    ("function", "slot", "shots"),
    [(_embedded, 1, 30), (_measured, 0, 30), (_broadcasted, 1, 30), (_broadcasted, 1, None)],
)
def test_what_is_prepared_or_not_compiled_gives_what_its_circuits_give(function: Any, slot: int, shots: Any) -> None:
    template = qml.tape.make_qscript(function, shots=shots)()
    batch = work(Sweep(template, np.array([[0.3], [1.2], [2.0]]), (slot,)), numbers=(4,))
    found, others = make(seed=5).perform_sweeps(batch), expected(batch, seed=5)
    assert np.allclose(np.array(found), np.array(others), rtol=0, atol=0 if shots else 1e-10)


def test_a_hamiltonian_is_read_once_to_count_what_is_run_for_circuits(monkeypatch: pytest.MonkeyPatch) -> None:
    executor, template = make(), sweep(shots=10).template
    once = executor.usage(template)
    monkeypatch.setattr(structure, "_content", None)
    assert executor.usage(template.copy()) == once
    assert (once.circuits, once.shots) == (3, 30)
