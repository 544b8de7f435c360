"""Warm threads and warm worker processes.

A crew is a number of daemon threads that take tasks from a queue. The hands of the process crew own a worker process
each, started when first needed; a task that is given up kills the worker it runs on, and the next task gets a new one.
All clusters of a process share one process crew, since importing PennyLane in a worker costs seconds.
"""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, NamedTuple

import cloudpickle
from pennylane.tape import QuantumScript

from pennylane_qexec.engine.worker import BOOTSTRAP, perform
from pennylane_qexec.errors import WorkerDiedError
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.job import Result, Work

LINGER = 30.0
"""Seconds that worker processes stay warm after the last cluster using them has closed."""


class Ran(NamedTuple):
    """The results of a batch, and the seconds that running it took."""

    results: list[Result]
    seconds: float


def cores() -> int:
    """The number of cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class ThreadCrew:
    """Warm threads that run functions.

    Args:
        hands: the most tasks at the same time; threads are started when first needed.
        name: of the threads.
    """

    def __init__(self, hands: int, name: str) -> None:
        self._hands = hands
        self._name = name
        self._tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0

    def submit(self, function: Callable[[], Any]) -> Future[Any]:
        """Run a function in one of the threads."""
        future: Future[Any] = Future()
        with self._lock:
            if self._idle:
                self._idle -= 1
            elif self._threads < self._hands:
                self._threads += 1
                threading.Thread(target=self._work, daemon=True, name=f"{self._name}-{self._threads}").start()
        self._tasks.put((future, function))
        return future

    def add_hand(self) -> None:
        """Allow one thread more, in place of one that may never come back."""
        with self._lock:
            self._hands += 1

    def close(self) -> None:
        """End the threads when they have finished what they do."""
        for _ in range(self._threads):
            self._tasks.put(None)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            future, function = task
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function())
                except BaseException as error:
                    future.set_exception(error)
            del task, future, function
            with self._lock:
                self._idle += 1


class _Worker:
    """One worker process."""

    def __init__(self, number: int, threads: int) -> None:
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-c", BOOTSTRAP], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        self._known: set[str] = set()
        _living.add(self)
        self._send((number, sys.path))

    def perform(self, key: str, executor: bytes, work: bytes) -> Ran:
        answer, value, seconds = self._ask(key, None if key in self._known else executor, work)
        if answer == "unknown":
            answer, value, seconds = self._ask(key, executor, work)
        self._known.add(key)
        if answer == "error":
            raise value
        return Ran(value, seconds)

    def _ask(self, key: str, executor: bytes | None, work: bytes) -> tuple[str, Any, float]:
        try:
            self._send((key, executor, work))
            assert self._process.stdout is not None
            return pickle.loads(pickle.load(self._process.stdout))  # type: ignore[no-any-return]
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            self.kill()
            raise WorkerDiedError(
                f"worker process {self._process.pid} ended with exit code {self._process.wait()} in the middle of a "
                "batch (out of memory? a crash in native code?). A new one takes its place."
            ) from error

    def _send(self, message: Any) -> None:
        assert self._process.stdin is not None
        pickle.dump(message, self._process.stdin)
        self._process.stdin.flush()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


_living: weakref.WeakSet[_Worker] = weakref.WeakSet()


class _Task(NamedTuple):
    future: Future[Ran]
    key: str
    executor: bytes
    work: bytes


class ProcessCrew:
    """Worker processes that carry out batches, shared by all clusters of this process."""

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[_Task | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._leases = 0
        self._hands = 0
        self._busy: dict[Future[Ran], _Worker] = {}
        self._pickled: weakref.WeakKeyDictionary[Executor, tuple[str, bytes]] = weakref.WeakKeyDictionary()

    def lease(self) -> None:
        """Keep the workers warm until :meth:`give_back` is called as often as this."""
        with self._lock:
            self._leases += 1

    def give_back(self) -> None:
        """End a lease; the workers end a while after the last one."""
        with self._lock:
            self._leases -= 1

    def submit(self, executor: Executor, work: Work) -> Future[Ran]:
        """Carry out a batch in a worker process.

        Raises:
            TypeError, pickle.PicklingError: the executor or the work cannot be sent to another process.
        """
        key, pickled = self._pickle(executor)
        task = _Task(Future(), key, pickled, pickle.dumps(_plain(work)))
        with self._lock:
            wanted = max(executor.workers or 0, cores())
            for number in range(self._hands, wanted):
                threading.Thread(target=self._work, args=(number,), daemon=True, name=f"qexec-worker-{number}").start()
            self._hands = max(self._hands, wanted)
        self._tasks.put(task)
        return task.future

    def stop(self, future: Future[Ran]) -> None:
        """Give up a batch: forget it if it waits, kill its worker if it runs."""
        if not future.cancel():
            with self._lock:
                worker = self._busy.get(future)
            if worker is not None:
                worker.kill()

    @property
    def warm(self) -> bool:
        """Whether worker processes are running."""
        return any(worker.alive for worker in _living)

    def _pickle(self, executor: Executor) -> tuple[str, bytes]:
        with self._lock:
            if executor not in self._pickled:
                self._pickled[executor] = (uuid.uuid4().hex, cloudpickle.dumps(executor))
            return self._pickled[executor]

    def _work(self, number: int) -> None:
        worker: _Worker | None = None
        while True:
            try:
                task = self._tasks.get(timeout=LINGER)
            except queue.Empty:
                if self._leases <= 0 and worker is not None:
                    worker.kill()
                    worker = None
                continue
            if task is None or not task.future.set_running_or_notify_cancel():
                continue
            try:
                if worker is None or not worker.alive:
                    worker = _Worker(number, max(1, cores() // max(self._hands, 1)))
                with self._lock:
                    self._busy[task.future] = worker
                task.future.set_result(worker.perform(task.key, task.executor, task.work))
            except BaseException as error:
                task.future.set_exception(error)
            finally:
                with self._lock:
                    self._busy.pop(task.future, None)
                del task


def _plain(work: Work) -> Work:
    """The work with circuits of PennyLane's own class, which workers know."""
    circuits = tuple(
        circuit
        if type(circuit) is QuantumScript
        else QuantumScript(
            circuit.operations, circuit.measurements, shots=circuit.shots, trainable_params=circuit.trainable_params
        )
        for circuit in work.circuits
    )
    return Work(circuits, work.call, work.vectors)


def perform_here(executor: Executor, work: Work) -> Ran:
    """Carry out a batch in the current thread."""
    start = time.perf_counter()
    results = perform(executor, work)
    return Ran(results, time.perf_counter() - start)


_elsewhere: dict[str, Executor] = {}


def perform_elsewhere(key: str, pickled: bytes, work: bytes) -> Ran:
    """Carry out a batch in a process of a user's :class:`concurrent.futures.Executor`, which keeps the executor."""
    if key not in _elsewhere:
        from pennylane_qexec import isolation

        isolation.install()
        _elsewhere[key] = pickle.loads(pickled)
        _elsewhere[key].become_replica(os.getpid())
    return perform_here(_elsewhere[key], pickle.loads(work))


def submit_elsewhere(pool: Any, executor: Executor, work: Work) -> Future[Ran]:
    """Carry out a batch in a user's :class:`concurrent.futures.Executor`."""
    key, pickled = processes._pickle(executor)
    future: Future[Ran] = pool.submit(perform_elsewhere, key, pickled, pickle.dumps(_plain(work)))
    return future


processes = ProcessCrew()
"""The worker processes of this process. None is started before the first heavy batch."""
