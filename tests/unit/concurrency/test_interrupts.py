"""Ctrl-C ends every wait of the main thread, also where what its handler raises gets lost."""

from __future__ import annotations

import concurrent.futures
import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pennylane as qml
import pytest
from rich.console import Console

import pennylane_qexec as qexec
from pennylane_qexec.cli.run import follow
from pennylane_qexec.concurrency import interrupts, lifecycle
from pennylane_qexec.concurrency.context import ChainLock
from pennylane_qexec.concurrency.once import OnceCache
from pennylane_qexec.job import Job
from pennylane_qexec.testing import FakeQPU, flip


@pytest.fixture(autouse=True)
def python_handles_ctrl_c() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def lose_ctrl_c() -> None:
    """Press Ctrl-C where nobody sees what its handler raises, as in a callback of the garbage collector."""
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.fixture
def ctrl_c_gets_lost(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Ctrl-C is pressed, and lost, before the main thread waits for the first time; how long it waits each time."""
    waits: list[float] = []
    real = threading.Condition.wait

    def wait(condition: threading.Condition, timeout: float | None = None) -> bool:
        short = timeout == 0 or sys._getframe(2).f_code is threading.Thread.start.__code__
        if threading.current_thread() is threading.main_thread() and not short:
            if not waits:
                lose_ctrl_c()
            assert timeout is not None, "this wait has no end"
            waits.append(timeout)
        return real(condition, timeout)

    monkeypatch.setattr(threading.Condition, "wait", wait)
    return waits


class Waits:
    """Ways to wait for what never ends."""

    def __init__(self, folder: Path) -> None:
        self.qpu = FakeQPU("qpu", polls=None)
        self.cluster = qexec.QCluster([self.qpu])
        self.folder = folder
        self.end = threading.Event()

        @qexec.qelectron(executors=self.cluster)
        @qml.qnode(qml.device("default.qubit", wires=1))
        def asked() -> Any:
            return qml.expval(qml.Z(0))

        self.asked = asked

    def submit(self) -> Future[Any]:
        return self.cluster.submit([Job(flip(0.1), self.qpu)])[0]

    def execute(self) -> None:
        self.cluster.execute([flip(0.1)])

    def call(self) -> None:
        self.asked()

    def ask_for_a_result(self) -> None:
        self.asked.run_later().result()

    def ask_for_an_error(self) -> None:
        self.submit().exception()

    def ask_a_function(self) -> None:
        qexec.run_later(self.end.wait).result()

    def gather(self) -> None:
        qexec.gather([self.submit(), self.submit()])

    def take_as_they_end(self) -> None:
        next(qexec.as_completed([self.submit()]))

    def end_the_program(self) -> None:
        self.submit()
        lifecycle._wait_for_jobs()

    def end_a_durable_run(self) -> None:
        with qexec.durable_run("test", self.folder / "test.db"):
            self.execute()

    def compute_what_another_thread_computes(self) -> None:
        kept: OnceCache[bool] = OnceCache(1)
        begun = threading.Event()

        def make() -> bool:
            begun.set()
            return self.end.wait()

        threading.Thread(target=kept.get, args=(1, make), daemon=True).start()
        begun.wait(20)
        kept.get(1, make)


WAYS = [way for name, way in vars(Waits).items() if not name.startswith("_") and name != "submit"]


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_ctrl_c_that_got_lost_ends_the_wait(
    way: Callable[[Waits], None], ctrl_c_gets_lost: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = Waits(tmp_path)
    try:
        with pytest.raises(KeyboardInterrupt):
            way(waits)
        assert max(ctrl_c_gets_lost) <= 0.5
    finally:
        waits.end.set()
        waits.cluster.close()


def test_a_ctrl_c_that_got_lost_while_a_bar_was_drawn_cancels_the_experiment() -> None:
    class UnderWay:
        cancelled = False

        @property
        def progress(self) -> float:
            lose_ctrl_c()
            return 0.5

        def wait(self, timeout: float | None = None) -> bool:
            return interrupts.wait(lambda seconds: False, 0.0)

        def cancel(self) -> None:
            self.cancelled = True

    experiment = UnderWay()
    with pytest.raises(KeyboardInterrupt):
        follow(experiment, Console(stderr=True))
    assert experiment.cancelled


def test_ctrl_c_ends_the_wait_for_a_lock() -> None:
    lock, chain = threading.Lock(), ChainLock()

    def press_and_acquire(acquire: Callable[[], Any]) -> None:
        threading.Timer(0.0, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]).start()
        acquire()

    with lock, pytest.raises(KeyboardInterrupt):
        press_and_acquire(lambda: interrupts.acquire(lock))
    with chain._lock, pytest.raises(KeyboardInterrupt):
        press_and_acquire(chain.held().__enter__)


def test_python_handles_ctrl_c_again_after_a_wait() -> None:
    assert interrupts.wait(lambda seconds: True)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    with pytest.raises(KeyboardInterrupt):
        interrupts.wait(lambda seconds: bool(lose_ctrl_c()))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_ctrl_c_that_ended_one_wait_does_not_end_the_next() -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupts.wait(lambda seconds: bool(lose_ctrl_c()))
    answers = iter([False, True])
    assert interrupts.wait(lambda seconds: next(answers))


def test_a_ctrl_c_that_got_lost_just_before_the_end_of_the_wait_is_raised() -> None:
    def step(seconds: float | None) -> bool:
        lose_ctrl_c()
        return True

    with pytest.raises(KeyboardInterrupt):
        interrupts.wait(step)


def test_a_handler_of_the_users_own_is_left_where_it_is() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: heard.append(number))

    def step(seconds: float | None) -> bool:
        signal.raise_signal(signal.SIGINT)
        return len(heard) == 2

    assert interrupts.wait(step)
    assert heard == [signal.SIGINT] * 2


def test_other_threads_wait_as_long_as_they_are_told_without_slices() -> None:
    asked: list[float | None] = []

    def step(seconds: float | None) -> bool:
        asked.append(seconds)
        return False

    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(interrupts.wait, step).result(20)
        assert not pool.submit(interrupts.wait, step, 7.0).result(20)
    assert asked == [None, 7.0]


def test_the_main_thread_waits_no_longer_than_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def step(seconds: float | None) -> bool:
        assert seconds is not None
        asked.append(seconds)
        return False

    monkeypatch.setattr(interrupts, "time", SimpleNamespace(monotonic=lambda: 100.0 + sum(asked)))
    assert not interrupts.wait(step, 0.625)
    assert asked == [0.25, 0.25, 0.125]
    assert not interrupts.wait(step, 0.0)
    assert asked == [0.25, 0.25, 0.125, 0.0]


def test_futures_come_as_they_end() -> None:
    first, second = Future[int](), Future[int]()
    second.set_result(2)
    coming = interrupts.as_completed([first, second, second])
    assert next(coming) is second
    first.set_result(1)
    assert list(coming) == [first]


def test_futures_that_do_not_end_in_time_are_counted() -> None:
    done, never = Future[int](), Future[int]()
    done.set_result(1)
    coming = interrupts.as_completed([done, never], 0.01)
    assert next(coming) is done
    with pytest.raises(TimeoutError, match=r"1 \(of 2\) futures unfinished"):
        next(coming)


def test_a_result_is_raised_as_cancelled_as_soon_as_somebody_cancels_it() -> None:
    with qexec.QCluster([FakeQPU("qpu", polls=None)]) as cluster:
        (future,) = cluster.submit([Job(flip(0.1), cluster.executors[0])])
        threading.Timer(0.0, future.cancel).start()
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(20)
