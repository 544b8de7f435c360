"""What ``qml.Tracker`` is told of the circuits that a device runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import wraps
from typing import Any, TypeVar

import pennylane as qml
from pennylane.devices import ExecutionConfig
from pennylane.devices.modifiers import simulator_tracking
from pennylane.devices.qubit.sampling import get_num_shots_and_executions
from pennylane.tape import QuantumScript

from pennylane_qexec.job import Job, Outcome, Result, used_by

D = TypeVar("D", bound=type[Any])


def counts_itself(unless: Callable[[ExecutionConfig | None], bool]) -> Callable[[D], D]:
    """Have a class of devices tracked as PennyLane's simulators are, but for ``execute``, which calls :func:`track`.

    Args:
        unless: for which configurations methods that compute derivatives count by themselves too.
    """

    def decorated(kind: D) -> D:
        own = {name: getattr(kind, name) for name in ("execute", *_OF_DERIVATIVES)}
        simulator_tracking(kind)
        kind.execute = own["execute"]
        for name in _OF_DERIVATIVES:
            setattr(kind, name, _counted_unless(unless, own[name], getattr(kind, name)))
        return kind

    return decorated


_OF_DERIVATIVES = ("compute_derivatives", "execute_and_compute_derivatives")


def _counted_unless(
    unless: Callable[[ExecutionConfig | None], bool], method: Callable[..., Any], counted: Callable[..., Any]
) -> Callable[..., Any]:
    @wraps(method)
    def chosen(device: Any, circuits: Any, execution_config: ExecutionConfig | None = None) -> Any:
        return (method if unless(execution_config) else counted)(device, circuits, execution_config)

    return chosen


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


def track_sweeps(tracker: qml.Tracker, jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
    """Count circuits that have run as rows of sweeps, all in one call of a device, as :func:`track` counts others.

    Args:
        tracker: where to count.
        jobs: the sweeps, and circuits by themselves.
        outcomes: of each.
    """
    tracker.update(batches=1)
    tracker.record()
    for job, outcome in zip(jobs, outcomes, strict=True):
        specs = job.circuit.specs
        runs = outcome.circuits // job.rows if job.shots else get_num_shots_and_executions(job.circuit)[0]
        with_shots = {"shots": outcome.shots // job.rows} if job.shots else {}
        for result in outcome.result if job.sweep is not None else [outcome.result]:
            tracker.update(
                simulations=1,
                executions=runs,
                results=result,
                **with_shots,
                resources=specs["resources"],
                errors=specs["errors"],
            )
            tracker.record()


def _track_with_derivatives(tracker: qml.Tracker, circuits: Sequence[QuantumScript]) -> None:
    for circuit in circuits:
        tracker.update(resources=circuit.specs["resources"], errors=circuit.specs["errors"])
    tracker.update(execute_and_derivative_batches=1, executions=len(circuits), derivatives=len(circuits))
    tracker.record()


def track_method(
    tracker: qml.Tracker, method: str, circuits: Sequence[QuantumScript], outcomes: Sequence[Outcome]
) -> None:
    """Count the circuits of one call that runs later, as those that somebody waits for are counted.

    Args:
        tracker: where to count.
        method: the method of devices that ran them: ``"execute"`` or ``"execute_and_compute_derivatives"``.
        circuits: the circuits.
        outcomes: of each.
    """
    if method != "execute":
        _track_with_derivatives(tracker, circuits)
    else:
        track(tracker, circuits, [one.result for one in outcomes], [[one] for one in outcomes])


def when_all_are_done(futures: Sequence[Future[Outcome]], call: Callable[[Sequence[Outcome]], None]) -> None:
    """Call a function with the outcomes of jobs when all have run; if one fails, it is not called."""
    left = len(futures)

    def note(future: Future[Outcome]) -> None:
        nonlocal left
        if future.cancelled() or future.exception() is not None:
            return
        left -= 1
        if not left:
            call([future.result() for future in futures])

    for future in futures:
        future.add_done_callback(note)
