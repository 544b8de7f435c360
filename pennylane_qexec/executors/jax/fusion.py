"""How batches run with JAX: which structures are compiled, when, and what runs another way meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from pennylane.tape import QuantumScript

from pennylane_qexec.executors.contest import Contest
from pennylane_qexec.executors.device import DeviceExecutor
from pennylane_qexec.executors.jax.compiled import Functions, bytes_needed, padded
from pennylane_qexec.executors.jax.functions import Traced
from pennylane_qexec.executors.jax.platform import Platform
from pennylane_qexec.executors.jax.sampling import Sampler
from pennylane_qexec.executors.jax.structures import Structure
from pennylane_qexec.executors.jax.workshop import Workshop
from pennylane_qexec.fusion import Fused, Template, fuse
from pennylane_qexec.job import Result, Work
from pennylane_qexec.kept import Kept

_KEPT_STRUCTURES = 1024
_KEPT_FUNCTIONS = 256
_WORTH_COMPILING = 16
_UNBEATABLE = 1.5e-4
"""Seconds per circuit that no simulator which takes circuits one by one falls below, however small they are."""

_NEVER_TOO_LARGE = 20


class Fusion:
    """Runs circuits of one structure together, in compiled functions that are kept.

    Args:
        platform: where to compute.
        sampler: draws shots.
        compile: ``"background"``, ``"now"`` or ``"never"``.
        chunk: the most circuits at once, or ``None``.

    Attributes:
        sampler: draws shots.
        workshop: where functions are compiled in the background.
    """

    def __init__(self, platform: Platform, sampler: Sampler, compile: str, chunk: int | None) -> None:
        self.sampler = sampler
        self.workshop = Workshop()
        self._platform = platform
        self._compile = compile
        self._chunk = chunk
        self._structures: Kept[Structure] = Kept(_KEPT_STRUCTURES)
        self._functions: Kept[Functions] = Kept(_KEPT_FUNCTIONS)
        self._contest = Contest()
        self._fast = DeviceExecutor("lightning.qubit")
        self._sure = DeviceExecutor("default.qubit")

    @property
    def on_cpu(self) -> bool:
        """Whether JAX computes on the processor."""
        return self._platform.on_cpu

    @property
    def compiled(self) -> int:
        """How many functions have been compiled."""
        return self._platform.count

    def too_large(self, wires: int) -> str | None:
        """Why the state of this many wires cannot be computed, as the end of a sentence; ``None`` if it can."""
        if wires <= _NEVER_TOO_LARGE:
            return None
        needed, free = bytes_needed(wires), self._platform.free_bytes()
        if needed <= free:
            return None
        return f"needs {needed / 2**30:.3g} GiB of memory for {wires} wires, and {free / 2**30:.3g} GiB are free"

    def structure(self, group: Fused) -> Structure:
        """What is kept of circuits of one structure."""
        return self._structures.get(group.template.key, lambda: Structure(group.template, self._functions_of))

    def results(
        self, structure: Structure, group: Fused, circuits: Sequence[QuantumScript], numbers: Sequence[int]
    ) -> Sequence[Result]:
        """The results of circuits of one structure.

        Args:
            structure: the structure, which must be traceable.
            group: their parameters.
            circuits: the circuits.
            numbers: of the circuits, for the sampler.
        """
        structure.times += 1
        one_by_one = partial(self._one_by_one, structure, circuits, numbers)
        if not self._is_compiled(structure, len(circuits)):
            return one_by_one()
        compiled = partial(structure.compiled, group.parameters, self.sampler, numbers)
        return self._faster(structure, len(circuits), compiled, one_by_one)

    def _functions_of(self, template: Template, make: Callable[[], Traced]) -> Functions:
        """The functions of a structure, whatever its number of shots."""
        circuit = template.circuit.copy(shots=None)
        key = bool(template.circuit.shots), fuse([circuit])[0].template.key
        return self._functions.get(key, lambda: Functions(make, self._platform, self._chunk))

    def _is_compiled(self, structure: Structure, rows: int) -> bool:
        """Whether there is a function for this many circuits. If it is worth it, one will be."""
        if self._compile == "never":
            return False
        if self._compile == "background" and structure.times == 1 and rows < _WORTH_COMPILING:
            return False
        functions = structure.functions
        if not functions.ready(rows) and not functions.broken:
            compile = partial(functions.compile, rows)
            if self._compile == "now":
                compile()
            else:
                self.workshop.add((functions, padded(rows)), compile)
        return functions.ready(rows)

    def _faster(
        self,
        structure: Structure,
        rows: int,
        compiled: Callable[[], list[Result]],
        one_by_one: Callable[[], list[Result]],
    ) -> list[Result]:
        """Run one of two ways; they compete, unless it is clear which is faster."""
        size = padded(rows)
        if size in structure.clear:
            return compiled()

        def timed() -> list[Result]:
            start = time.perf_counter()
            results = compiled()
            if time.perf_counter() - start < _UNBEATABLE * rows:
                structure.clear.add(size)
            return results

        return self._contest.run((structure, size), rows, [timed, one_by_one])

    def _one_by_one(
        self, structure: Structure, circuits: Sequence[QuantumScript], numbers: Sequence[int]
    ) -> list[Result]:
        def run(chosen: Sequence[QuantumScript]) -> Sequence[Result]:
            if not structure.refused:
                try:
                    return self._fast.perform(Work(tuple(chosen)))
                except Exception:  # each simulator has its own ways to refuse
                    structure.refused = True
            return self._sure.perform(Work(tuple(chosen)))

        if self.sampler.seeded and circuits[0].shots:
            return structure.sampled(circuits, run, self.sampler, numbers)
        return [_of_numpy(result) for result in run(circuits)]


def _of_numpy(result: Result) -> Result:
    """A result with NumPy's numbers, as compiled functions give them, in place of Python's."""
    if isinstance(result, tuple):
        return tuple([_of_numpy(one) for one in result])
    return np.float64(result) if type(result) is float else result
