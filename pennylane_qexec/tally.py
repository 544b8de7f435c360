"""What ``qml.Tracker`` is told: what PennyLane's simulators tell it, counted as budgets and histories count."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import TypeVar

import pennylane as qml
from pennylane.devices import Device
from pennylane.devices.modifiers import simulator_tracking
from pennylane.devices.qubit.sampling import get_num_shots_and_executions
from pennylane.tape import QuantumScript

from pennylane_qexec.job import Outcome, Result, used_by

D = TypeVar("D", bound=type[Device])


def counts_itself(kind: D) -> D:
    """Have a class of devices tracked as PennyLane's simulators are, but for ``execute``, which calls :func:`track`."""
    execute = kind.execute
    simulator_tracking(kind)
    kind.execute = execute
    return kind


def track(
    tracker: qml.Tracker,
    circuits: Sequence[QuantumScript],
    results: Sequence[Result],
    outcomes: Sequence[Sequence[Outcome]],
) -> None:
    """Count circuits that have run, all in one call of a device.

    Circuits with shots count as what the backends have run for them, in all bases and attempts. Circuits without count
    as PennyLane counts them: by the bases in which a QPU would measure them.

    Args:
        tracker: where to count.
        circuits: the circuits.
        results: of each circuit.
        outcomes: of each circuit, those of the jobs that were run for it.
    """
    tracker.update(batches=1)
    tracker.record()
    for circuit, result, of_it in zip(circuits, results, outcomes, strict=True):
        usage = used_by(of_it)
        with_shots = {"shots": usage.shots} if circuit.shots else {}
        tracker.update(
            simulations=1,
            executions=usage.circuits if circuit.shots else get_num_shots_and_executions(circuit)[0],
            results=result,
            **with_shots,
            resources=circuit.specs["resources"],
            errors=circuit.specs["errors"],
        )
        tracker.record()


def _track_with_derivatives(tracker: qml.Tracker, circuits: Sequence[QuantumScript]) -> None:
    for circuit in circuits:
        tracker.update(resources=circuit.specs["resources"], errors=circuit.specs["errors"])
    tracker.update(execute_and_derivative_batches=1, executions=len(circuits), derivatives=len(circuits))
    tracker.record()


class Tally:
    """Counts the circuits of one call when all have run, as those that somebody waits for are counted.

    Args:
        tracker: where to count.
        method: the method of devices that runs them: ``"execute"`` or ``"execute_and_compute_derivatives"``.
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
        self._tracker = tracker
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
                self._count()

    def _count(self) -> None:
        if self._method != "execute":
            _track_with_derivatives(self._tracker, self._circuits)
            return
        outcomes = [future.result() for future in self._futures]
        results = [outcome.result for outcome in outcomes]
        track(self._tracker, self._circuits, results, [[outcome] for outcome in outcomes])
