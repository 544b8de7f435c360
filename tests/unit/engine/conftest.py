"""What the engine's tests share: an executor that hangs."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence

import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.job import Result


class HangsOnce(qexec.Executor):
    """The first batch waits for an event; all later ones are done at once, with zeros."""

    def __init__(self) -> None:
        super().__init__("hangs-once")
        self.started = threading.Event()
        self.release = threading.Event()

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        if not self.started.is_set():
            self.started.set()
            self.release.wait()
        return [0.0] * len(circuits)


@pytest.fixture
def hanging() -> Iterator[HangsOnce]:
    """An executor whose first batch hangs until the test is over."""
    executor = HangsOnce()
    yield executor
    executor.release.set()
