"""Programs of a server that do what the payloads of jobs say."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pennylane_qexec.errors import JobCancelledError
from pennylane_qexec.server.programs import Answer, Task


@dataclass
class FakePrograms:
    """Programs whose jobs say in JSON what they do.

    The keys of a payload: ``file``, to which the job appends a line when it begins, the ids of the task; ``fifo``,
    which it opens, and so waits until somebody else does; ``kill``, how many attempts end by its killing the process;
    ``bytes``, that it asks for; ``fail``, with a reason; ``raise``; ``holds``, if it waits until it is cancelled;
    ``say``, its result.
    """

    events: dict[str, threading.Event] = field(default_factory=dict, repr=False)

    def __reduce__(self) -> Any:
        return FakePrograms, ()

    def warm_up(self) -> None:
        print("what programs print is not taken for an answer", flush=True)

    def run(self, task: Task) -> list[Answer]:
        payloads = [json.loads(payload) for payload in task.payloads]
        for payload in payloads:
            self._do(task, payload)
        return [self._answer(payload) for payload in payloads]

    def cancel(self, job: str) -> None:
        self.events.setdefault(job, threading.Event()).set()

    def _do(self, task: Task, payload: Mapping[str, Any]) -> None:
        if "file" in payload:
            with Path(payload["file"]).open("a") as lines:
                lines.write(",".join(task.ids) + "\n")
        if "fifo" in payload:
            with Path(payload["fifo"]).open("rb") as fifo:
                fifo.read()
        if "kill" in payload and len(Path(payload["file"]).read_text().splitlines()) <= payload["kill"]:
            os.kill(os.getpid(), signal.SIGKILL)
        if "bytes" in payload:
            bytearray(payload["bytes"])
        if "raise" in payload:
            raise ValueError("token=secret in a message of ours")
        if "exit" in payload:
            sys.exit(3)
        if "holds" in payload:
            assert self.events.setdefault(task.ids[0], threading.Event()).wait(60)
            Path(payload["holds"]).write_text("was cancelled")
            raise JobCancelledError("it was cancelled")

    def _answer(self, payload: Mapping[str, Any]) -> Answer:
        if "fail" in payload:
            return Answer(None, payload["fail"], 1517, 0.5)
        return Answer(payload.get("say", "done") * payload.get("times", 1), seconds=0.5)


def fake_programs(catalogue: Any, sources: Any, limits: Any) -> FakePrograms:
    """What a scheduler is given in place of a server's programs."""
    return FakePrograms()
