"""Parameter shifts of everything that has them, where PennyLane would take finite differences or fail."""

from __future__ import annotations

from collections.abc import Sequence, Set
from itertools import combinations, pairwise
from operator import is_not
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.decomposition import gate_sets
from pennylane.exceptions import ParameterFrequenciesUndefinedError, QuantumFunctionError
from pennylane.operation import Operation, Operator, StatePrepBase
from pennylane.ops import Adjoint, Conditional, Controlled
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript
from pennylane.transforms import decompose

from pennylane_qexec.circuits.evolutions import TimeEvolution, is_word, with_time
from pennylane_qexec.circuits.structure import has_plain_gates, is_plain_gate
from pennylane_qexec.device.variances import by_squares, squares

_APART = 1e-8
"""Frequencies nearer to each other, relative to the largest one, are the same but for rounding."""


def with_shift_rules(tape: QuantumScript) -> QuantumScript:
    """The circuit, with what has no shift rule (``TrotterProduct``) taken apart into gates that have one.

    PennyLane would take finite differences of it: noise, with shots or in single precision. And it cannot give new
    numbers to an evolution by a scaled operator, though that has a rule.
    """
    with QueuingManager.stop_recording():
        if all(map(_is_shifted, tape.operations)):
            return tape
    (expanded,), _ = decompose(tape, gate_set=gate_sets.ROTATIONS_PLUS_CNOT, stopping_condition=_has_rule, strict=False)
    with QueuingManager.stop_recording():
        changed = expanded.copy(operations=list(map(with_time, expanded.operations)))
    changed.trainable_params = qml.math.get_trainable_indices(changed.get_parameters(trainable_only=False))
    return changed


def _is_shifted(operation: Operator) -> bool:
    return _has_rule(operation) and with_time(operation) is operation


def _has_rule(operation: Operator) -> bool:
    """Whether an operation can be shifted, has nothing to be shifted, or cannot be taken apart."""
    if isinstance(operation, Conditional):  # see ShiftedConditional
        return _has_rule(operation.base)
    try:
        if not any(map(qml.math.requires_grad, operation.data)) or not operation.has_decomposition:
            return True
        return isinstance(operation, Operation) and _has_shifts(operation)
    except (RuntimeError, ValueError):
        # PennyLane asks of a batch whether it is zero: of evolutions, which have gates in their place, and of others.
        return not isinstance(operation, Operation)


def _has_shifts(operation: Operation) -> bool:
    """Whether PennyLane knows by how much to shift the numbers of an operation.

    It asks the base of a controlled one, and cannot compute the shifts of some: of ``PauliRot`` and ``MultiRZ``, whose
    class has no number of wires.
    """
    if any(recipe is not None for recipe in operation.grad_recipe or ()):
        return True
    try:
        return bool(operation.grad_method != "F" and operation.parameter_frequencies)
    except (ParameterFrequenciesUndefinedError, TypeError):
        return False


class ShiftedConditional(Conditional):
    """A conditional operation that is shifted as the operation itself, which PennyLane takes finite differences of.

    What is measured is a sum over the outcomes that decide: of some, the operation is part; of others, nothing depends
    on its numbers.
    """

    @property
    def grad_method(self) -> Any:
        """That of the operation."""
        return self.base.grad_method

    @property
    def grad_recipe(self) -> Any:
        """That of the operation."""
        return self.base.grad_recipe or [None] * self.num_params

    @property
    def parameter_frequencies(self) -> Any:
        """Those of the operation."""
        return self.base.parameter_frequencies


def with_gates(circuit: QuantumScript) -> QuantumScript:
    """The circuit, with gates in place of embeddings of data and other templates that are not differentiated.

    Their arrays would make a structure of its own of each point, and of each row of a batch.

    Args:
        circuit: the circuit, with NumPy's numbers.
    """
    if has_plain_gates(circuit):
        return circuit
    trained = set(circuit.trainable_params)
    operations: list[Operator] = []
    trainable, index, place = [], 0, 0
    with QueuingManager.stop_recording():
        for operation in circuit.operations:
            own = range(index, index + operation.num_params)
            parts = None if trained.intersection(own) else _gates_of(operation)
            if parts is None:
                trainable += [place + one - index for one in own if one in trained]
                parts = [operation]
            operations += parts
            index += operation.num_params
            place += sum([part.num_params for part in parts])
    trainable += [place + one - index for one in sorted(trained) if one >= index]
    if len(operations) == len(circuit.operations):
        return circuit
    return QuantumScript(operations, circuit.measurements, circuit.shots, trainable)


def _gates_of(operation: Operator) -> list[Operator] | None:
    """Plain gates in place of an operation with arrays; ``None`` if it has none, or is not made of such gates."""
    if isinstance(operation, StatePrepBase) or not any(map(np.ndim, operation.data)) or not operation.has_decomposition:
        return None
    gates: list[Operator] = []
    for part in operation.decomposition():
        more = [part] if is_plain_gate(part) else _gates_of(part)
        if more is None:
            return None
        gates += more
    return gates


