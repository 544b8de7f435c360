"""Derivatives by parameter shifts, computed by the device: all shifted circuits of a call are rows of sweeps.

PennyLane would make a circuit for each shift, in every call. What it makes of the circuits of one structure differs in
nothing but numbers, and what it makes of their results is a matrix product. So it is asked once for each structure, and
what it answers is kept as numbers: by how much each row is shifted, and how much it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.devices import ExecutionConfig
from pennylane.math import Interface
from pennylane.measurements import ExpectationMP, ProbabilityMP
from pennylane.operation import CV
from pennylane.ops import Conditional, Identity, MidMeasure, PauliMeasure
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.parameters import with_values_of_now
from pennylane_qexec.circuits.structure import has_plain_gates
from pennylane_qexec.circuits.templates import fuse, sweep_of_circuit
from pennylane_qexec.cluster.derivatives import BY_SHIFTS, JAX, Limit
from pennylane_qexec.cluster.planning import CallPlanner
from pennylane_qexec.cluster.sweeps import jobs_of
from pennylane_qexec.concurrency.differentiation import are_recorded, check_complex, observables_are_recorded
from pennylane_qexec.concurrency.once import OnceCache
from pennylane_qexec.device.gradients import for_batches
from pennylane_qexec.device.shifts import by_shifts
from pennylane_qexec.device.tracking import track_sweeps, when_all_are_done
from pennylane_qexec.job import Job, Outcome, Postprocessing, Result, Sweep, bound_template, only

_LINEAR = (ExpectationMP, ProbabilityMP)
_OUTCOMES = (MidMeasure, PauliMeasure, Conditional)
_INTERFACES = (Interface.AUTOGRAD, Interface.JAX, Interface.JAX_JIT, Interface.TORCH)
_KEPT_RULES = 256
_TOLERANCE = 1e-9
_DIGITS = 12


def is_shifted_here(config: ExecutionConfig, circuit: QuantumScript | None) -> bool:
    """Whether circuits like this one are differentiated by sweeps; all others are left to PennyLane.

    Only those are whose numbers an interface records: then a derivative is going to be asked for, and value and
    derivative run together, unless PennyLane's ``grad_on_execution`` says no. Autograd puts numbers into boxes while it
    differentiates, JAX traces them; PyTorch records whatever is computed of tensors that require gradients, but for
    where it is told not to, as by ``torch.no_grad()``.

    Args:
        config: the configuration of the call, which nobody has settled yet.
        circuit: a circuit of the call; ``None`` if it is not known.
    """
    if circuit is None or config.gradient_method not in ("best", BY_SHIFTS) or config.derivative_order != 1:
        return False
    if not are_recorded(circuit) or observables_are_recorded(circuit):
        return False
    if config.use_device_jacobian_product or config.gradient_keyword_arguments or config.interface not in _INTERFACES:
        return False
    if circuit.shots.has_partitioned_shots or not all(map(_is_linear, circuit.measurements)):
        return False
    return not any(isinstance(one, _OUTCOMES) or (isinstance(one, CV) and type(one) is not Identity) for one in circuit)


def _is_linear(measurement: Any) -> bool:
    return isinstance(measurement, _LINEAR) and measurement.mv is None


def with_shifts(tape: QuantumScript, limit: Limit, wires: Any) -> tuple[Sequence[QuantumScript], Postprocessing]:
    """The circuits in place of one that is going to be differentiated: of gates that have shifts, row by row.

    Args:
        tape: the circuit, whose numbers an interface records.
        limit: how often that is allowed.
        wires: of the device.
    """
    limit.check(tape)
    if has_plain_gates(tape) and all(one.wires for one in tape.measurements):
        if limit.interface not in JAX:
            check_complex(tape)
        return (tape,), limit.guarded(only, tape)
    expand: Any = for_batches(qml.gradients.param_shift, limit.interface, 1, wires).expand_transform
    circuits, postprocess = expand(tape)
    return circuits, limit.guarded(postprocess, tape)


@dataclass(frozen=True, eq=False)
class ShiftRule:
    """The derivative of circuits of one structure by their trainable parameters.

    Attributes:
        template: a circuit of the structure.
        factors: an array ``(R, P)``, by which the numbers of a circuit are multiplied for each shifted one.
        shifts: an array ``(R, P)`` of what is added to them then.
        coefficients: an array ``(T, R)``: how much the result of each counts in the derivative by each of ``T``
            trainable parameters.
    """

    template: Sweep
    factors: np.ndarray
    shifts: np.ndarray
    coefficients: np.ndarray

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """The numbers of the shifted circuits, ``(R, P)``, of those of a circuit, ``(P,)``."""
        moved: np.ndarray = numbers * self.factors + self.shifts
        return moved

    def jacobian(self, results: Sequence[Result]) -> Any:
        """The derivative as PennyLane's ``param_shift`` returns it, of the results of the shifted circuits."""
        if len(self.template.template.measurements) == 1:
            return self._of_measurement(results)
        return tuple(map(self._of_measurement, zip(*results, strict=True)))

    def _of_measurement(self, results: Sequence[Any]) -> Any:
        values = np.array(results)
        derivative = np.tensordot(self.coefficients, values, 1)
        if len(derivative) == 1:
            return derivative[0]
        return tuple(derivative)


