"""What runs inside a worker process of a server: programs kept warm, and tasks carried out as they come.

The server starts ``python -c BOOTSTRAP`` and talks to it by pickles over standard input and output, which are pipes of
their own from then on: what programs print goes to the standard error. Nothing of what users have sent is unpickled.

A worker does not outlive its server. It ends when the pipe closes; it cannot see that while native code holds Python's
lock, as Aer does for minutes, so on Linux the kernel kills it when the *thread* ends that has started it, which is that
of the server's event loop. Ctrl-C and SIGTERM, which a terminal or systemd sends to all processes of a server, are the
server's: it lets tasks end.
"""

from __future__ import annotations

import gc
import importlib
import logging
import os
import pickle
import struct
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import cloudpickle

from pennylane_qexec.concurrency.thread_pool import ThreadPool, tamed
from pennylane_qexec.errors import JobCancelledError
from pennylane_qexec.server.catalogue import Catalogue
from pennylane_qexec.server.limits import Limits
from pennylane_qexec.server.logs import configure_logs
from pennylane_qexec.server.programs import Answer, Task, run
from pennylane_qexec.server.programs.tasks import FAILED
from pennylane_qexec.server.sources import Kind, Source

if sys.platform != "win32":
    import resource

logger = logging.getLogger("pennylane_qexec.server.workers.worker")

BOOTSTRAP = """
import os, pickle, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != int(sys.argv[1]):
        os._exit(0)
try:
    sys.path = pickle.load(sys.stdin.buffer)
except EOFError:
    os._exit(0)
from pennylane_qexec.server.workers.worker import serve
serve()
"""
"""What a worker runs; it takes its server's process id as its argument."""

LENGTH = struct.Struct("!Q")
"""What stands before a pickle that a worker sends: its length."""

READY = 0
"""The number under which a worker says that it is ready; tasks have others."""

_NICE = 5  # the server answers first
_OOM_SCORE = "500"  # where memory runs out, the kernel ends a worker, not the server

_TOO_MUCH_MEMORY = "the job needs more memory than this server has for one. Send smaller circuits, or fewer qubits."
_BROKEN = "the server failed ({}); its log says more. If it fails again, ask whoever runs the server."


class Programs(Protocol):
    """What carries out tasks; it is sent to worker processes by cloudpickle."""

    def warm_up(self) -> None:
        """Do in advance what the first task would wait for."""

    def run(self, task: Task) -> list[Answer]:
        """Carry out a task. Gives an answer for each of its jobs."""

    def cancel(self, job: str) -> None:
        """Stop a job that waits for others, in another thread."""


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker process is sent first.

    Attributes:
        programs: what carries out tasks.
        tasks: how many at the same time, in threads.
        memory: the most bytes that the process may have; ``None`` for no limit.
        log_level: of its logs.
    """

    programs: Programs
    tasks: int
    memory: int | None
    log_level: str

    def dumps(self) -> bytes:
        """The setup, which :func:`serve` reads."""
        return cloudpickle.dumps(self)  # type: ignore[no-any-return]


def serve() -> None:
    """Carry out tasks until the server closes the pipe, which ends the process.

    Requests are ``(number, task)``, and ``(None, job)`` to cancel a job. Answers are ``(number, answers)``.
    """
    source, sink = sys.stdin.buffer, _Sink(os.dup(sys.stdout.fileno()))
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _give_way()
    setup: WorkerSetup = _next(source)
    if setup.memory is not None and sys.platform != "win32":
        resource.setrlimit(resource.RLIMIT_DATA, (setup.memory, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    configure_logs(setup.log_level)
    programs = setup.programs
    programs.warm_up()
    gc.freeze()  # what was imported stays: the garbage collector need not look through it over and over
    pool = ThreadPool(setup.tasks, "qexec-task")
    sink.send((READY, []))
    while True:
        number, what = _next(source)
        if number is None:
            programs.cancel(what)
        else:
            pool.submit(partial(perform, programs, what)).add_done_callback(sink.sender(number))


def _give_way() -> None:
    """Let the server have the processor, and the memory, before this process."""
    if sys.platform != "win32":
        os.nice(_NICE)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)


def _next(source: BinaryIO) -> Any:
    """What the server sends next; when there will be nothing more, the process ends."""
    try:
        return pickle.load(source)
    except (EOFError, OSError, pickle.UnpicklingError):
        os._exit(0)  # the server has gone, perhaps in the middle of a request


class _Sink:
    """Sends messages to the server, from any thread."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "wb")
        self._lock = threading.Lock()

    def send(self, message: tuple[int, list[Answer]]) -> None:
        content = pickle.dumps(message)
        with self._lock:
            try:
                self._file.write(LENGTH.pack(len(content)))
                self._file.write(content)
                self._file.flush()
            except OSError:
                os._exit(0)  # nobody listens any more

    def sender(self, number: int) -> Any:
        """What sends the answers of a task when they are there."""

        def send(future: Future[list[Answer]]) -> None:
            self.send((number, future.result()))

        return send


# Tasks


def perform(programs: Programs, task: Task) -> list[Answer]:
    """Carry out a task. What is wrong with it, or with us, becomes an answer."""
    try:
        answers = list(tamed(programs.run, task))
        if len(answers) != len(task.ids):
            raise RuntimeError(f"{len(answers)} answers for {len(task.ids)} jobs")
        return answers
    except JobCancelledError as error:
        failed = Answer(None, str(error), cancelled=True)
    except MemoryError:
        failed = Answer(None, _TOO_MUCH_MEMORY, FAILED)
    except Exception as error:
        logger.exception("jobs %s failed", ", ".join(task.ids))
        failed = Answer(None, _BROKEN.format(type(error).__name__), FAILED)
    return [failed] * len(task.ids)


@dataclass(frozen=True)
class ServerPrograms:
    """The programs of servers.

    Attributes:
        catalogue: of the backends that jobs name.
        sources: what runs jobs, by name; those of one pool of processes.
        limits: of payloads and circuits.
    """

    catalogue: Catalogue
    sources: Mapping[str, Source]
    limits: Limits
    _cancelled: set[str] = field(default_factory=set)

    def warm_up(self) -> None:
        """Import what programs need."""
        for source in self.sources.values():
            for module in _NEEDS[source.kind]:
                importlib.import_module(module)

    def run(self, task: Task) -> list[Answer]:
        """Carry out a task."""
        if not any(source.waits for source in self.sources.values()):
            return run(task, self.catalogue, self.sources, self.limits)
        from pennylane_qexec.server.programs.clusters import running

        with ExitStack() as stack:
            for job in task.ids:
                stack.enter_context(running(job))  # from here on, cancel() finds it
            if self._cancelled.intersection(task.ids):
                raise JobCancelledError("the job was cancelled.")
            return run(task, self.catalogue, self.sources, self.limits)

    def cancel(self, job: str) -> None:
        """Stop a job that waits for others, or that is about to begin."""
        from pennylane_qexec.server.programs.clusters import cancel

        self._cancelled.add(job)
        cancel(job)


_IBM = "qiskit_ibm_runtime.utils"
_OURS = (_IBM, "pennylane_qexec.server.programs.primitives")
_AER = (_IBM, "pennylane_qexec.server.programs.aer", "pennylane_qexec.server.catalogue.backend")
_NEEDS = dict.fromkeys(Kind, _OURS) | {Kind.AER: _AER}
