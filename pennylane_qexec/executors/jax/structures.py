"""What is kept of circuits of one structure, and by which of two ways they run: compiled, or one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from pennylane.devices import ExecutionConfig
from pennylane.measurements import ClassicalShadowMP, ProbabilityMP, ShadowExpvalMP, StateMeasurement
from pennylane.operation import Operation, StatePrepBase
from pennylane.ops import Conditional, MidMeasure, Projector, Snapshot
from pennylane.tape import QuantumScript

from pennylane_qexec.executors.base import Binder
from pennylane_qexec.executors.jax import functions as jax_functions
from pennylane_qexec.executors.jax.compiled import Functions
from pennylane_qexec.executors.jax.functions import Traced
from pennylane_qexec.executors.jax.sampling import Sampler
from pennylane_qexec.fusion import Template
from pennylane_qexec.job import Result
from pennylane_qexec.pooling import can_pool
from pennylane_qexec.readout import Readout
from pennylane_qexec.structure import is_broadcasted

Exactly = Callable[[Sequence[QuantumScript]], Sequence[Result]]
"""Runs analytic circuits one by one."""

_SHADOWS = (ClassicalShadowMP, ShadowExpvalMP)
_NOT_TRACED = (Conditional, MidMeasure, Projector, Snapshot)


class Structure:
    """Circuits of one structure, all with shots or all without.

    Args:
        template: the structure.
        functions: gives the compiled functions that belong to a function to trace; structures that differ in nothing
            but the number of shots share them.

    Attributes:
        times: how often such circuits have come.
        clear: the padded numbers of circuits for which nothing can be faster than the compiled function.
        refused: whether the fastest simulator has refused such circuits.
    """

    def __init__(self, template: Template, functions: Callable[[Template, Callable[[], Traced]], Functions]) -> None:
        self._template = template
        self._shots = template.circuit.shots.total_shots
        self._get_functions = functions
        self.times = 0
        self.clear: set[int] = set()
        self.refused = False
        self._is_native: bool | None = None

    def native(self, binder: Callable[[ExecutionConfig, QuantumScript], Binder], config: ExecutionConfig) -> bool:
        """Whether a simulator's program would leave such circuits as they are, so that they need not go through it.

        Args:
            binder: makes what prepares circuits for the simulator.
            config: the configuration that the call asks for.
        """
        if config.gradient_method is not None:
            return False
        if self._is_native is None:
            bound = binder(config, self._template.circuit)(self._template.circuit)
            self._is_native = len(bound.circuits) == 1 and bound.circuits[0] is self._template.circuit
        return self._is_native

    @cached_property
    def readout(self) -> Readout:
        """How circuits with shots are measured."""
        return Readout(self._template.circuit)

    @cached_property
    def traceable(self) -> bool:
        """Whether JAX may be able to run such circuits."""
        return can_be_traced(self._template)

    @cached_property
    def functions(self) -> Functions:
        """The compiled functions."""
        if self._shots is None:
            return self._get_functions(self._template, lambda: jax_functions.exact(self._template))
        cells = self.readout.cells
        return self._get_functions(self._template, lambda: jax_functions.probabilities(self._template, cells))

    def compiled(self, parameters: np.ndarray, sampler: Sampler, numbers: Sequence[int]) -> list[Result]:
        """The results of ``R`` circuits, by a compiled function.

        Args:
            parameters: an array ``(R, P)``.
            sampler: draws the shots.
            numbers: of the circuits.
        """
        results: list[Result] = []
        for arrays in self.functions.run(parameters):
            if self._shots is None:
                own = [np.array(each) for each in arrays]  # JAX's cannot be written to
                results.extend(own[0] if len(own) == 1 else zip(*own, strict=True))
            else:
                chosen = numbers[len(results) : len(results) + len(arrays[0])]
                results += sampler.results(self.readout, arrays, self._shots, chosen)
        return results

    def sampled(
        self, circuits: Sequence[QuantumScript], exactly: Exactly, sampler: Sampler, numbers: Sequence[int]
    ) -> list[Result]:
        """The results of circuits with shots, of probabilities that are computed one by one.

        Args:
            circuits: the circuits.
            exactly: computes probabilities.
            sampler: draws the shots, the same as for :meth:`compiled`.
            numbers: of the circuits.
        """
        assert self._shots is not None
        length = len(self._template.circuit.operations)
        tables = []
        for cell in self.readout.cells:
            ending = cell.circuit.operations[length:]
            measured = [ProbabilityMP(wires=cell.wires)]
            analytic = [QuantumScript([*circuit.operations, *ending], measured) for circuit in circuits]
            table = np.clip(exactly(analytic), 0, None)
            tables.append(table / table.sum(axis=1, keepdims=True))
        return sampler.results(self.readout, tables, self._shots, numbers)


def can_be_traced(template: Template) -> bool:
    """Whether circuits of a structure are worth tracing, and nothing speaks against it before it is tried."""
    circuit = template.circuit
    if template.key is None or not template.slots or circuit.shots.has_partitioned_shots or is_broadcasted(circuit):
        return False
    _, *others = circuit.operations
    if not all(isinstance(one, Operation) and not isinstance(one, _NOT_TRACED) for one in circuit.operations):
        return False
    if any(isinstance(one, StatePrepBase) for one in others):
        return False
    if circuit.shots:
        return can_pool(circuit) and not any(isinstance(one, _SHADOWS) for one in circuit.measurements)
    return all(isinstance(one, StateMeasurement) and one.mv is None for one in circuit.measurements)
