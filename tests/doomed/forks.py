"""Processes that run programs and are killed. All are forked off one that has imported everything, to save time."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import traceback
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

_HANGS = 300
"""Seconds after which a program is killed that is still there. It has no effect on those that come to their end."""

_TAKE_LONG = (
    *(
        "doomed.programs",
        "pennylane_qexec.persistence.store.sql",
        "pennylane_qexec.engine.engine",
        "sqlalchemy.dialects.sqlite",
    ),
    *("alembic.command", "alembic.autogenerate", "sqlalchemy.dialects.postgresql.psycopg", "qiskit_aer"),
)
"""What is imported once, before anything is forked off."""


class Forks:
    """A process that forks. To be used in a ``with`` statement."""

    def __enter__(self) -> Self:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, "-W", "ignore", "-m", "doomed.forks"]
        self._process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # and what it has forked off, if a test failed
        self._process.communicate()

    def run(self, program: str, folder: Path, store: str, *doom: Any) -> dict[str, Any] | None:
        """Run a program; returns what it found, or ``None`` if it was killed.

        Args:
            program: its name.
            folder: where the QPUs keep their jobs.
            store: of the run.
            doom: arguments of the :class:`~doomed.fuse.Fuse`.
        """
        return self.run_together([(program, folder, store, *doom)])[0]

    def run_together(self, programs: list[tuple[Any, ...]]) -> list[dict[str, Any] | None]:
        """Run programs at the same time, given as the arguments of :meth:`run`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([list(map(str, each)) for each in programs]) + "\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        for one in told:
            if one is not None and "error" in one:
                raise RuntimeError(one["error"])
        return list(told)


def _serve() -> None:
    for module in _TAKE_LONG:
        importlib.import_module(module)
    for line in sys.stdin:
        pipes = [_fork(arguments) for arguments in json.loads(line)]
        told = [_told(child, pipe) for child, pipe in pipes]
        print(json.dumps(told), flush=True)


def _fork(arguments: list[str]) -> tuple[int, int]:
    """Run a program in a new process; returns its id, and the pipe that it writes to."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(writing)
        return child, reading
    os.close(reading)
    signal.alarm(_HANGS)  # one that hangs is killed too, and missed
    with os.fdopen(writing, "w") as pipe:
        json.dump(_carry_out(*arguments), pipe)
    os._exit(0)


def _carry_out(program: str, folder: str, store: str, *doom: str) -> dict[str, Any]:
    from doomed.fuse import Fuse
    from doomed.programs import PROGRAMS

    fuse = Fuse(doom[0], int(doom[1])) if doom else Fuse()
    try:
        return asdict(PROGRAMS[program](Path(folder), store, fuse))
    except BaseException:
        return {"error": traceback.format_exc()}


def _told(child: int, pipe: int) -> dict[str, Any] | None:
    """What a process has said when it has ended; ``None`` if it was killed."""
    with os.fdopen(pipe) as said:
        text = said.read()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return None
    return json.loads(text) if text else {"error": f"a process ended with status {status} and said nothing"}


if __name__ == "__main__":
    _serve()
