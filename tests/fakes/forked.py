"""Programs in Python that begin at once: forked off a process that has imported PennyLane, and nothing of ours.

To import PennyLane takes seconds of computing, and tests start many programs. One that is forked is otherwise like one
that ``python -c`` runs: it has a session, streams, arguments, a folder and an environment of its own, its text is the
module ``__main__``, and it ends as Python does. What libraries read of the environment while they are imported was read
before. Strings have other hashes there than where the tests run.
"""

from __future__ import annotations

import array
import atexit
import functools
import gc
import importlib
import json
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import warnings
from contextlib import suppress
from typing import IO, Any

_SERVER = """
from fakes import forked
program = forked.serve()
del forked
exec(program, globals())
"""
_SEED = "123"
_STREAMS = 4  # standard input, output and errors of a program, and what tells its number and how it ended
_LENGTH, _NUMBER = struct.Struct("!I"), struct.Struct("!i")


class Forked:
    """A program that runs, in the manner of :class:`subprocess.Popen` for text.

    Args:
        script: its text.
        arguments: its ``sys.argv``: ``-c`` or the file that it is from, and what it is given.
        environment: the one that it has; that of this process otherwise.
        folder: where it runs; where this process does otherwise.
    """

    stdin: IO[str]
    stdout: IO[str]
    stderr: IO[str]
    pid: int
    returncode: int | None = None

    def __init__(
        self, script: str, arguments: list[str], environment: dict[str, str] | None = None, folder: str | None = None
    ) -> None:
        pipes = [os.pipe() for _ in range(_STREAMS)]
        theirs = [pipes[0][0], *(writing for _, writing in pipes[1:])]
        ours = [pipes[0][1], *(reading for reading, _ in pipes[1:])]
        asked = [script, arguments, {**os.environ} if environment is None else environment, folder or os.getcwd()]
        _server().ask(json.dumps(asked).encode(), theirs)
        for descriptor in theirs:
            os.close(descriptor)
        self.stdin, self.stdout, self.stderr = os.fdopen(ours[0], "w"), os.fdopen(ours[1]), os.fdopen(ours[2])
        self._told = os.fdopen(ours[3], "rb")
        (self.pid,) = _NUMBER.unpack(self._told.read(_NUMBER.size))

    def wait(self) -> int:
        """Wait for its end; returns its exit code, or the number of the signal that ended it, below zero."""
        if self.returncode is None:
            (self.returncode,) = _NUMBER.unpack(self._told.read(_NUMBER.size))
        return self.returncode

    def communicate(self) -> tuple[str, str]:
        """Wait for its end; returns what it told until then, and its errors."""
        self.stdin.close()
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.append(self.stderr.read()))
        reader.start()
        told = self.stdout.read()
        reader.join()
        self.wait()
        return told, errors[0]

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def close(self) -> None:
        """Close the streams."""
        for stream in (self.stdin, self.stdout, self.stderr, self._told):
            stream.close()


class _Server:
    """The process that forks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONHASHSEED": _SEED}
        command = [sys.executable, "-c", _SERVER, str(theirs.fileno())]
        pipe = subprocess.PIPE  # so that Python buffers as it does in programs whose output is read
        self._process = subprocess.Popen(
            command, env=environment, pass_fds=[theirs.fileno()], stdin=pipe, stdout=pipe, start_new_session=True
        )
        theirs.close()
        atexit.register(self._close)

    def ask(self, asked: bytes, streams: list[int]) -> None:
        with self._lock:
            socket.send_fds(self._socket, [_LENGTH.pack(len(asked))], streams)
            self._socket.sendall(asked)

    def _close(self) -> None:
        self._socket.close()
        self._process.communicate()


_server = functools.cache(_Server)


def serve() -> Any:
    """Fork for each program that is asked for, until nobody is there to ask.

    Returns:
        The program, in the process that is to run it.
    """
    importlib.import_module("pennylane")
    gc.freeze()  # programs need not look at what they never change, nor copy it
    asking = socket.socket(fileno=int(sys.argv[1]))
    while True:
        length, streams = _received(asking)
        _let_go()
        if not length:
            os._exit(0)
        asked = json.loads(asking.recv(*_LENGTH.unpack(length), socket.MSG_WAITALL))
        if not _fork():
            asking.close()
            return _begin(streams, *asked)
        for stream in streams:
            os.close(stream)


def _received(asking: socket.socket) -> tuple[bytes, list[int]]:
    room = socket.CMSG_SPACE(_STREAMS * array.array("i").itemsize)
    data, ancillary, _, _ = asking.recvmsg(_LENGTH.size, room)
    streams = array.array("i")
    for _, _, sent in ancillary:
        streams.frombytes(sent)
    return data, list(streams)


def _let_go() -> None:
    """Forget the processes that have waited for programs to their ends."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def _begin(streams: list[int], script: str, arguments: list[str], environment: dict[str, str], folder: str) -> Any:
    """Fork once more, wait in the one process for the other, and prepare that one for its program."""
    *standard, told = streams
    program = _fork()
    if program:
        for stream in standard:
            os.close(stream)
        os.write(told, _NUMBER.pack(program))
        _, status = os.waitpid(program, 0)
        os.write(told, _NUMBER.pack(os.waitstatus_to_exitcode(status)))
        os._exit(0)
    os.setsid()
    os.close(told)
    for number, stream in enumerate(standard):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv[:] = arguments
    if arguments[0] != "-c":
        sys.modules["__main__"].__file__ = arguments[0]
        sys.path.insert(0, os.path.dirname(arguments[0]))
    random.seed()
    sys.modules["numpy"].random.seed()
    return compile(script, arguments[0], "exec")


def _fork() -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX warns of forks, which do no harm as long as nothing was computed
        return os.fork()
