"""Experiments on real simulators: seeds, options, circuits of all kinds, worker processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import cirq
import numpy as np
import pennylane as qml
import pytest
from qiskit import QuantumCircuit

import pennylane_qexec as qexec

QASM2 = 'OPENQASM 2.0;\ninclude "qelib1.inc";\nqreg q[2];\ncreg c[2];\nx q[0];\nmeasure q -> c;\n'
QASM3 = 'OPENQASM 3.0;\ninclude "stdgates.inc";\nqubit[2] q;\nbit[2] c;\nx q[0];\nc = measure q;\n'
FOUR = {
    "local_aer": ["aer_simulator"],
    "local_cirq": ["simulator"],
    "local_pennylane": ["default.qubit", "lightning.qubit"],
}


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


def flipped_qiskit() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    circuit.x(0)
    circuit.measure([0, 1], [0, 1])
    return circuit


def flipped_cirq() -> cirq.Circuit:
    first, second = cirq.LineQubit.range(2)
    return cirq.Circuit(cirq.X(first), cirq.measure(first, second, key="m"))


def flipped_function() -> Any:
    qml.X(0)
    return qml.counts(wires=[0, 1])


FLIPPED: dict[str, Any] = {
    "qiskit": flipped_qiskit(),
    "cirq": flipped_cirq(),
    "openqasm 2": QASM2,
    "openqasm 3": QASM3,
    "pennylane": flipped_function,
}
FIRST_BIT_LAST = ("qiskit", "openqasm 2", "openqasm 3")


@pytest.mark.parametrize("framework", FLIPPED)
def test_every_backend_writes_the_bits_of_a_circuit_as_its_framework_does(framework: str):
    collector = qexec.QuantumExecutor().run_experiment(FLIPPED[framework], 20, FOUR, "multiplier")
    expected = {"01" if framework in FIRST_BIT_LAST else "10": 20}
    results = collector.get_results()
    assert {provider: list(names) for provider, names in results.items()} == FOUR
    assert all(runs == [expected] for names in results.values() for runs in names.values())


@pytest.mark.parametrize(("order", "expected"), [("little", "01"), ("big", "10")])
def test_circuits_of_all_frameworks_are_written_alike_if_that_is_wanted(order: Any, expected: str):
    executor = qexec.QuantumExecutor(bit_order=order)
    collector = executor.run_experiment(list(FLIPPED.values()), 20, "local_pennylane/lightning.qubit")
    assert collector.get_merged_results() == [{expected: 20}] * len(FLIPPED)


def test_an_order_of_bits_that_nobody_knows_is_refused():
    with pytest.raises(qexec.ConfigurationError, match="little"):
        qexec.QuantumExecutor(bit_order="middle")  # type: ignore[arg-type]


def test_a_job_with_a_seed_gives_the_same_counts_every_time_and_another_seed_others():
    executor = qexec.QuantumExecutor()

    def counts(seed: int) -> Any:
        dispatch = qexec.Dispatch()
        for provider, names in FOUR.items():
            for name in names:
                dispatch.add_job(provider, name, circuits=bell(), shots=400, config={"seed": seed})
        return executor.run_dispatch(dispatch).get_results()

    first = counts(7)
    assert counts(7) == first
    other = counts(8)
    for provider, names in FOUR.items():
        for name in names:
            assert other[provider][name] != first[provider][name]


def test_two_jobs_with_the_same_seed_count_the_same_and_do_not_go_on_with_each_others_stream():
    dispatch = qexec.Dispatch()
    for _ in range(2):
        dispatch.add_job("local_aer", "fake_manila", circuits=bell(), shots=300, config={"seed": 3})
    one, two = qexec.QuantumExecutor().run_dispatch(dispatch).get_results()["local_aer"]["fake_manila"]
    assert one == two


def test_simulators_of_one_kind_that_share_a_seed_give_independent_shots():
    kinds = ["local_pennylane/default.qubit", "local_pennylane/reference.qubit", "local_pennylane/default.mixed"]
    results = qexec.QuantumExecutor().run_experiment(bell(), 1200, kinds, config={"seed": 7}).get_results()
    counted = [runs[0]["00"] for runs in results["local_pennylane"].values()]
    assert len(set(counted)) > 1


def test_classical_shadows_are_put_together():
    tape = qml.tape.QuantumScript([qml.H(0)], [qml.classical_shadow(wires=[0, 1], seed=1)])
    backends = ["local_aer/aer_simulator", "local_pennylane/default.qubit"]
    collector = qexec.QuantumExecutor().run_experiment(tape, 6, backends, "uniform", "pooled")
    assert not collector.errors
    assert np.shape(collector.get_merged_results()) == (2, 6, 2)


def test_shots_that_a_projector_discards_are_not_missed():
    tape = qml.tape.QuantumScript([qml.H(0), qml.Projector([0], wires=0)], [qml.counts(wires=[0, 1])])
    collector = qexec.QuantumExecutor().run_experiment(tape, 100, config={"seed": 1})
    counts = collector.get_merged_results()
    assert list(counts) == ["00"]
    assert 0 < counts["00"] < 100


def test_options_of_a_job_reach_its_simulator():
    executor = qexec.QuantumExecutor()
    with pytest.raises(qexec.ConfigurationError, match="method"):
        executor.run_experiment(QASM2, 10, "local_aer/aer_simulator", config={"metod": "statevector"})
    collector = executor.run_experiment(QASM2, 10, "local_aer/aer_simulator", config={"method": "stabilizer"})
    assert collector.get_merged_results() == {"01": 10}


def test_a_string_of_openqasm_is_one_circuit_and_not_a_list_of_characters():
    collector = qexec.QuantumExecutor().run_experiment(QASM2, 10)
    assert len(collector.records) == 1


@pytest.mark.parametrize(
    ("circuits", "message"),
    [
        ([], "circuit"),
        ("OPENQASM 2.0;\nnonsense;", "OpenQASM"),
        (7, "int"),
        ([bell(), None], "None"),
    ],
)
def test_circuits_that_are_none_are_refused_before_anything_runs(circuits: Any, message: str):
    with pytest.raises(qexec.ConfigurationError, match=message):
        qexec.QuantumExecutor().run_experiment(circuits, 10)


def test_counts_need_shots():
    with pytest.raises(qexec.ConfigurationError, match="shots"):
        qexec.QuantumExecutor().run_experiment(QASM2)


def test_pennylane_circuits_bring_their_own_shots():
    tape = qml.tape.QuantumScript([qml.X(0)], [qml.counts(wires=0)], shots=33)
    assert qexec.QuantumExecutor().run_experiment(tape).get_merged_results() == {"1": 33}


def test_expectation_values_of_several_backends_are_those_of_all_samples_together():
    """With split shots of an eigenstate, values are exact; the variance of the union is 1 - mean**2, not a mean."""

    @qml.qnode(qml.device("default.qubit", wires=2), shots=30)
    def circuit() -> Any:
        qml.H(0)
        return qml.expval(qml.Z(1)), qml.var(qml.Z(0)), qml.expval(qml.X(0))

    collector = qexec.QuantumExecutor().run_experiment(circuit, None, FOUR, "uniform", "pooled", config={"seed": 5})
    certain, variance, exact = collector.get_merged_results()
    assert (certain, exact) == (1.0, 1.0)
    ups = [np.sqrt(max(0.0, 1 - runs[0][1])) for names in collector.get_results().values() for runs in names.values()]
    assert len(ups) == 4
    assert variance == pytest.approx(1.0, abs=0.6)
    with pytest.raises(qexec.PolicyError, match="compares counts"):
        collector.merge("tvd", {"reference": "local_aer/aer_simulator"})


def test_analytic_results_go_to_one_backend():
    tape = qml.tape.QuantumScript([qml.RX(0.4, 0)], [qml.expval(qml.Z(0))])
    executor = qexec.QuantumExecutor()
    assert executor.run_experiment(tape, backends="local_aer/aer_simulator").get_merged_results() == pytest.approx(
        np.cos(0.4)
    )
    with pytest.raises(qexec.AnalyticCircuitError, match="'multiplier'"):
        executor.run_experiment(tape, backends=FOUR)
    everywhere = executor.run_experiment(tape, backends=FOUR, split_policy="multiplier").get_merged_results()
    assert list(everywhere.values()) == pytest.approx([np.cos(0.4)] * 4)


class SaysWhere(qexec.Executor):
    """An executor of a user: it counts ones if it runs in another process than it was made in."""

    def __init__(self, parallel: Any = "auto") -> None:
        super().__init__(parallel=parallel)
        self._home = os.getpid()

    def run(self, circuits: Sequence[Any]) -> list[Any]:
        outcome = "01"[os.getpid() != self._home]
        return [{outcome * len(circuit.wires): circuit.shots.total_shots} for circuit in circuits]


class Custom(qexec.Provider):
    """A provider of a user."""

    def backends(self) -> dict[str, qexec.Backend]:
        make = partial(SaysWhere, parallel="process")
        return {"here": qexec.Backend("custom", "here", SaysWhere), "there": qexec.Backend("custom", "there", make)}


@pytest.mark.slow
def test_custom_providers_and_simulators_work_with_worker_processes():
    executor = qexec.QuantumExecutor(max_workers=2)
    executor.virtual_provider.add_provider("custom", Custom())
    backends = {"custom": ["here", "there"], "local_aer": ["aer_simulator"]}
    collector = executor.run_experiment(QASM2, 30, backends, multiprocess=True)
    assert collector.get_results() == {
        "custom": {"here": [{"00": 10}], "there": [{"11": 10}]},
        "local_aer": {"aer_simulator": [{"01": 10}]},
    }


class Heavy(SaysWhere):
    """An executor that says that its circuits are much work."""

    local = True
    shareable = True

    def effort(self, circuits: Sequence[Any]) -> float:
        return 1e12


class Hall(qexec.Provider):
    """A provider of heavy work."""

    def backends(self) -> dict[str, qexec.Backend]:
        return {"heavy": qexec.Backend("hall", "heavy", Heavy)}


@pytest.mark.slow
def test_heavy_circuits_run_in_worker_processes_where_they_keep_nothing_from_going_on():
    executor = qexec.QuantumExecutor(providers={"hall": Hall()})
    assert executor.run_experiment(QASM2, 10, "hall/heavy").get_results() == {"hall": {"heavy": [{"11": 10}]}}


@pytest.mark.slow
def test_worker_processes_give_results_after_aer_has_run_in_this_process():
    executor = qexec.QuantumExecutor()
    assert executor.run_experiment(QASM2, 10).get_merged_results() == {"01": 10}
    backends = {"local_aer": ["aer_simulator", "fake_manila"], "local_pennylane": ["lightning.qubit"]}
    collector = executor.run_experiment([bell()] * 4, 100, backends, "multiplier", multiprocess=True)
    assert {
        sum(counts.values()) for names in collector.get_results().values() for runs in names.values() for counts in runs
    } == {100}


@pytest.mark.slow
def test_jobs_with_a_seed_count_the_same_in_worker_processes_as_without():
    executor = qexec.QuantumExecutor()
    plain, processes = (
        executor.run_experiment([bell()] * 3, 500, FOUR, config={"seed": 11}, multiprocess=multiprocess).get_results()
        for multiprocess in (False, True)
    )
    assert plain == processes


def test_a_budget_is_a_wall_for_experiments():
    executor = qexec.QuantumExecutor(budget={"shots": 100})
    executor.run_experiment(QASM2, 60)
    with pytest.raises(qexec.BudgetExceededError):
        executor.run_experiment(QASM2, 60)
    collector = executor.run_experiment(QASM2, 60, wait=False)
    collector.wait()
    assert isinstance(collector.errors["local_aer"]["aer_simulator"][0], qexec.BudgetExceededError)
    assert executor.budget is not None
    assert executor.budget.used.shots == 60
    with qexec.Budget(shots=10) as small, pytest.raises(qexec.BudgetExceededError):
        qexec.QuantumExecutor().run_experiment(QASM2, 60)
    assert small.used.shots == 0


def test_an_executor_refuses_options_that_make_no_sense():
    with pytest.raises(qexec.ConfigurationError, match="max_workers"):
        qexec.QuantumExecutor(max_workers=0)
    with pytest.raises(qexec.ConfigurationError, match="virtual_provider"):
        qexec.QuantumExecutor(providers=["local_aer"], virtual_provider=qexec.VirtualProvider())
    with pytest.raises(qexec.ConfigurationError, match="timeout"):
        qexec.QuantumExecutor().run_experiment(QASM2, 10, timeout=0)
    with pytest.raises(qexec.ConfigurationError, match="no Dispatch"):
        qexec.QuantumExecutor().run_dispatch([])  # type: ignore[arg-type]


def test_nothing_is_sent_if_one_of_many_circuits_cannot_be_read():
    with pytest.raises(qexec.ConfigurationError):
        qexec.QuantumExecutor().run_experiment([bell(), "OPENQASM 2.0; qreg q[1]; y2 q[0];"], 10)
