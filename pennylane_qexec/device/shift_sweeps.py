"""Derivatives by parameter shifts, computed by the device: all shifted circuits of a call are rows of sweeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from operator import is_not
from typing import Any

import numpy as np
from pennylane.devices import ExecutionConfig
from pennylane.math import Interface
from pennylane.measurements import ExpectationMP, ProbabilityMP, VarianceMP
from pennylane.operation import CV
from pennylane.ops import Conditional, Identity, LinearCombination, MidMeasure, PauliMeasure, SProd, Sum
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.fingerprint import is_foreign
from pennylane_qexec.circuits.structure import NotExpandedError, is_broadcasted, rows_of
from pennylane_qexec.cluster.derivatives import BY_SHIFTS
from pennylane_qexec.cluster.planning import CallPlanner, run_together
from pennylane_qexec.cluster.sweeps import jobs_of
from pennylane_qexec.concurrency.differentiation import (
    are_recorded,
    is_recorded,
)
from pennylane_qexec.device.gradients import checked_shifts
from pennylane_qexec.device.shift_rules import ShiftRule, ShiftRules
from pennylane_qexec.device.shifts import with_gates
from pennylane_qexec.device.tracking import track_sweeps
from pennylane_qexec.job import Job, Postprocessing, Result, Sweep

_IS_RECIPE = partial(is_not, None)
_MEASURED = (ExpectationMP, ProbabilityMP, VarianceMP)
_SUMS = (LinearCombination, SProd, Sum)
_OUTCOMES = (MidMeasure, PauliMeasure, Conditional)
_INTERFACES = (Interface.AUTOGRAD, Interface.JAX, Interface.JAX_JIT, Interface.TORCH)


NOBODY = "nobody differentiates"


def why_not_shifted(config: ExecutionConfig, circuit: QuantumScript) -> str:
    """Why circuits like this one are not differentiated by sweeps, but by PennyLane; empty if they are.

    Only those are whose numbers an interface records: then a derivative is going to be asked for, and value and
    derivative run together, unless PennyLane's ``grad_on_execution`` says no. Autograd puts numbers into boxes while it
    differentiates, JAX traces them; PyTorch records whatever is computed of tensors that require gradients, but for
    where it is told not to, as by ``torch.no_grad()``.

    Args:
        config: the configuration of the call, which nobody has settled yet.
        circuit: a circuit of the call.
    """
    if config.gradient_method not in ("best", BY_SHIFTS):
        return "another method was asked for"
    if not are_recorded(circuit):
        return NOBODY
    if config.derivative_order != 1:
        return "max_diff is not 1"
    if config.use_device_jacobian_product or config.interface not in _INTERFACES:
        return "vector-Jacobian products of devices, or another interface, were asked for"
    for one in circuit.measurements:
        if not isinstance(one, _MEASURED) or one.mv is not None:
            return f"{one} is not measured by sweeps"
        if one.obs is not None and any(map(is_recorded, one.obs.data)) and not _is_split(one):
            return f"numbers of {one} are differentiated"
    for kind in dict.fromkeys(map(type, circuit.operations)):
        if issubclass(kind, _OUTCOMES) or (issubclass(kind, CV) and kind is not Identity):
            return f"{kind.__name__} is no gate of a sweep"
    for operation in circuit.operations:
        if any(map(_IS_RECIPE, vars(operation).get("grad_recipe") or ())) and not is_foreign(type(operation)):
            return f"{operation.name} was given a recipe"
    return ""


def _is_split(measurement: Any) -> bool:
    """Whether PennyLane makes a circuit of each term of an observable, and multiplies results with coefficients."""
    if not isinstance(measurement, ExpectationMP) or not isinstance(measurement.obs, _SUMS):
        return False
    return not any(is_recorded(number) for term in measurement.obs.terms()[1] for number in term.data)


Finish = Callable[[Sequence[Result]], list[Any]]
"""Makes what is wanted of some circuits of the results of their jobs."""


class ShiftedCall:
    """Derivatives of the circuits of one call.

    Args:
        rules: what is known of structures.
        planner: prepares circuits for executors.
        circuits: the circuits, of gates that have shifts, with NumPy's numbers.
        values: whether the results of the circuits are wanted too.

    Attributes:
        jobs: what is to be run. Circuits of one structure share a sweep.
    """

    def __init__(
        self, rules: ShiftRules, planner: CallPlanner, circuits: Sequence[QuantumScript], values: bool
    ) -> None:
        self._planner = planner
        self._values = values
        self.jobs: list[Job] = []
        self._parts: list[tuple[Sequence[int], int, Finish]] = []
        self._batches = [_rows(circuit, planner.settings.shift_options) for circuit in circuits]
        sharing: dict[int, tuple[ShiftRule, list[int], list[Sweep]]] = {}
        for place, circuit in enumerate([row for rows, _ in self._batches for row in rows]):
            rule, sweep = rules.of(circuit, planner.settings.shift_options)
            if isinstance(rule, ShiftRule) and sweep is not None:
                _, places, sweeps = sharing.setdefault(id(rule), (rule, [], []))
                places.append(place)
                sweeps.append(sweep)
            else:
                self._add([place], *self._by_pennylane(circuit))
        for rule, places, sweeps in sharing.values():
            numbers = np.concatenate([sweep.parameters for sweep in sweeps])
            self._add(places, *self._by_rule(rule, replace(sweeps[0], parameters=numbers)))

    def run(self, device: Any) -> list[Any]:
        """Run the jobs on a device's cluster, and wait; returns what :meth:`results` does."""
        outcomes = device.cluster.run(self.jobs)
        if device.tracker.active:
            track_sweeps(device.tracker, self.jobs, outcomes)
        return self.results([outcome.result for outcome in outcomes])

    def results(self, results: Sequence[Result]) -> list[Any]:
        """For each circuit its derivative; in a pair with its result, if that is wanted.

        Args:
            results: those of the jobs.
        """
        remaining = iter(results)
        found: dict[int, Any] = {}
        for places, jobs, finish in self._parts:
            found.update(zip(places, finish([next(remaining) for _ in range(jobs)]), strict=True))
        each = iter([found[place] for place in range(len(found))])
        return [self._joined([next(each) for _ in rows], join) for rows, join in self._batches]

    def _joined(self, rows: list[Any], join: Postprocessing | None) -> Any:
        """What is wanted of a circuit, of what came for the rows of its batch."""
        if join is None:
            return rows[0]
        if not self._values:
            return _stacked(rows)
        return join([value for value, _ in rows]), _stacked([jacobian for _, jacobian in rows])

    def _add(self, places: Sequence[int], jobs: list[Job], finish: Finish) -> None:
        self.jobs += jobs
        self._parts.append((places, len(jobs), finish))

    def _by_rule(self, rule: ShiftRule, sweep: Sweep) -> tuple[list[Job], Finish]:
        """What is run for circuits of one structure, which are a sweep of their own, and what makes pairs of that."""
        rows = rule.rows if self._values else rule.shifted()
        planned = [jobs_of(one.sweep(sweep), self._planner) for one in rows]
        number = 1 + max([place for one in rule.rows for place in one.places])

        def finish(results: Sequence[Result]) -> list[Any]:
            remaining = iter(results)
            found: list[list[Any]] = [[None] * number for _ in range(len(sweep))]
            for one, (jobs, postprocess) in zip(rows, planned, strict=True):
                of_rows = iter(postprocess([next(remaining) for _ in jobs]))
                for of_circuit in found:
                    for place in one.places:
                        of_circuit[place] = next(of_rows)
            if self._values:
                return [(of_circuit[0], rule.jacobian(of_circuit[1:])) for of_circuit in found]
            return [rule.jacobian(of_circuit[1:]) for of_circuit in found]

        return [job for jobs, _ in planned for job in jobs], finish

    def _by_pennylane(self, circuit: QuantumScript) -> tuple[list[Job], Finish]:
        with QueuingManager.stop_recording():
            tapes, differentiate = checked_shifts(circuit, **self._planner.settings.shift_options)
        given = [circuit, *tapes] if self._values else tapes
        circuits, each = run_together(list(map(self._planner, given)))

        def finish(results: Sequence[Result]) -> list[Any]:
            done = tuple(each(results))
            return [(done[0], differentiate(done[1:]))] if self._values else [differentiate(done)]

        return self._planner.jobs(circuits), finish


def _rows(circuit: QuantumScript, options: Any) -> tuple[Sequence[QuantumScript], Postprocessing | None]:
    """The circuits of a batch over what is not differentiated, and what joins their results; else just the circuit."""
    circuit = with_gates(circuit)
    if not is_broadcasted(circuit) or circuit.shots.has_partitioned_shots or options:
        return (circuit,), None
    try:
        rows, join = rows_of(circuit)
    except NotExpandedError:
        return (circuit,), None
    for row in rows:
        row.trainable_params = circuit.trainable_params
    return rows, join


def _stacked(jacobians: Sequence[Any]) -> Any:
    """The derivative of a batch, of those of its rows."""
    if isinstance(jacobians[0], tuple):
        return tuple(map(_stacked, zip(*jacobians, strict=True)))
    return np.stack(jacobians)