class UnknownRule:
    """A structure whose shifted circuits are not of one structure, or whose derivative is no sum of their results."""


def rule_of(circuit: QuantumScript, template: Sweep) -> ShiftRule | UnknownRule:
    """Ask PennyLane how circuits of a structure are differentiated.

    Args:
        circuit: a circuit of the structure, with its trainable parameters.
        template: the circuit as a sweep.
    """
    columns = template.parameters.shape[1]
    # An array that a user writes to later would be another structure's.
    template = replace(template, template=with_values_of_now(circuit))
    shifts = _shifted(circuit, template, np.zeros(columns))
    moved = _shifted(circuit, template, np.full(columns, 0.5))
    if shifts is None or moved is None or shifts[0].shape != moved[0].shape:
        return UnknownRule()
    (offsets, _), (ends, postprocess) = shifts, moved
    factors = np.round((ends - offsets) / 0.5, _DIGITS)
    numbers = np.array([0.3 + 0.1 * np.sin(column) for column in range(columns)])
    check = _shifted(circuit, template, numbers)
    if check is None or not np.allclose(check[0], numbers * factors + offsets, rtol=0, atol=_TOLERANCE):
        return UnknownRule()
    coefficients = _coefficients(circuit, postprocess, len(offsets))
    if coefficients is None:
        return UnknownRule()
    return ShiftRule(template, factors, offsets, coefficients)


def _shifted(
    circuit: QuantumScript, template: Sweep, numbers: np.ndarray
) -> tuple[np.ndarray, Callable[[Any], Any]] | None:
    """The numbers of the circuits that PennyLane makes of one with other numbers, and what it makes of their results.

    It is ``None`` if they are not all of the structure of that one, or there are none.
    """
    bound = bound_template(circuit, template.slots, numbers.tolist())
    bound.trainable_params = circuit.trainable_params
    with QueuingManager.stop_recording():
        tapes, postprocess = by_shifts(bound)
        groups = fuse([bound, *tapes])
    if len(groups) != 1 or not tapes or groups[0].template.key is None:
        return None
    return groups[0].parameters[1:], postprocess


