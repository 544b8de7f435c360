"""Programs that tests start. They are ended when the test is over, with every process that they started themselves."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from fakes.forked import Forked

PATIENCE = 300.0
"""Seconds after which a program that hangs is killed, so that its test fails. It has no effect on those that do not."""


class Program:
    """A program that runs, line by line of what it tells.

    Args:
        process: the first process of a session of its own.
    """

    def __init__(self, process: Forked) -> None:
        self._process = process

    def line(self) -> str:
        """The next line that it prints."""
        return self._process.stdout.readline().removesuffix("\n")

    def wait_for(self, line: str) -> None:
        """Wait until it prints a line."""
        assert self._process.stdout.readline() == line + "\n"

    def wait_for_error(self, part: str) -> None:
        """Wait until it writes a line with this to standard error."""
        assert part in self._process.stderr.readline()

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def end(self) -> tuple[list[str], list[str]]:
        """Wait for its end; returns the lines that it told until then, and those of the errors."""
        told, errors = self._process.communicate()
        return told.splitlines(), errors.splitlines()

    def kill_alone(self) -> None:
        """End it, and not what it started."""
        self._process.send_signal(signal.SIGKILL)

    def kill(self) -> None:
        """End it, and what it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    @property
    def code(self) -> int | None:
        """How it ended: the number that it returned, or that of the signal that ended it, below zero."""
        return self._process.returncode


@contextmanager
def running(
    script: str, *arguments: str, name: str = "-c", environment: dict[str, str] | None = None, folder: str | None = None
) -> Iterator[Program]:
    """A program in Python, killed at the end if it has not ended, and when it seems to hang.

    Args:
        script: its text.
        arguments: what it finds in ``sys.argv``.
        name: what it finds there first: the file that it is from, if it is from one.
        environment: the one that it has; that of this process otherwise.
        folder: where it runs; where this process does otherwise.
    """
    process = Forked(script, [name, *arguments], environment, folder)
    program = Program(process)
    watch = threading.Timer(PATIENCE, program.kill)
    watch.start()
    try:
        yield program
    finally:
        watch.cancel()
        program.kill()
        process.wait()
        process.close()


def run(script: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run a program in Python to its end; see :func:`running`."""
    with running(script, *arguments, **options) as program:
        told, errors = program._process.communicate()
    return subprocess.CompletedProcess(script, program.code or 0, told, errors)
