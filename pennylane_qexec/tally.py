"""Counting circuits that nobody waited for in ``execute``."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pennylane as qml
from pennylane.devices import Device, ExecutionConfig
from pennylane.devices.modifiers import simulator_tracking
from pennylane.tape import QuantumScript

from pennylane_qexec.job import Outcome


@simulator_tracking
class Tally(Device):
    """Counts a circuit that ran on its own, as PennyLane counts those that somebody waited for.

    Args:
        tracker: where to count.
        method: the method of devices that ran it.
    """

    def __init__(self, tracker: qml.Tracker, method: str) -> None:
        super().__init__()
        self.tracker = tracker
        self._method = method
        self._result: Any = None

    def note(self, circuit: QuantumScript, future: Future[Outcome]) -> None:
        """Count a circuit whose future is done, unless it failed."""
        if future.cancelled() or future.exception() is not None:
            return
        self._result = future.result().result
        getattr(self, self._method)((circuit,), None)

    def execute(self, circuits: Any, execution_config: ExecutionConfig | None = None) -> Any:
        return (self._result,)

    def execute_and_compute_derivatives(self, circuits: Any, execution_config: ExecutionConfig | None = None) -> Any:
        return (self._result,)
