"""Warm worker processes, shared by all clusters of this process, since importing PennyLane in one costs seconds.

Daemon threads take batches from a queue; each thread owns a worker process, started when first needed. A batch that is
given up kills the worker it runs on, and the next batch gets a new one.
"""

from __future__ import annotations

import itertools
import os
import pickle
import queue
import subprocess
import sys
import threading
import uuid
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any, NamedTuple

import cloudpickle
from pennylane.tape import QuantumScript

from pennylane_qexec.concurrency import lifecycle
from pennylane_qexec.concurrency.lifecycle import ExitPhase
from pennylane_qexec.concurrency.resources import cores
from pennylane_qexec.engine.worker import BOOTSTRAP, READY, BatchResult
from pennylane_qexec.errors import WorkerDiedError
from pennylane_qexec.executors import Executor
from pennylane_qexec.job import Work


def pickled(work: Work) -> bytes:
    """The work, to be loaded by :func:`pickle.loads` in another process.

    Raises:
        TypeError, pickle.PicklingError: it contains something that cannot be sent.
    """
    work = _plain(work)
    try:
        return pickle.dumps(work)
    except Exception:
        # Arithmetic of mid-circuit measurements is made of functions, which take longer.
        return cloudpickle.dumps(work)  # type: ignore[no-any-return]


def _plain(work: Work) -> Work:
    """The work with circuits of PennyLane's own class, which workers know."""
    sweeps = tuple([replace(sweep, template=_plain_circuit(sweep.template)) for sweep in work.sweeps])
    circuits = [sweep.template for sweep in sweeps] or map(_plain_circuit, work.circuits)
    return replace(work, circuits=tuple(circuits), sweeps=sweeps)


def _plain_circuit(circuit: QuantumScript) -> QuantumScript:
    if type(circuit) is QuantumScript:
        return circuit
    return QuantumScript(
        circuit.operations, circuit.measurements, shots=circuit.shots, trainable_params=circuit.trainable_params
    )


LINGER = 30.0
"""Seconds that worker processes stay warm after the last cluster using them has closed."""


class _Worker:
    """One worker process. It ends with the thread that makes it."""

    def __init__(self, number: int, threads: int) -> None:
        environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
        command = [sys.executable, "-c", BOOTSTRAP, str(os.getpid())]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment)
        self._known: set[str] = set()
        self.ready = False
        lifecycle.at_exit(ExitPhase.PROCESSES, _end_all)
        _living.add(self)
        self._send((number, sys.path))

    def wait_until_ready(self) -> None:
        """Wait until the worker has imported PennyLane."""
        if not self.ready:
            self.ready = self._receive() == READY

    def perform(self, key: str, executor: bytes, work: bytes) -> BatchResult:
        answer, value = self._ask(key, None if key in self._known else executor, work)
        if answer == "unknown":
            answer, value = self._ask(key, executor, work)
        self._known.add(key)
        if answer == "error":
            error, came_from = value
            error.add_note(came_from)
            raise error
        return value  # type: ignore[no-any-return]

    def _ask(self, key: str, executor: bytes | None, work: bytes) -> tuple[str, Any]:
        self.wait_until_ready()
        self._send((key, executor, work))
        return pickle.loads(self._receive())  # type: ignore[no-any-return]

    def _send(self, message: Any) -> None:
        assert self._process.stdin is not None
        with self._watched():
            pickle.dump(message, self._process.stdin)
            self._process.stdin.flush()

    def _receive(self) -> Any:
        assert self._process.stdout is not None
        with self._watched():
            return pickle.load(self._process.stdout)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, OSError, pickle.UnpicklingError) as error:
            self.kill()
            raise WorkerDiedError(
                f"worker process {self._process.pid} ended with exit code {self._process.wait()} in the middle of a "
                "batch (out of memory? a crash in native code?). A new one takes its place."
            ) from error

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


_living: weakref.WeakSet[_Worker] = weakref.WeakSet()


class _Task(NamedTuple):
    future: Future[BatchResult]
    key: str
    executor: bytes
    work: bytes


