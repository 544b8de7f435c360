"""Experiments with parametrised circuits of Qiskit and tables of values: each row is a circuit of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.backends import Fakes, experiments
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

import pennylane_qexec as qexec

VALUES = np.array([[0.0, 0.0], [np.pi, 0.0], [0.0, np.pi], [1.0, 2.0]])


def turned() -> QuantumCircuit:
    circuit = QuantumCircuit(2, name="turned")
    circuit.rx(Parameter("a"), 0)
    circuit.ry(2 * Parameter("b") / 2, 1)
    circuit.measure_all()
    return circuit


def two() -> Fakes:
    return Fakes(a={}, b={})


BOTH = {"fakes": ["a", "b"]}


def test_a_table_counts_what_its_circuits_count_that_were_bound_one_by_one() -> None:
    circuit = turned()
    with qexec.QuantumExecutor() as executor:
        table = executor.run_experiment((circuit, VALUES), 500, config={"seed": 4})
        bound = [circuit.assign_parameters(row) for row in VALUES]
        alone = executor.run_experiment(bound, 500, config={"seed": 4})
    assert table.get_merged_results() == alone.get_merged_results()
    assert table.get_merged_results()[:3] == [{"00": 500}, {"01": 500}, {"10": 500}]
    assert list(table.to_dataframe()["circuit"]) == [0, 1, 2, 3]


def test_each_row_has_its_own_shots_shared_over_the_backends() -> None:
    provider = two()
    collector = experiments(provider).run_experiment((turned(), VALUES), [10, 20, 30, 40], BOTH)
    assert provider.ledgers["a"].shots == provider.ledgers["b"].shots == [5, 10, 15, 20]
    assert collector.get_merged_results() == [{"00": 10}, {"00": 20}, {"00": 30}, {"00": 40}]


def test_tables_stand_beside_circuits_and_a_table_of_one_row_is_a_list() -> None:
    executor = experiments(two())
    other = turned().assign_parameters([0.0, 0.0])
    assert len(executor.run_experiment([(turned(), VALUES), other], 10, BOTH).get_merged_results()) == 5
    assert executor.run_experiment((turned(), VALUES[:1]), 10, BOTH).get_merged_results() == [{"00": 10}]


def test_the_same_table_in_two_jobs_is_the_same_circuits_and_other_values_are_others() -> None:
    circuit, values = turned(), VALUES.copy()
    dispatch = qexec.Dispatch()
    first = dispatch.add_job("fakes", "a", (circuit, values), 10)
    again = dispatch.add_job("fakes", "b", (circuit, VALUES.copy()), 10)
    values[0, 0] = 3.0
    changed = dispatch.add_job("fakes", "a", (circuit, values), 10)
    assert first.numbers == again.numbers == (0, 1, 2, 3)
    assert first.circuits == again.circuits
    assert changed.numbers == (4, 5, 6, 7)
    merged = experiments(two()).run_dispatch(dispatch).get_merged_results()
    assert merged == [{"00": 20}] * 4 + [{"00": 10}] * 4


def test_a_circuit_that_has_got_more_gates_is_another_one_with_the_same_values() -> None:
    circuit = turned()
    dispatch = qexec.Dispatch()
    dispatch.add_job("local_aer", "aer_simulator", (circuit, VALUES[:2]), 10)
    circuit.remove_final_measurements()
    circuit.x(1)
    circuit.measure_all()
    assert dispatch.add_job("local_aer", "aer_simulator", (circuit, VALUES[:2]), 10).numbers == (2, 3)
    with qexec.QuantumExecutor() as executor:
        merged = executor.run_dispatch(dispatch).get_merged_results()
    assert merged == [{"00": 10}, {"01": 10}, {"10": 10}, {"11": 10}]


def test_a_dispatch_of_a_table_is_written_and_read_as_bound_circuits() -> None:
    with qexec.QuantumExecutor() as executor:
        dispatch, _ = executor.generate_dispatch((turned(), VALUES), 200, config={"seed": 2})
        first = executor.run_dispatch(dispatch).get_results()
        again = executor.run_dispatch(qexec.Dispatch.from_json(dispatch.to_json())).get_results()
    assert first == again


def test_results_of_a_table_are_saved_and_loaded(tmp_path: Path) -> None:
    with qexec.QuantumExecutor() as executor:
        collector = executor.run_experiment((turned(), VALUES), 100)
    collector.save(tmp_path / "table.json")
    loaded = qexec.ResultCollector.load(tmp_path / "table.json")
    assert loaded.get_merged_results() == collector.get_merged_results()


def test_a_split_of_ones_own_is_given_bound_circuits_of_qiskit() -> None:
    seen: list[Any] = []

    def split(circuit: Any, shots: Any, backends: Any, virtual_provider: Any, data: Any) -> Any:
        seen.append(circuit)
        dispatch = qexec.Dispatch()
        dispatch.add_job("fakes", "a", circuit, shots)
        return dispatch, data

    experiments(two()).run_experiment((turned(), VALUES), 10, BOTH, split_policy=split)
    assert [circuit.name for circuit in seen] == [f"turned[{row}]" for row in range(4)]
    assert all(isinstance(circuit, QuantumCircuit) and not circuit.num_parameters for circuit in seen)


def test_values_that_do_not_fit_are_refused_before_anything_is_sent() -> None:
    provider = two()
    executor = experiments(provider)
    with pytest.raises(qexec.ConfigurationError, match="no values for 'b'"):
        executor.run_experiment([turned().assign_parameters([0, 0]), (turned(), {"a": [1.0]})], 10, BOTH)
    with pytest.raises(qexec.ConfigurationError, match=r"\(circuit, values\) to an experiment"):
        executor.run_experiment(turned(), 10, BOTH)
    with pytest.raises(qexec.ConfigurationError, match="3 numbers for 4 circuits"):
        executor.run_experiment((turned(), VALUES), [1, 2, 3], BOTH)
    assert not provider.ledgers["a"].shots
    assert not provider.ledgers["b"].shots