def by_shifts(tape: QuantumScript, *args: Any, **options: Any) -> Any:
    """What ``qml.gradients.param_shift`` returns, with shifts of what PennyLane has none of.

    Raises:
        QuantumFunctionError: an operation has none, and shots would leave nothing of the finite differences that
            PennyLane would take; or a number of an observable has none.
    """
    if tape.trainable_params and (of := squares(tape)):
        options.pop("f0", None)
        return by_squares(tape, of, lambda one: by_shifts(one, *args, **options))
    trained = [tape.par_info[index] for index in tape.trainable_params]
    if trained and all(isinstance(one["op"], qml.GlobalPhase) for one in trained):  # PennyLane's shifts fail
        return _constant(tape)
    given = _with_conditions(tape, {one["op_idx"] for one in trained})
    for index in tape.trainable_params:
        operation = given.par_info[index]["op"]
        _give_shifts(operation)
        if tape.shots and "fallback_fn" not in options and given.par_info[index]["op_idx"] < len(given.operations):
            _refuse_differences(operation)
    try:
        tapes, postprocess = qml.gradients.param_shift(given, *args, **options)
    except AttributeError as error:
        if error.name != "grad_recipe":
            raise
        raise QuantumFunctionError(
            f"there is no parameter shift by a number of the observable {error.obj}, as this derivative would need. "
            "Measure its terms one by one and add the results; or use diff_method='backprop' on an executor that "
            "offers it."
        ) from error
    return tapes if given is tape else [_without_conditions(one) for one in tapes], postprocess


def _constant(tape: QuantumScript) -> Any:
    """The circuit itself, and what makes a derivative of zeros of its result, whose shape only its device knows."""

    def of_measurement(result: Any) -> Any:
        zeros = qml.math.zeros_like(result)
        return zeros if len(tape.trainable_params) == 1 else (zeros,) * len(tape.trainable_params)

    def of_shots(result: Any) -> Any:
        return of_measurement(result) if len(tape.measurements) == 1 else tuple(map(of_measurement, result))

    def postprocess(results: Any) -> Any:
        (result,) = results
        return tuple(map(of_shots, result)) if tape.shots.has_partitioned_shots else of_shots(result)

    return [tape], postprocess


def _with_conditions(tape: QuantumScript, trained: Set[int]) -> QuantumScript:
    operations = [
        ShiftedConditional(one.meas_val, one.base) if isinstance(one, Conditional) and index in trained else one
        for index, one in enumerate(tape.operations)
    ]
    if any(map(is_not, operations, tape.operations)):
        return tape.copy(operations=operations, trainable_params=tape.trainable_params)
    return tape


def _without_conditions(tape: QuantumScript) -> QuantumScript:
    with QueuingManager.stop_recording():
        operations = [
            Conditional(one.meas_val, one.base) if isinstance(one, ShiftedConditional) else one
            for one in tape.operations
        ]
    return tape.copy(operations=operations, trainable_params=tape.trainable_params)


def _refuse_differences(operation: Operation) -> None:
    if operation.grad_method == "F":
        raise QuantumFunctionError(
            f"{operation.name} has neither a parameter shift nor a decomposition into gates that have one, and shots "
            "leave nothing of finite differences. Give its class a decomposition or a grad_recipe; or use "
            "diff_method='spsa', or 'finite-diff' with a large step, gradient_kwargs={'h': 0.1}."
        )


def _give_shifts(operation: Operator) -> None:
    """Give an evolution, controlled or not, the shifts that differentiate it.

    PennyLane takes frequencies that differ by rounding for several, and chooses shifts of which some tell the same of
    different frequencies (1, 2, 3 and 5): derivatives are anything then.
    """
    layers = [operation]
    while isinstance(layers[-1], Adjoint | Conditional | Controlled):
        layers.append(layers[-1].base)
    evolution = layers[-1]
    if isinstance(evolution, TimeEvolution) and not is_word(evolution.base):
        values = np.linalg.eigvalsh(qml.matrix(evolution.base)).tolist()
        controls = any(isinstance(one, Controlled) for one in layers)
        recipe = _recipe([*values, 0.0] if controls else values)
        for one in layers:
            if isinstance(one, Controlled | TimeEvolution):  # an inverse has that of what it inverts
                one.grad_recipe = [recipe]


def _recipe(values: Sequence[float]) -> list[list[float]]:
    """Factors, multipliers and shifts of a derivative, from the eigenvalues of what generates it."""
    differences = sorted(after - before for before, after in combinations(sorted(values), 2))
    apart = _APART * differences[-1]
    frequencies = [one for before, one in pairwise([0.0, *differences]) if one - before > apart]
    if not frequencies:
        return [[0.0, 1.0, 0.0]]
    shifts = (2 * np.arange(len(frequencies)) + 1) * np.pi / (2 * frequencies[-1])
    factors = np.linalg.lstsq(2 * np.sin(np.outer(frequencies, shifts)), frequencies)[0]
    pairs = list(zip(factors.tolist(), shifts.tolist(), strict=True))
    return [[sign * factor, 1.0, sign * shift] for sign in (1, -1) for factor, shift in pairs]
