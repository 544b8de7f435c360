"""Worker processes as the event loop of a server has them: started, asked, killed."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import pickle
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from pennylane_qexec.errors import WorkerDiedError
from pennylane_qexec.server.programs import Answer, Task
from pennylane_qexec.server.workers.worker import BOOTSTRAP, LENGTH, READY

logger = logging.getLogger("pennylane_qexec.server")

_BUFFER = 2**20
_LARGE = 2**18  # bytes; what is larger is pickled in a thread


class TaskStoppedError(Exception):
    """A task was stopped, since nobody wants it any more."""


class WorkerProcess:
    """A worker process, from its start to its end. It has to be made in the thread of the event loop.

    Args:
        setup: what the process is sent first.
        threads: for OpenMP; ``None`` to let it choose.
        changed: called when the process is ready, when it has ended, and when a task has.

    Attributes:
        started: whether it has been ready for tasks.
        ended: whether it is no more.
    """

    def __init__(self, setup: bytes, threads: int | None, changed: Callable[[WorkerProcess], None]) -> None:
        self.started = False
        self.ended = False
        self._setup = setup
        self._threads = threads
        self._changed = changed
        self._process: Process | None = None
        self._killed = False
        self._numbers = itertools.count(READY + 1)
        self._tasks: dict[int, tuple[Task, asyncio.Future[list[Answer]]]] = {}
        self._life = asyncio.create_task(self._live())

    def __len__(self) -> int:
        """How many tasks it has."""
        return len(self._tasks)

    @property
    def ready(self) -> bool:
        """Whether tasks may begin."""
        return self.started and not self._killed and not self.ended

    def begin(self, task: Task) -> Coroutine[Any, Any, list[Answer]]:
        """Begin a task, from now on one of those that the process has. Gives what waits for its answers.

        That raises :class:`~pennylane_qexec.WorkerDiedError` if the process ends meanwhile, and
        :class:`TaskStoppedError` if :meth:`stop` is called.
        """
        number, answers = next(self._numbers), asyncio.get_running_loop().create_future()
        self._tasks[number] = (task, answers)
        return self._perform(number, task, answers)

    async def _perform(self, number: int, task: Task, answers: asyncio.Future[list[Answer]]) -> list[Answer]:
        large = sum(map(len, task.payloads)) > _LARGE
        message = await asyncio.to_thread(pickle.dumps, (number, task)) if large else pickle.dumps((number, task))
        if not answers.done():
            self._send(message)
        return await answers

    def stop(self, task: Task, *, kill: bool) -> None:
        """Have what waits for the answers of a task raise at once.

        Args:
            task: the task.
            kill: whether to kill the process. Otherwise it is told, and has the task until it says that it has ended.
        """
        for known, answers in self._tasks.values():
            if known is task and not answers.done():
                answers.set_exception(TaskStoppedError())
                for job in () if kill else task.ids:
                    self._send(pickle.dumps((None, job)))
        if kill:
            self.kill()

    def kill(self) -> None:
        """End the process."""
        self._killed = True
        if self._process is not None:
            _kill(self._process)

    async def wait(self) -> None:
        """Wait until the process has ended."""
        await asyncio.wait([self._life])

    def _send(self, message: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(message)  # if nobody reads it, the process has ended, and _live() sees that

    async def _live(self) -> None:
        code: int | None = None
        try:
            environment = dict(os.environ)
            if self._threads is not None:
                environment.setdefault("OMP_NUM_THREADS", str(self._threads))
            self._process = process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", BOOTSTRAP, str(os.getpid())),
                stdin=PIPE,
                stdout=PIPE,
                limit=_BUFFER,
                env=environment,
            )
            if self._killed:
                _kill(process)
            self._send(pickle.dumps(sys.path) + self._setup)
            with suppress(asyncio.IncompleteReadError, OSError):
                await self._read(process)
            _kill(process)  # it may have closed its pipe, and hang
            code = await process.wait()
        except OSError as error:
            logger.error("a worker process could not be started: %s", error)
        finally:
            self._end(code)

    async def _read(self, process: Process) -> None:
        assert process.stdout is not None
        while True:
            (length,) = LENGTH.unpack(await process.stdout.readexactly(LENGTH.size))
            content = await process.stdout.readexactly(length)
            message = await asyncio.to_thread(pickle.loads, content) if length > _LARGE else pickle.loads(content)
            self._receive(*message)

    def _receive(self, number: int, answers: list[Answer]) -> None:
        if number == READY:
            self.started = True
        else:
            _, future = self._tasks.pop(number)
            if not future.done():
                future.set_result(answers)
        self._changed(self)

    def _end(self, code: int | None) -> None:
        self.ended = True
        if code is not None and not self._killed:
            logger.error("a worker process ended with exit code %d", code)
        for _, answers in self._tasks.values():
            if not answers.done():
                answers.set_exception(WorkerDiedError(_why(code)))
        self._tasks.clear()
        self._changed(self)


def _kill(process: Process) -> None:
    """Kill a process. Asyncio's own method may take its exit code away from those who wait for it."""
    if process.returncode is not None:
        return
    if sys.platform == "win32":
        process.kill()
    else:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def _why(code: int | None) -> str:
    said = f"exit code {code}" if code is not None and code >= 0 else f"signal {-(code or 0)}"
    return f"the process that ran it ended by {said} (out of memory? a crash in native code?)"
