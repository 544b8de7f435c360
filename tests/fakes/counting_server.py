"""A program: a server in a process of its own, over a simulator that notes what it computes and may stand still.

Its arguments are a folder, the URL or path of the store, its port, and the number of worker processes. In the folder,
``computed`` gets a line for each job, with its shots. If there is a ``gate``, a named pipe, all jobs but the first
:data:`BEFORE` wait there until somebody opens it to write.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

BEFORE = 18


class Counting:
    """An object as Qiskit Runtime Server's executors are."""

    name = "counting"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def execute_sampler(self, pubs: list[Any], options: dict[str, Any], backend_name: str) -> Any:
        import numpy as np
        from qiskit.primitives import BitArray, DataBin, PrimitiveResult, SamplerPubResult

        ((_, _, shots),) = pubs
        line = f"{shots}\n".encode()
        with open(self.folder / "computed", "ab", buffering=0) as computed:
            computed.write(line)
            number = computed.tell() // len(line)  # of the line, whoever else writes
        if number > BEFORE:
            with suppress(FileNotFoundError):
                (self.folder / "gate").read_bytes()
        bits = BitArray(np.zeros((shots, 1), np.uint8), 1)
        return PrimitiveResult([SamplerPubResult(DataBin(c=bits))])

    def execute_estimator(self, pubs: list[Any], options: dict[str, Any], backend_name: str) -> Any:
        raise NotImplementedError


def main(folder: str, store: str, port: str, workers: str) -> None:
    from pennylane_qexec.server.app import create_app, run
    from pennylane_qexec.server.settings import load_settings

    settings = load_settings(store=store, port=int(port), workers=int(workers), grace=60.0)
    run(create_app(Counting(Path(folder)), settings=settings), settings)


if __name__ == "__main__":
    main(*sys.argv[1:])