class ProcessPool:
    """Worker processes that carry out batches, shared by all clusters of this process.

    Attributes:
        hands: the workers that are there, or on their way; 0 before the first heavy batch.
    """

    def __init__(self) -> None:
        self._tasks: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._leases = 0
        self.hands = 0
        self._numbers = itertools.count()
        self._busy: dict[Future[BatchResult], _Worker] = {}
        self._pickled: weakref.WeakKeyDictionary[Executor, tuple[str, bytes]] = weakref.WeakKeyDictionary()

    def lease(self) -> None:
        """Keep the workers warm until :meth:`give_back` is called as often as this."""
        with self._lock:
            self._leases += 1

    def give_back(self) -> None:
        """End a lease; the workers end a while after the last one."""
        with self._lock:
            self._leases -= 1

    def submit(self, executor: Executor, work: Work) -> Future[BatchResult]:
        """Carry out a batch in a worker process.

        Raises:
            TypeError, pickle.PicklingError: the executor or the work cannot be sent to another process.
        """
        key, executor_pickled = self.pickled(executor)
        task = _Task(Future(), key, executor_pickled, pickled(work))
        with self._lock:
            self._tasks.put(task)
            self._add_workers(executor.workers or 0)
        return task.future

    def warm_up(self) -> None:
        """Start workers, if they are not running, and do not wait for them."""
        with self._lock:
            self._add_workers(0)

    def stop(self, future: Future[BatchResult]) -> None:
        """Give up a batch: forget it if it waits, kill its worker if it runs."""
        if not future.cancel():
            with self._lock:
                worker = self._busy.get(future)
            if worker is not None:
                worker.kill()

    @property
    def warm(self) -> bool:
        """Whether worker processes are ready."""
        return any(worker.ready and worker.alive for worker in list(_living))

    def pickled(self, executor: Executor) -> tuple[str, bytes]:
        """The executor as bytes, and a key under which processes that have it keep it."""
        with self._lock:
            if executor not in self._pickled:
                self._pickled[executor] = (uuid.uuid4().hex, cloudpickle.dumps(executor))
            return self._pickled[executor]

    def _add_workers(self, wanted: int) -> None:
        """Have at least as many workers as wanted, and one for each core. The lock is held."""
        missing = max(wanted, cores()) - self.hands
        for _ in range(missing):
            try:
                threading.Thread(target=self._work, daemon=True, name=f"qexec-worker-{self.hands + 1}").start()
            except RuntimeError:
                if not self.hands:
                    raise
                return  # the program is ending: those that are there will do it
            self.hands += 1

    def _new_worker(self) -> _Worker:
        """A worker with a number that none had before: with a seed, it draws from a stream of its own."""
        return _Worker(next(self._numbers), max(1, cores() // max(1, self.hands)))

    def _work(self) -> None:
        worker: _Worker | None = None
        with suppress(WorkerDiedError, OSError):  # what hinders it will hinder the first batch, which says so
            worker = self._new_worker()
            worker.wait_until_ready()
        while True:
            try:
                task = self._tasks.get(timeout=LINGER)
            except queue.Empty:
                if self._leaves():
                    if worker is not None:
                        worker.kill()
                    return
                continue
            if not task.future.set_running_or_notify_cancel():
                continue
            try:
                if worker is None or not worker.alive:
                    worker = self._new_worker()
                with self._lock:
                    self._busy[task.future] = worker
                task.future.set_result(worker.perform(task.key, task.executor, task.work))
            except BaseException as error:
                task.future.set_exception(error)
            finally:
                with self._lock:
                    self._busy.pop(task.future, None)
                del task

    def _leaves(self) -> bool:
        """Whether a worker that has waited in vain may end: no cluster is open, and nothing has come meanwhile."""
        with self._lock:
            if self._leases > 0 or not self._tasks.empty():
                return False
            self.hands -= 1
            return True


def _end_all() -> None:
    for worker in list(_living):
        worker.kill()


shared_pool = ProcessPool()
"""The worker processes of this process. None is started before the first heavy batch."""
