"""What executors are given of an experiment's table: one sweep, whose rows fail, wait and count as circuits do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

import pennylane_qexec as qexec
from pennylane_qexec.job import JobState, Sweep, Work

PATIENCE = 20.0  # seconds after which a test that hangs fails
ANGLES = 0.1 * np.arange(6)


class Counting(qexec.Executor):
    """Counts every shot as 0, and takes sweeps.

    Args:
        broken: the angle of the circuit that it fails on, and with it on the batch that has it.
        seed: an option to be given.
        held: the second sweep waits for it.
    """

    def __init__(
        self, broken: float = -1.0, seed: int | None = None, held: threading.Event | None = None, **options: Any
    ):
        super().__init__(**options)
        self.sweeps: list[list[float]] = []
        self.circuits: list[float] = []
        self.began = threading.Event()
        self._broken, self._seed, self._held = broken, seed, held

    @property
    def streams(self) -> frozenset[Any]:
        return frozenset() if self._seed is None else frozenset({self._seed})

    def run(self, circuits: Sequence[QuantumScript]) -> list[Any]:
        self.circuits += [circuit.get_parameters()[0] for circuit in circuits]
        return self._counts(circuits)

    def run_sweep(self, sweep: Sweep) -> list[Any]:
        self.sweeps.append(sweep.parameters[:, 0].tolist())
        if self._held is not None and len(self.sweeps) > 1:
            self.began.set()
            self._held.wait(PATIENCE)
        return self._counts(sweep.circuits())

    def _counts(self, circuits: Sequence[QuantumScript]) -> list[Any]:
        if any(np.isclose(circuit.get_parameters()[0], self._broken) for circuit in circuits):
            raise ValueError("one of these circuits is broken")
        return [{"0": circuit.shots.total_shots} for circuit in circuits]


class Queued(qexec.QueuedExecutor):
    """A backend with a queue that notes how many rows the sweeps of its jobs have."""

    poll_interval = poll_interval_max = 0.0

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[list[int]] = []
        self._jobs: dict[str, Sequence[QuantumScript]] = {}

    def submit_work(self, work: Work, label: str = "") -> str:
        self.rows.append(list(map(len, work.sweeps)))
        return super().submit_work(work, label)

    def submit(self, circuits: Sequence[QuantumScript]) -> str:
        self._jobs[name := str(len(self._jobs))] = circuits
        return name

    def poll(self, job_id: str) -> JobState:
        return JobState.DONE

    def fetch(self, job_id: str) -> list[Any]:
        return [{"0": circuit.shots.total_shots} for circuit in self._jobs[job_id]]

    def cancel(self, job_id: str) -> None: ...


class Own(qexec.Provider):
    """A provider of backends with executors that were made before."""

    name = "own"

    def __init__(self, **executors: qexec.Executor) -> None:
        self._executors = executors

    def backends(self) -> dict[str, qexec.Backend]:
        return {name: qexec.Backend("own", name, self._maker(name)) for name in self._executors}

    def _maker(self, name: str) -> Callable[..., qexec.Executor]:
        def make(seed: int | None = None) -> qexec.Executor:
            return self._executors[name]

        return make


def table(angles: np.ndarray = ANGLES) -> tuple[QuantumCircuit, np.ndarray]:
    circuit = QuantumCircuit(1, 1)
    circuit.rx(Parameter("a"), 0)
    circuit.measure(0, 0)
    return circuit, angles[:, np.newaxis]


def experiments(options: dict[str, Any] | None = None, **executors: qexec.Executor) -> qexec.QuantumExecutor:
    return qexec.QuantumExecutor(providers={"own": Own(**executors)}, **(options or {}))


A = {"own": ["a"]}


def test_a_table_is_one_sweep_and_its_results_are_those_of_its_rows() -> None:
    counting = Counting()
    collector = experiments(a=counting).run_experiment(table(), [1, 1, 1, 1, 1, 1], A)
    assert counting.sweeps == [pytest.approx(ANGLES)]
    assert not counting.circuits
    assert collector.get_merged_results() == [{"0": 1}] * 6
    assert list(collector.to_dataframe()["circuit"]) == list(range(6))


def test_every_backend_of_a_split_is_given_a_share_of_the_shots_of_each_row() -> None:
    one, other = Counting(), Counting()
    collector = experiments(a=one, b=other).run_experiment(table(), 10, {"own": ["a", "b"]})
    assert one.sweeps == other.sweeps == [pytest.approx(ANGLES)]
    assert collector.get_results() == {"own": {"a": [{"0": 5}] * 6, "b": [{"0": 5}] * 6}}


def test_large_tables_are_a_sweep_each_and_results_are_in_order() -> None:
    counting, many = Counting(), 0.1 * np.arange(16)
    twice = QuantumScript([qml.RX(0.7, 0), qml.RX(0.8, 0)], [qml.counts(wires=0)], shots=3)
    others = [twice.bind_new_parameters([angle, 0.5], [0, 1]) for angle in many]
    mixed = [others[0], table(many), *others[1:]]
    collector = experiments(a=counting).run_experiment(mixed, [3, *[5] * 16, *[3] * 15], A)
    assert collector.get_merged_results() == [{"0": 3}, *[{"0": 5}] * 16, *[{"0": 3}] * 15]
    assert counting.sweeps == [pytest.approx(many), pytest.approx(many)]


def test_circuits_of_which_few_are_alike_go_out_as_circuits() -> None:
    counting = Counting()
    collector = experiments(a=counting).run_experiment(table(), [1, 2, 3, 4, 5, 6], A)
    assert collector.get_merged_results() == [{"0": shots} for shots in range(1, 7)]
    assert counting.circuits == pytest.approx(ANGLES)
    assert not counting.sweeps


def test_a_row_that_fails_loses_nothing_but_itself() -> None:
    counting = Counting(broken=ANGLES[2])
    collector = experiments(a=counting).run_experiment(table(), 5, A)
    assert counting.sweeps == [pytest.approx(ANGLES)]
    assert collector.partial_results() == {"own": {"a": [{"0": 5}, {"0": 5}, None, {"0": 5}, {"0": 5}, {"0": 5}]}}
    assert len(collector.errors["own"]["a"]) == 1
    assert "broken" in str(collector.errors["own"]["a"][0])


def test_rows_that_have_ended_stay_when_an_experiment_is_cancelled() -> None:
    held = threading.Event()
    counting = Counting(held=held, max_circuits=3)
    executor = experiments(a=counting)
    collector = executor.run_experiment(table(), 5, A, wait=False)
    assert counting.began.wait(PATIENCE)  # the second sweep, so that the first one has ended
    ended = threading.Event()
    collector.listen(lambda: ended.set() if collector.progress >= 0.5 else None)
    assert collector.progress >= 0.5 or ended.wait(PATIENCE)
    collector.cancel()
    held.set()
    collector.wait()
    assert [one.state for one in collector.records][:3] == [JobState.DONE] * 3
    assert [one.state for one in collector.records][3:] == [JobState.CANCELLED] * 3


def test_rows_that_have_ended_in_time_stay() -> None:
    held = threading.Event()
    counting = Counting(held=held, max_circuits=3)
    collector = experiments(a=counting).run_experiment(table(), 5, A, timeout=1)
    held.set()
    assert [one.state for one in collector.records] == [JobState.DONE] * 3 + [JobState.FAILED] * 3


def test_a_backend_with_a_queue_gets_one_job_with_one_sweep() -> None:
    queued = Queued()
    collector = experiments(a=queued).run_experiment(table(), 5, A)
    assert queued.rows == [[6]]
    assert collector.get_merged_results() == [{"0": 5}] * 6


def test_an_executor_with_a_seed_is_given_circuits_as_it_numbers_them() -> None:
    counting = Counting(seed=3)
    experiments(a=counting).run_experiment(table(), 5, A)
    assert counting.circuits == pytest.approx(ANGLES)
    assert not counting.sweeps


def test_budgets_count_the_rows_of_a_table_as_circuits() -> None:
    budget = qexec.Budget(circuits=6, shots=30)
    executor = experiments({"budget": budget}, a=Counting())
    executor.run_experiment(table(), 5, A)
    assert (budget.used.circuits, budget.used.shots) == (6, 30)
    with pytest.raises(qexec.BudgetExceededError):
        executor.run_experiment(table(ANGLES[:1]), 5, A).get_results()


def test_rows_that_a_cache_knows_are_answered_and_the_others_run(tmp_path: Path) -> None:
    with qexec.Cache(tmp_path / "cache.db", shots=True) as cache, qexec.QuantumExecutor(cache=cache) as executor:
        first = executor.run_experiment(table(np.array([1.5, 1.2])), 1000).get_merged_results()
        again = executor.run_experiment(table(np.array([1.5, 1.2, 0.0])), 1000).get_merged_results()
    assert again == [*first, {"0": 1000}]
