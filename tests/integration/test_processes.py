"""Batches in worker processes, and in pools that the user brings."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from fakes import programs
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Job, Result, Work
from pennylane_qexec.testing import flip

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PATIENCE = 120.0  # seconds after which a test that hangs fails; a new worker imports PennyLane first


class Pid(qexec.DeviceExecutor):
    """Says it has much to do, and returns the process it runs in."""

    def __init__(self, effort: float) -> None:
        super().__init__("default.qubit")
        self._effort = effort

    def effort(self, circuits: Sequence[QuantumScript]) -> float:
        return self._effort * len(circuits)

    def perform(self, work: Work) -> Sequence[Result]:
        return [os.getpid()] * len(work.circuits)


def jobs(executor: qexec.Executor, number: int) -> list[Job]:
    return [Job(flip(0.1 * index), executor) for index in range(number)]


def pids(cluster: qexec.QCluster, number: int) -> set[int]:
    return {outcome.result for outcome in cluster.run(jobs(cluster.executors[0], number))}


def random_bits(number: int) -> list[QuantumScript]:
    """Circuits whose samples are equal only if the random numbers are: 2 ** 60 possibilities."""
    return [
        QuantumScript([qml.H(wire) for wire in range(6)], [qml.sample(wires=range(6))], shots=10) for _ in range(number)
    ]


@pytest.fixture
def warm_workers(open_cluster: Any) -> None:
    open_cluster([{"type": "default.qubit", "parallel": "process"}]).execute([flip(0.1)])


def test_worker_processes_give_the_right_results_in_the_right_order(open_cluster: Any) -> None:
    cluster = open_cluster([{"type": "default.qubit", "parallel": "process", "workers": 2, "max_circuits": 3}])
    results = cluster.execute([flip(0.1 * index) for index in range(20)])
    assert np.allclose(results, np.cos(0.1 * np.arange(20)))


def test_gradients_are_computed_in_worker_processes(open_device: Any) -> None:
    device = open_device([{"type": "lightning.qubit", "parallel": "process"}], wires=2)

    @qml.qnode(device, diff_method="adjoint")
    def circuit(x: float) -> Any:
        qml.RX(x, 0)
        qml.CNOT([0, 1])
        return qml.expval(qml.Z(1))

    assert qml.grad(circuit)(qml.numpy.array(0.4, requires_grad=True)) == pytest.approx(-np.sin(0.4))


def test_an_executor_is_sent_to_a_worker_once_and_stays_there(open_cluster: Any) -> None:
    class Counting(qexec.Executor):
        """Counts the batches that this copy of it has run."""

        def __init__(self) -> None:
            super().__init__("counting", parallel="process", max_circuits=1)
            self.ran = 0

        def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
            self.ran += 1
            return [(os.getpid(), self.ran)]

        def check_results(self, work: Any, results: Any) -> None:
            """Who ran what is no expectation value."""

    cluster = open_cluster([Counting()])
    results = [result for _ in range(3) for result in cluster.execute([flip(0.1) for _ in range(4)])]
    batches = Counter(pid for pid, _ in results)
    assert os.getpid() not in batches
    assert set(results) == {(pid, number) for pid, most in batches.items() for number in range(1, most + 1)}


def test_copies_in_worker_processes_draw_different_random_numbers(open_cluster: Any) -> None:
    spec = {"type": "default.qubit", "seed": 42, "parallel": "process", "workers": 2, "max_circuits": 1}
    samples = open_cluster([spec]).execute(random_bits(12))
    assert len({np.asarray(sample).tobytes() for sample in samples}) == 12


@pytest.mark.parametrize("name", ["default.qubit", "lightning.qubit", "aer"])
def test_circuits_with_numbers_draw_the_same_in_every_process(open_cluster: Any, name: str) -> None:
    spec = {"type": name, "seed": 42, "parallel": "process", "workers": 2, "max_circuits": 1}
    cluster = open_cluster([spec])
    (there,) = cluster.executors
    outcomes = cluster.run([Job(bits, there, number=number) for number, bits in enumerate(random_bits(12))])
    here = qexec.executor({"type": name, "seed": 42})
    expected = here.perform(Work(tuple(random_bits(12)), numbers=tuple(range(12))))
    assert all(np.array_equal(outcome.result, samples) for outcome, samples in zip(outcomes, expected, strict=True))


def test_an_error_in_a_worker_arrives_with_its_traceback(open_cluster: Any) -> None:
    class Fails(qexec.Executor):
        def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
            return self.deep_inside()

        def deep_inside(self) -> Sequence[Result]:
            raise ValueError("the fifth gate")

    with pytest.raises(qexec.ExecutorError, match="ValueError: the fifth gate") as raised:
        open_cluster([Fails(parallel="process")]).execute([flip(0.1)])
    (note,) = raised.value.cause.__notes__
    assert note.startswith("in a worker process:")
    assert "in deep_inside" in note


def test_an_error_that_cannot_be_pickled_arrives_with_its_words(open_cluster: Any) -> None:
    class Fails(qexec.Executor):
        def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
            error = ValueError("the fifth gate")
            error.generator = (number for number in range(3))  # type: ignore[attr-defined]
            raise error

    with pytest.raises(qexec.ExecutorError, match="ValueError: the fifth gate"):
        open_cluster([Fails(parallel="process")]).execute([flip(0.1)])


def test_what_an_executor_prints_does_not_disturb_its_results(open_cluster: Any) -> None:
    class Prints(qexec.Executor):
        def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
            print("progress: 100 %", flush=True)
            os.write(1, b"native code prints too\n")
            return [1.0] * len(circuits)

    assert open_cluster([Prints(parallel="process")]).execute([flip(0.1)]) == [1.0]


@pytest.mark.parametrize("parallel", ["process", "pool"])
def test_a_device_given_as_an_object_cannot_run_in_other_processes(parallel: str) -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        where: Any = pool if parallel == "pool" else parallel
        with pytest.raises(qexec.ConfigurationError, match="was given as an object"):
            qexec.DeviceExecutor(qml.device("default.qubit", wires=1), parallel=where)


def test_several_heavy_circuits_go_to_worker_processes_that_are_warm(open_cluster: Any, warm_workers: None) -> None:
    assert os.getpid() not in pids(open_cluster([Pid(effort=1e12)]), 4)


def test_light_circuits_and_a_single_heavy_one_stay(open_cluster: Any, warm_workers: None) -> None:
    assert pids(open_cluster([Pid(effort=10.0)]), 4) == {os.getpid()}
    assert pids(open_cluster([Pid(effort=1e12)]), 1) == {os.getpid()}


def test_a_thread_pool_of_the_user_runs_batches(open_cluster: Any) -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        cluster = open_cluster([qexec.DeviceExecutor("default.qubit", parallel=pool, max_circuits=2)])
        assert np.allclose(cluster.execute([flip(0.1 * index) for index in range(6)]), np.cos(0.1 * np.arange(6)))
        cluster.close()
        assert pool.submit(int, "7").result(PATIENCE) == 7


def test_a_process_pool_of_the_user_runs_batches(open_cluster: Any) -> None:
    with concurrent.futures.ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        there = pool.submit(os.getpid).result(PATIENCE)
        cluster = open_cluster([qexec.DeviceExecutor("default.qubit", seed=1, parallel=pool, max_circuits=2)])
        assert np.allclose(cluster.execute([flip(0.1 * index) for index in range(6)]), np.cos(0.1 * np.arange(6)))
        samples = cluster.execute(random_bits(4))
        assert len({np.asarray(sample).tobytes() for sample in samples}) == 4
        assert pool.submit(os.getpid).result(PATIENCE) == there


def test_a_script_needs_no_main_guard_and_leaves_no_process_behind(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import pennylane as qml\n"
        "print('started')\n"
        "dev = qml.device('qexec.cluster', wires=1, executors=[{'type': 'default.qubit', 'parallel': 'process'}])\n"
        "@qml.qnode(dev)\n"
        "def circuit(x):\n"
        "    qml.RX(x, 0)\n"
        "    return qml.expval(qml.Z(0))\n"
        "print(round(float(circuit(0.0))))\n"
    )
    # The workers hold the pipe of stderr too, so this returns when they are gone.
    done = programs.run(script.read_text(), name=str(script))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["started", "1"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_cluster_that_was_forked_says_so_instead_of_hanging(tmp_path: Path) -> None:
    program = tmp_path / "forks.py"
    program.write_text(
        "import os, sys\n"
        "import pennylane_qexec as qexec\n"
        "from pennylane_qexec.testing import flip\n"
        "cluster = qexec.QCluster([{'type': 'default.qubit', 'parallel': 'thread'}])\n"
        "cluster.execute([flip(0.1, 10)])\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    try:\n"
        "        cluster.execute([flip(0.1, 10)])\n"
        "    except qexec.ConfigurationError as error:\n"
        "        print(error, flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(child, 0)\n"
    )
    output = programs.run(program.read_text(), name=str(program)).stdout
    assert "open a cluster here" in output
