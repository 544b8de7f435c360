"""What does a QElectron cost over its QNode, and how much work do 1,000 and 10,000 calls that run later do?

Every figure is a ratio to the bare QNode in the same run, alternating with it: median, with the 10th and 90th
percentile. The simulator is lightning.qubit.
"""

from __future__ import annotations

import itertools
import os
import resource
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial

os.environ.setdefault("OMP_NUM_THREADS", "1")
# With JAX 0.10, PennyLane 0.45 tries to import its capture module, in vain, in every call with shots: 3 ms that
# would hide what is measured here.
sys.modules["jax"] = None  # type: ignore[assignment]

import numpy as np
import pennylane as qml
from answers import Answer, answer, seconds, side_by_side
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec

CALLS, WAITING = 1000, 10_000


class SlowBackend(qexec.QueuedExecutor):
    """A backend with a queue: a job takes a while, however many circuits it has."""

    poll_interval = poll_interval_max = 0.02

    def __init__(self, seconds: float, max_circuits: int) -> None:
        super().__init__(max_circuits=max_circuits)
        self._seconds = seconds
        self._simulator = qexec.DeviceExecutor("lightning.qubit", wires=2)
        self._numbers = itertools.count()
        self._jobs: dict[str, tuple[float, Sequence[QuantumScript]]] = {}

    def submit(self, circuits: Sequence[QuantumScript]) -> str:
        """Note when the job will be done."""
        job_id = str(next(self._numbers))
        self._jobs[job_id] = (time.monotonic() + self._seconds, circuits)
        return job_id

    def poll(self, job_id: str) -> qexec.JobState:
        """Done when its time is over."""
        return qexec.JobState.DONE if time.monotonic() >= self._jobs[job_id][0] else qexec.JobState.RUNNING

    def fetch(self, job_id: str) -> Sequence[qexec.Result]:
        """The results."""
        return self._simulator.run(self._jobs.pop(job_id)[1])

    def cancel(self, job_id: str) -> None:
        """Nothing to stop."""


def qnode(wires: int, layers: int) -> qml.QNode:
    """A layered circuit of one parameter on lightning.qubit."""
    weights = np.ones((layers, wires, 3))

    @qml.qnode(qml.device("lightning.qubit", wires=wires))
    def circuit(x: float) -> object:
        qml.StronglyEntanglingLayers(x * weights, wires=range(wires))
        return qml.expval(qml.Z(0))

    return circuit


def called(circuit: qml.QNode, xs: np.ndarray) -> list[object]:
    """A QNode called in a loop."""
    return [circuit(x) for x in xs]


def ratios(peer: Callable[[], object], ours: Callable[[], object], rounds: int) -> tuple[np.ndarray, float]:
    """How many times the peer's seconds ours take, in each round; and the peer's median."""
    theirs, mine = side_by_side([peer, ours], rounds).T
    return mine / theirs, float(np.median(theirs))


def overheads() -> Iterator[Answer]:
    """A call, and 1,000 calls that run later."""
    small, large, larger = qnode(2, 1), qnode(14, 3), qnode(16, 3)
    one = {"type": "lightning.qubit", "workers": 1}
    for name, bare, executors, calls, rounds, goal in (
        ("1,000 later, 2 qubits, left to decide", small, "lightning.qubit", CALLS, 11, 0.9),
        ("1,000 later, 2 qubits, one thread", small, one | {"parallel": "thread"}, CALLS, 11, 0.9),
        ("1,000 later, 2 qubits, one process", small, one | {"parallel": "process"}, CALLS, 11, 0.9),
        ("200 later, 14 qubits, one process", large, one | {"parallel": "process"}, 200, 5, 0.9),
        ("200 later, 14 qubits, two processes", large, one | {"parallel": "process", "workers": 2}, 200, 5, 1.0),
        ("100 later, 16 qubits, two processes", larger, one | {"parallel": "process", "workers": 2}, 100, 5, 1.0),
    ):
        xs = np.linspace(0, 1, calls)
        circuit = qexec.qelectron(bare, executors=executors)
        later, peer = ratios(partial(called, bare, xs), partial(circuit.map, xs), rounds)
        beside = f"the QNode in a loop: {calls / peer:.0f} calls/s"
        yield Answer.of(name, 1 / later, "times as many calls", at_least=goal, beside=beside)
    circuit = qexec.qelectron(small, executors="lightning.qubit")
    calls, peer = ratios(partial(small, 0.3), partial(circuit, 0.3), 2000)
    yield Answer.of("a call, 2 qubits", calls, "times as long", beside=f"the QNode: {1e6 * peer:.0f} us")


def latency() -> Iterator[Answer]:
    """How long run_later itself takes while two processes compute."""
    circuit = qexec.qelectron(qnode(14, 3), executors={"type": "lightning.qubit", "parallel": "process", "workers": 2})
    circuit.map(np.linspace(0, 1, 20))
    futures, taken = [], []
    for x in np.linspace(0, 1, 200):
        taken.append(seconds(lambda: futures.append(circuit.run_later(x))))  # noqa: B023
    qexec.gather(futures)
    yield Answer.of("run_later returns, 14 qubits, two busy processes", 1e3 * np.array(taken), "ms", at_most=1)


def batching() -> Iterator[Answer]:
    """200 calls on a backend that takes 0.5 s for each job of at most 100 circuits."""
    circuit = qexec.qelectron(qnode(2, 1), executors=SlowBackend(0.5, 100))
    taken = seconds(lambda: circuit.map(np.linspace(0, 1, 200)))
    yield Answer.of("200 later, 0.5 s per job of 100", taken, "s", at_most=2.5)


def waiting() -> Iterator[Answer]:
    """10,000 calls that wait for slow backends: threads, memory, and whether all are right."""
    backends = [SlowBackend(5, 500), SlowBackend(5, 500), SlowBackend(5, 500)]
    bare = qnode(2, 1)
    circuit = qexec.qelectron(bare, executors=backends)
    circuit.run_later(0.1).cancel()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    xs = np.linspace(0, 6, WAITING)
    futures = [circuit.run_later(x) for x in xs]
    threads = threading.active_count()
    results = qexec.gather(futures)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert np.allclose(results[::50], [bare(x) for x in xs[::50]])
    yield Answer.of("10,000 waiting, all right: threads", threads, "threads", at_most=64)
    yield Answer.of("10,000 waiting: memory over the start", memory, "MB", at_most=400)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    answer("QElectrons beside their QNodes, on lightning.qubit", overheads, latency, batching, waiting)
