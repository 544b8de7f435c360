"""How circuits are differentiated by parameter shifts, asked of PennyLane once for each structure.

PennyLane would make a circuit for each shift, in every call. What it makes of the circuits of one structure differs in
nothing but numbers, and what it makes of their results is the same function. So what it answers once is kept: what the
shifted circuits measure, by how much each is shifted, and the function, which is a matrix where results are added up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import repeat
from typing import Any

import numpy as np
from pennylane.measurements import MeasurementProcess
from pennylane.operation import Operator
from pennylane.ops.op_math import SymbolicOp
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.fingerprint import content, is_foreign
from pennylane_qexec.circuits.parameters import with_values_of_now
from pennylane_qexec.circuits.templates import Fused, fuse, outline_of, sweep_of_circuit
from pennylane_qexec.concurrency.once import OnceCache
from pennylane_qexec.device.gradients import checked_shifts
from pennylane_qexec.job import Result, Sweep, bound_template

logger = logging.getLogger("pennylane_qexec")

_KEPT_RULES = 256
_TOLERANCE = 1e-9
_DIGITS = 12


@dataclass(frozen=True, eq=False)
class Rows:
    """Those of the circuits of a derivative that measure the same.

    Attributes:
        key: that of their sweep, see :class:`Sweep`.
        measurements: what they measure; ``None`` if it is what the circuit measures that is differentiated.
        factors: an array ``(R, P)``, by which the numbers of a circuit are multiplied for each of them.
        shifts: an array ``(R, P)`` of what is added to them then.
        places: which of all circuits of the derivative they are.
    """

    key: Any
    measurements: list[MeasurementProcess] | None
    factors: np.ndarray
    shifts: np.ndarray
    places: tuple[int, ...]

    def sweep(self, sweep: Sweep) -> Sweep:
        """The circuits, of all circuits of a sweep that are differentiated."""
        template, numbers = sweep.template, sweep.parameters
        if self.measurements is not None:
            template = template.copy(measurements=self.measurements)
        rows = numbers[:, None, :] * self.factors + self.shifts
        return replace(sweep, template=template, parameters=rows.reshape(-1, numbers.shape[1]), key=self.key)


@dataclass(frozen=True, eq=False)
class ShiftRule:
    """The derivative of circuits of one structure by their trainable parameters.

    Attributes:
        rows: all circuits that are run; the first of them is the circuit itself.
        jacobian: makes the derivative, as PennyLane's ``param_shift`` returns it, of the results of the others.
    """

    rows: tuple[Rows, ...]
    jacobian: Callable[[Sequence[Result]], Any]

    def shifted(self) -> tuple[Rows, ...]:
        """The circuits that are run where the result of the circuit itself is not wanted."""
        first, *others = self.rows
        if len(first.places) == 1:
            return tuple(others)
        return (replace(first, factors=first.factors[1:], shifts=first.shifts[1:], places=first.places[1:]), *others)


@dataclass(frozen=True)
class Linear:
    """A derivative that is a sum of results.

    Attributes:
        coefficients: an array ``(T, R)``: how much the result of each circuit counts in the derivative by each of ``T``
            trainable parameters.
        several: whether circuits have several measurements.
        in_bins: whether they have a shot vector.
    """

    coefficients: np.ndarray
    several: bool
    in_bins: bool

    def __call__(self, results: Sequence[Result]) -> Any:
        return tuple(map(self._of_shots, zip(*results, strict=True))) if self.in_bins else self._of_shots(results)

    def _of_shots(self, results: Sequence[Any]) -> Any:
        return tuple(map(self._of_one, zip(*results, strict=True))) if self.several else self._of_one(results)

    def _of_one(self, results: Sequence[Any]) -> Any:
        derivative = np.tensordot(self.coefficients, np.array(results), 1)
        return derivative[0] if len(derivative) == 1 else tuple(derivative)


@dataclass(frozen=True)
class NoRule:
    """What is differentiated anew in each call, circuit by circuit.

    Attributes:
        reason: why that is.
    """

    reason: str


def rule_of(circuit: QuantumScript, sweep: Sweep, options: Mapping[str, Any]) -> ShiftRule | NoRule:
    """Ask PennyLane how circuits of a structure are differentiated.

    Args:
        circuit: a circuit of the structure, with its trainable parameters.
        sweep: the circuit as a sweep.
        options: of PennyLane's ``param_shift``.
    """
    # An array that a user writes to later would be another structure's.
    sweep = replace(sweep, template=with_values_of_now(circuit))
    try:
        return _asked(circuit, sweep, options)
    except Exception as error:  # with numbers that are not its own, a circuit of a user's may raise what it likes
        return NoRule(f"PennyLane's answer is {type(error).__name__}: {error}")


def _asked(circuit: QuantumScript, sweep: Sweep, options: Mapping[str, Any]) -> ShiftRule | NoRule:
    columns = sweep.parameters.shape[1]
    some = 0.3 + 0.1 * np.sin(np.arange(columns))
    at_zero, at_some, at_own = (
        _Answer.of(circuit, sweep, numbers, options) for numbers in (np.zeros(columns), some, sweep.parameters[0])
    )
    layouts = [answer.layout for answer in (at_zero, at_some, at_own)]
    if layouts[0] is None or any(layout != layouts[0] for layout in layouts):
        return NoRule("its shifted circuits do not differ in numbers, or in what they measure, only")
    rows = []
    for zero, one, own in zip(at_zero.groups, at_some.groups, at_own.groups, strict=True):
        factors = np.round((one.parameters - zero.parameters) / some, _DIGITS)
        expected = sweep.parameters * factors + zero.parameters
        if not np.allclose(own.parameters, expected, rtol=_TOLERANCE, atol=_TOLERANCE):
            return NoRule("the shifts depend on its numbers")
        measured = zero.template.circuit.measurements
        own_key = zero.template.key == sweep.key
        rows.append(Rows(zero.template.key, None if own_key else measured, factors, zero.parameters, zero.indices))
    jacobian = _jacobian(circuit, (at_zero, at_some, at_own))
    if jacobian is None:
        return NoRule("the weights of its shifts depend on its numbers")
    return ShiftRule(tuple(rows), jacobian)


@dataclass(frozen=True, eq=False)
class _Answer:
    """What PennyLane makes of a circuit with some numbers.

    Attributes:
        groups: the circuit and its shifted ones, by structure.
        layout: what is the same for other numbers; ``None`` if the circuits differ in more than measurements.
        postprocess: makes the derivative of the results of the shifted ones.
    """

    groups: list[Fused]
    layout: Any
    postprocess: Callable[[Any], Any]

    @classmethod
    def of(cls, circuit: QuantumScript, sweep: Sweep, numbers: np.ndarray, options: Mapping[str, Any]) -> _Answer:
        bound = bound_template(sweep.template, sweep.slots, numbers.tolist())
        bound.trainable_params = circuit.trainable_params
        with QueuingManager.stop_recording():
            tapes, postprocess = checked_shifts(bound, **options)
            groups = fuse([bound, *tapes])
        layout = [(group.template.key, group.indices) for group in groups]
        for group in groups:
            alike = sweep_of_circuit(bound.copy(measurements=group.template.circuit.measurements))
            if alike is None or alike.key != group.template.key or alike.slots != sweep.slots:
                return cls(groups, None, postprocess)
        return cls(groups, layout, postprocess)


def _jacobian(circuit: QuantumScript, answers: Sequence[_Answer]) -> Callable[[Sequence[Result]], Any] | None:
    """What makes a derivative of results: of several answers that are one; ``None`` if they are not."""
    rows = sum([len(group.indices) for group in answers[0].groups]) - 1
    some = iter(partial(np.random.default_rng(0).uniform, 0.1, 1), None)
    probe = tuple([_result(circuit, some) for _ in range(rows)])
    first, *others = [answer.postprocess(probe) for answer in answers]
    if not all(_are_equal(first, other) for other in others):
        return None
    postprocess = answers[-1].postprocess
    if not rows:
        return postprocess
    each = postprocess([_result(circuit, repeat(row)) for row in np.eye(rows)])
    in_bins, several = circuit.shots.has_partitioned_shots, len(circuit.measurements) > 1
    for nested in (in_bins, several):
        each = each[0] if nested else each
    parts = each if isinstance(each, tuple | list) else (each,)
    if any(np.shape(part) not in ((), (rows,)) for part in parts):
        return postprocess
    linear = Linear(np.array([np.broadcast_to(part, (rows,)) for part in parts]), several, in_bins)
    return linear if _are_equal(linear(probe), first) else postprocess


def _result(circuit: QuantumScript, values: Iterator[Any]) -> Any:
    """Numbers in place of what a circuit returns: one for each measurement, and number of shots of a shot vector."""

    def of_shots() -> Any:
        parts = tuple([next(values) for _ in circuit.measurements])
        return parts if len(parts) > 1 else parts[0]

    return tuple([of_shots() for _ in circuit.shots]) if circuit.shots.has_partitioned_shots else of_shots()


def _are_equal(one: Any, other: Any) -> bool:
    """Whether two derivatives of the same results are the same, but for rounding."""
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_are_equal, one, other))
    return np.shape(one) == np.shape(other) and bool(np.allclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE))


class ShiftRules:
    """What is known of how circuits are differentiated, by structure."""

    def __init__(self) -> None:
        self._rules: OnceCache[ShiftRule | NoRule] = OnceCache(_KEPT_RULES)
        self._refused: OnceCache[None] = OnceCache(_KEPT_RULES)

    def of(self, circuit: QuantumScript, options: Mapping[str, Any]) -> tuple[ShiftRule | NoRule, Sweep | None]:
        """The rule for a circuit, and the circuit as a sweep of one.

        Args:
            circuit: the circuit, with its trainable parameters.
            options: of PennyLane's ``param_shift``. Shifted circuits are rows, never broadcasted.
        """
        options = {name: value for name, value in options.items() if name != "broadcast"}
        sweep = sweep_of_circuit(circuit)
        if sweep is None:
            return _logged(
                circuit, NoRule("it has something that cannot be compared with that of other circuits")
            ), None
        try:
            given = content(options) if options else None
        except TypeError as error:
            return _logged(circuit, NoRule(str(error))), None
        key = (sweep.key, tuple(circuit.trainable_params), _said_by_classes(circuit, sweep.slots), given)
        return self._rules.get(key, lambda: _logged(circuit, _rule(circuit, sweep, options))), sweep

    def log_refusal(self, circuit: QuantumScript, reason: str) -> None:
        """Say, once for each structure and reason, why circuits are not differentiated by sweeps."""
        if logger.isEnabledFor(logging.DEBUG):
            self._refused.get((outline_of(circuit), reason), lambda: _log_pennylane(circuit, reason))


def _rule(circuit: QuantumScript, sweep: Sweep, options: Mapping[str, Any]) -> ShiftRule | NoRule:
    if not circuit.trainable_params:
        return NoRule("it has no trainable parameters")
    if not {circuit.par_info[index]["op_idx"] for index in circuit.trainable_params} <= set(sweep.slots):
        return NoRule("it has trainable parameters that are not the numbers of a gate")
    if _said_by_classes(circuit, sweep.slots) != _said_by_classes(sweep.circuit(0), sweep.slots):
        return NoRule("copies of a gate have other shifts")
    return rule_of(circuit, sweep, options)


def _logged(circuit: QuantumScript, rule: ShiftRule | NoRule) -> ShiftRule | NoRule:
    if isinstance(rule, NoRule):
        _log_pennylane(circuit, rule.reason)
    else:
        sizes = " + ".join([str(len(one.places)) for one in rule.rows])
        logger.debug("%r is differentiated by sweeps of %s circuits, itself included.", circuit, sizes)
    return rule


def _log_pennylane(circuit: QuantumScript, reason: str) -> None:
    logger.debug("%r is differentiated by PennyLane, circuit by circuit: %s.", circuit, reason)


def _said_by_classes(circuit: QuantumScript, slots: Sequence[int]) -> Any:
    """What gates of users' classes say of their shifts, which may depend on anything."""
    said = []
    operations = circuit.operations
    for place in slots:
        operation: Any = operations[place]
        while True:
            kind: Any = type(operation)
            if is_foreign(kind):
                said.append((place, _said_by(operation)))
            if not _is_around(kind):
                break
            operation = operation.base
    return tuple(said)


@cache
def _is_around(kind: type[Operator]) -> bool:
    return issubclass(kind, SymbolicOp)


def _said_by(operation: Any) -> Any:
    try:
        recipe = operation.grad_recipe
        shifts = recipe if any(one is not None for one in recipe) else operation.parameter_frequencies
        return operation.grad_method, content(shifts)
    except Exception as error:  # each class raises what it likes
        return type(error)