def _coefficients(circuit: QuantumScript, postprocess: Callable[[Any], Any], rows: int) -> np.ndarray | None:
    """How much the result of each row counts, ``(T, R)``; ``None`` if they are not added up."""
    measurements = len(circuit.measurements)

    def derived(results: np.ndarray) -> np.ndarray | None:
        given = [row if measurements == 1 else (row,) * measurements for row in results]
        answer = postprocess(given)
        found = []
        for one in answer if measurements > 1 else (answer,):
            parts = one if isinstance(one, tuple | list) else (one,)
            found.append(np.array([np.broadcast_to(part, results.shape[1:]) for part in parts]))
        same = all(np.array_equal(found[0], other) for other in found)
        return found[0] if same and len(found[0]) == len(circuit.trainable_params) else None

    coefficients = derived(np.eye(rows))
    probe = np.random.default_rng(0).uniform(-1, 1, (rows, 2))
    told = derived(probe)
    if coefficients is None or told is None or not np.allclose(coefficients @ probe, told, rtol=0, atol=_TOLERANCE):
        return None
    return coefficients


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
        sharing: dict[int, tuple[ShiftRule, list[int], list[np.ndarray]]] = {}
        for place, circuit in enumerate(circuits):
            rule, numbers = rules.of(circuit)
            if isinstance(rule, ShiftRule) and numbers is not None:
                _, places, rows = sharing.setdefault(id(rule), (rule, [], []))
                places.append(place)
                rows += [numbers[None], rule.rows(numbers)] if values else [rule.rows(numbers)]
            else:
                self._add([place], *self._by_pennylane(circuit))
        for rule, places, rows in sharing.values():
            self._add(places, *self._by_rule(rule, np.concatenate(rows)))

    def run(self, device: Any) -> list[Any]:
        """Run the jobs on a device's cluster, and wait; returns what :meth:`results` does."""
        outcomes = device.cluster.run(self.jobs)
        if device.tracker.active:
            track_sweeps(device.tracker, self.jobs, outcomes)
        return self.results([outcome.result for outcome in outcomes])

    def submit(self, device: Any, asked: Callable[[], bool] | None = None) -> Sequence[Future[Outcome]]:
        """Start the jobs on a device's cluster, and return at once.

        Args:
            device: the device.
            asked: says whether somebody waits for the results.
        """
        futures: Sequence[Future[Outcome]] = device.cluster.submit(self.jobs, asked)
        if device.tracker.active:
            when_all_are_done(futures, partial(track_sweeps, device.tracker, self.jobs))
        return futures

    def results(self, results: Sequence[Result]) -> list[Any]:
        """For each circuit its derivative; in a pair with its result, if that is wanted.

        Args:
            results: those of the jobs.
        """
        remaining = iter(results)
        found: dict[int, Any] = {}
        for places, jobs, finish in self._parts:
            found.update(zip(places, finish([next(remaining) for _ in range(jobs)]), strict=True))
        return [found[place] for place in range(len(found))]

    def _add(self, places: Sequence[int], jobs: list[Job], finish: Finish) -> None:
        self.jobs += jobs
        self._parts.append((places, len(jobs), finish))

    def _by_rule(self, rule: ShiftRule, rows: np.ndarray) -> tuple[list[Job], Finish]:
        jobs, postprocess = jobs_of(replace(rule.template, parameters=rows), self._planner)
        first = int(self._values)
        each = len(rule.shifts) + first

        def finish(results: Sequence[Result]) -> list[Any]:
            of_rows = postprocess(results)
            parts = [of_rows[start : start + each] for start in range(0, len(of_rows), each)]
            jacobians = [rule.jacobian(part[first:]) for part in parts]
            return [(part[0], one) for part, one in zip(parts, jacobians, strict=True)] if first else jacobians

        return jobs, finish

    def _by_pennylane(self, circuit: QuantumScript) -> tuple[list[Job], Finish]:
        with QueuingManager.stop_recording():
            tapes, differentiate = by_shifts(circuit)
        expanded = list(map(self._planner, [circuit, *tapes] if self._values else tapes))
        jobs = self._planner.jobs([one for batch, _ in expanded for one in batch])

        def finish(results: Sequence[Result]) -> list[Any]:
            remaining = iter(results)
            done = [postprocess([next(remaining) for _ in batch]) for batch, postprocess in expanded]
            if self._values:
                return [(done[0], differentiate(tuple(done[1:])))]
            return [differentiate(tuple(done))]

        return jobs, finish


class ShiftRules:
    """What is known of how circuits are differentiated, by structure."""

    def __init__(self) -> None:
        self._rules: OnceCache[ShiftRule | UnknownRule] = OnceCache(_KEPT_RULES)

    def of(self, circuit: QuantumScript) -> tuple[ShiftRule | UnknownRule, np.ndarray | None]:
        """The rule for a circuit, and its numbers."""
        sweep = sweep_of_circuit(circuit)
        if sweep is None or not circuit.trainable_params:
            return UnknownRule(), None
        key = (sweep.key, tuple(circuit.trainable_params))
        rule = self._rules.get(key, lambda: rule_of(circuit, sweep))
        return rule, sweep.parameters[0]
