"""A server of ours in a process of its own, which real clients talk to over HTTP."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qiskit import QuantumCircuit

_PROGRAM = """
import json
import socket
import sys

import uvicorn

from pennylane_qexec.server.app import create_app
from pennylane_qexec.server.settings import load_settings

given = json.loads(sys.argv[1])
app = create_app(given["executors"], tokens=given["tokens"], settings=load_settings(**given["settings"]))
server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
server.run(sockets=[socket.socket(fileno=given["socket"])])
"""

_PATIENCE = 60.0  # seconds that a server has to end; it has no effect on one that does


@dataclass
class ServerProcess:
    """A server that runs.

    Attributes:
        url: where it is.
        process: the process of its API, in a session of its own with all that it starts.
    """

    url: str
    process: subprocess.Popen[bytes]

    def stop(self) -> int:
        """Tell it to end, and wait; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_PATIENCE)

    def kill(self) -> None:
        """End it and all that it started, at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def server_process(
    folder: Path, executors: Any = None, tokens: Mapping[str, str] | None = None, **settings: Any
) -> Iterator[ServerProcess]:
    """A server, whose store is in a folder; it is ended with the context.

    Clients need not wait until it is ready: its socket is open already.
    """
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        settings = {"store": str(folder / "server.db"), "workers": 1, **settings}
        given = {"executors": executors, "tokens": tokens, "settings": settings, "socket": listening.fileno()}
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, json.dumps(given)],
            cwd=folder,
            pass_fds=[listening.fileno()],
            start_new_session=True,
        )
    server = ServerProcess(f"http://127.0.0.1:{port}", process)
    try:
        yield server
    finally:
        server.kill()


def long_circuit() -> QuantumCircuit:
    """One that Aer is busy with for minutes, and that is cancelled."""
    circuit = QuantumCircuit(24)
    for layer in range(200):
        for qubit in range(24):
            circuit.rx(0.1 + layer, qubit)
            circuit.cx(qubit, (qubit + 1 + layer % 23) % 24)
    circuit.measure_all()
    return circuit
