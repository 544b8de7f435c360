"""When a batch leaves: full, after its window, or early since somebody waits and nothing else comes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

import pennylane_qexec as qexec
from pennylane_qexec.job import Job
from pennylane_qexec.testing import FakeQPU, ScriptedExecutor, flip

PATIENCE = 30.0  # seconds after which a test that hangs fails
FOREVER = 3600.0  # seconds: a window that no test sees the end of
ANGLES = [0.1 * index for index in range(16)]


class Question:
    """What an engine asks to learn whether somebody waits: it says what it is told, and notes how often it was asked.

    Attributes:
        looked: set when it has been asked several times, so that a batch which would leave has left.
    """

    def __init__(self, answer: bool = False) -> None:
        self.answer = answer
        self.looked = threading.Event()
        self._times = 0

    def __call__(self) -> bool:
        self._times += 1
        if self._times > 3:
            self.looked.set()
        return self.answer


def submit(cluster: Any, executor: Any, angles: Sequence[float], asked: Callable[[], bool] | None = None) -> Any:
    """Submit circuits one by one."""
    return [future for angle in angles for future in cluster.submit([Job(flip(angle), executor)], asked)]


def values(futures: Sequence[Future[Any]]) -> list[float]:
    return [float(future.result(PATIENCE).result) for future in futures]


def sizes(executor: ScriptedExecutor) -> list[int]:
    return [len(batch) for batch in executor.batches]


@pytest.mark.parametrize("selector", ["cyclic", "least_loaded"])
@pytest.mark.parametrize("make", [ScriptedExecutor, FakeQPU])
def test_a_call_that_waits_alone_does_not_wait_for_the_window(open_cluster: Any, make: Any, selector: str) -> None:
    cluster = open_cluster([make()], batch_window=FOREVER, selector=selector)
    assert np.allclose(cluster.execute([flip(0.3)]), np.cos(0.3))


def test_circuits_of_one_call_share_a_batch_that_leaves_early(open_cluster: Any) -> None:
    executor = ScriptedExecutor(batch_window=FOREVER)
    open_cluster([executor]).execute([flip(angle) for angle in ANGLES])
    assert sizes(executor) == [16]


def test_many_threads_that_wait_all_get_their_results(open_cluster: Any) -> None:
    executor = ScriptedExecutor(batch_window=FOREVER)
    cluster = open_cluster([executor])
    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(lambda angle: cluster.execute([flip(angle)])[0], ANGLES))
    assert np.allclose(results, np.cos(ANGLES))
    assert sum(sizes(executor)) == 16


@pytest.mark.parametrize("selector", ["cyclic", "least_loaded"])
def test_what_nobody_waits_for_waits_for_its_window(open_cluster: Any, selector: str) -> None:
    executor, question = ScriptedExecutor(), Question()
    cluster = open_cluster([executor], batch_window=FOREVER, selector=selector)
    (future,) = submit(cluster, None if selector == "least_loaded" else executor, [0.3], question)
    assert question.looked.wait(PATIENCE)
    assert not executor.started.is_set()
    assert not future.done()


@pytest.mark.parametrize("selector", ["cyclic", "least_loaded"])
def test_a_batch_leaves_when_somebody_begins_to_wait_for_one_of_its_circuits(open_cluster: Any, selector: str) -> None:
    executor, question = ScriptedExecutor(), Question()
    cluster = open_cluster([executor], batch_window=FOREVER, selector=selector)
    chosen = None if selector == "least_loaded" else executor
    futures = submit(cluster, chosen, ANGLES[:-1], lambda: False) + submit(cluster, chosen, ANGLES[-1:], question)
    assert question.looked.wait(PATIENCE)
    question.answer = True
    assert np.allclose(values(futures), np.cos(ANGLES))
    assert sizes(executor) == [16]


def test_asking_a_future_for_its_result_is_waiting(open_cluster: Any) -> None:
    executor = ScriptedExecutor(batch_window=FOREVER)
    futures = submit(open_cluster([executor]), executor, ANGLES)
    assert np.allclose(values(futures), np.cos(ANGLES))


def test_a_callback_is_not_waiting(open_cluster: Any) -> None:
    executor = ScriptedExecutor(batch_window=FOREVER, max_circuits=2)
    cluster = open_cluster([executor])
    called, looked = threading.Event(), Question()
    (first,) = submit(cluster, executor, [0.1])
    first.add_done_callback(lambda _: called.set())
    executor_of_looks = ScriptedExecutor("other", batch_window=FOREVER)
    submit(open_cluster([executor_of_looks]), executor_of_looks, [0.1], looked)
    assert looked.looked.wait(PATIENCE)
    assert not called.is_set()
    submit(cluster, executor, [0.2])
    assert called.wait(PATIENCE)
    assert sizes(executor) == [2]


@pytest.mark.parametrize("selector", ["cyclic", "least_loaded"])
def test_a_full_batch_leaves_although_nobody_waits(open_cluster: Any, selector: str) -> None:
    executor = ScriptedExecutor(max_circuits=4)
    cluster = open_cluster([executor], batch_window=FOREVER, selector=selector)
    ended = threading.Semaphore(0)
    for future in submit(cluster, None if selector == "least_loaded" else executor, ANGLES, lambda: False):
        future.add_done_callback(lambda _: ended.release())
    assert all(ended.acquire(timeout=PATIENCE) for _ in ANGLES)
    assert sizes(executor) == [4, 4, 4, 4]


def test_circuits_that_come_while_the_executor_is_busy_share_the_next_batch(open_cluster: Any) -> None:
    gate = threading.Event()
    executor = ScriptedExecutor(gate=gate, batch_window=FOREVER)
    cluster = open_cluster([executor])
    first = submit(cluster, executor, [0.5], lambda: True)
    assert executor.started.wait(PATIENCE)
    with ThreadPoolExecutor(16) as pool:
        later = list(pool.map(lambda angle: submit(cluster, executor, [angle], lambda: True)[0], ANGLES))
    gate.set()
    assert np.allclose(values(first + later), np.cos([0.5, *ANGLES]))
    assert sizes(executor) == [1, 16]


def test_late_bound_circuits_are_shared_fairly_between_executors_that_gather(open_cluster: Any) -> None:
    gate, question = threading.Event(), Question()
    executors = [ScriptedExecutor(name, gate=gate) for name in ("one", "two")]
    cluster = open_cluster(executors, batch_window=FOREVER, selector="least_loaded")
    futures = submit(cluster, None, ANGLES, question)
    question.answer = True
    assert all(executor.started.wait(PATIENCE) for executor in executors)
    gate.set()
    assert np.allclose(values(futures), np.cos(ANGLES))
    assert max(len(batch) for executor in executors for batch in executor.batches) == 8


def test_a_window_that_is_over_sends_what_there_is_although_nobody_waits(open_cluster: Any) -> None:
    executor = ScriptedExecutor(batch_window=0.001)
    ended = threading.Event()
    (future,) = submit(open_cluster([executor]), executor, [0.3], lambda: False)
    future.add_done_callback(lambda _: ended.set())
    assert ended.wait(PATIENCE)


def test_a_qnode_on_a_device_with_a_long_window_answers_at_once(open_device: Any) -> None:
    import pennylane as qml

    device = open_device(executors=[ScriptedExecutor()], batch_window=FOREVER)

    @qml.qnode(device, diff_method="parameter-shift")
    def circuit(angle: Any) -> Any:
        qml.RX(angle, 0)
        return qml.expval(qml.Z(0))

    angle = qml.numpy.array(0.3, requires_grad=True)
    assert np.allclose(circuit(angle), np.cos(0.3))
    assert np.allclose(qml.grad(circuit)(angle), -np.sin(0.3))


def test_closing_ends_what_waits_for_its_window() -> None:
    executor = ScriptedExecutor(batch_window=FOREVER)
    with qexec.QCluster([executor]) as cluster:
        (future,) = submit(cluster, executor, [0.3])
    assert isinstance(future.exception(PATIENCE), qexec.JobCancelledError)
