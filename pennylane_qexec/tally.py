"""Counting circuits for which nobody waits in ``execute``."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

import pennylane as qml
from pennylane.devices import Device, ExecutionConfig
from pennylane.devices.modifiers import simulator_tracking
from pennylane.tape import QuantumScript

from pennylane_qexec.job import Outcome, Result


@simulator_tracking
class Tally(Device):
    """Counts the circuits of one call when all have run, as PennyLane counts those that somebody waits for.

    Args:
        tracker: where to count.
        method: the method of devices that runs them.
        circuits: the circuits.
        futures: their futures.
    """

    def __init__(
        self,
        tracker: qml.Tracker,
        method: str,
        circuits: Sequence[QuantumScript],
        futures: Sequence[Future[Outcome]],
    ) -> None:
        super().__init__()
        self.tracker = tracker
        self._method = method
        self._circuits = circuits
        self._futures = futures
        self._left = len(futures)
        for future in futures:
            future.add_done_callback(self._note)

    def _note(self, future: Future[Outcome]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._left -= 1
            if not self._left:
                getattr(self, self._method)(self._circuits, None)

    def execute(self, circuits: Any, execution_config: ExecutionConfig | None = None) -> Any:
        return self._results()

    def execute_and_compute_derivatives(self, circuits: Any, execution_config: ExecutionConfig | None = None) -> Any:
        return tuple(zip(*self._results(), strict=True))

    def _results(self) -> list[Result]:
        return [future.result().result for future in self._futures]
