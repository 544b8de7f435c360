"""What a batch of circuits is run as by a vendor, and what the answers mean."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np

from pennylane_qexec.circuits.readout import Readout
from pennylane_qexec.circuits.templates import Fused, Template, unfused
from pennylane_qexec.executors.counting import counts_of_bits
from pennylane_qexec.job import Bound, Result


class TemplateProgram(ABC):
    """What circuits of one structure, with any number of shots, are run as. It is made once, and kept."""

    @abstractmethod
    def size(self, rows: int) -> int:
        """How many answers come back for ``R`` circuits."""

    @abstractmethod
    def results(self, answers: Sequence[Any], rows: int, shots: int, rng: np.random.Generator) -> list[Result]:
        """The results of ``R`` circuits.

        Args:
            answers: the vendor's answers for them.
            rows: how many circuits there were.
            shots: of each of them.
            rng: puts samples in their order.

        Raises:
            WrongCountsError: the answers are not those of what was sent.
        """


class CountsProgram(TemplateProgram):
    """What circuits are run as where all their wires are measured, and outcomes counted: once for each basis.

    The answers are counts, by a text with a bit for each wire, the first wire last, as Qiskit writes them.

    Args:
        template: the structure.

    Attributes:
        wires: of the circuits, in the order in which they are measured.
        bases: the operations to run, up to where all wires are measured, for each basis.
    """

    def __init__(self, template: Template) -> None:
        self.wires = template.circuit.wires
        self._readout = Readout(template.circuit)
        self.bases = [Template(cell.circuit, template.slots, None) for cell in self._readout.cells]

    def size(self, rows: int) -> int:
        return rows * len(self.bases)

    def results(self, answers: Sequence[Any], rows: int, shots: int, rng: np.random.Generator) -> list[Result]:
        tables = []
        for number, cell in enumerate(self._readout.cells):
            measured = self.wires.indices(cell.wires or ())
            tables.append(counts_of_bits(answers[number :: len(self.bases)], len(self.wires), measured, shots))
        return self._readout.results(tables, rng)


P = TypeVar("P", bound=TemplateProgram)
P_co = TypeVar("P_co", bound=TemplateProgram, covariant=True)


@dataclass(frozen=True)
class PlannedGroup(Generic[P_co]):
    """Circuits of a batch that have one structure and number of shots.

    Attributes:
        fused: the circuits.
        program: what they are run as.
    """

    fused: Fused
    program: P_co

    @property
    def parameters(self) -> np.ndarray:
        """Of the circuits, ``(R, P)``."""
        return self.fused.parameters

    @property
    def rows(self) -> int:
        """How many circuits there are."""
        return len(self.fused.indices)

    @property
    def shots(self) -> int:
        """Of each circuit."""
        return int(self.fused.template.circuit.shots.total_shots or 0)

    @property
    def size(self) -> int:
        """How many answers come back for it."""
        return self.program.size(self.rows)


@dataclass(frozen=True)
class BatchPlan(Generic[P]):
    """What the circuits of a batch are run as.

    Attributes:
        bounds: the circuits, made ready.
        requests: the groups of circuits of one structure, by what is sent together, in the order of sending.
        seed: of what is random in results.
    """

    bounds: Sequence[Bound]
    requests: Mapping[Hashable, Sequence[PlannedGroup[P]]]
    seed: np.random.SeedSequence

    @cached_property
    def groups(self) -> list[PlannedGroup[P]]:
        """All groups, in the order in which they are sent."""
        return list(itertools.chain(*self.requests.values()))

    @property
    def size(self) -> int:
        """How many answers come back, all together."""
        return sum(group.size for group in self.groups)

    def results(self, answers: Sequence[Any]) -> list[Result]:
        """The results of the circuits.

        Args:
            answers: those of all that was sent, in that order.

        Raises:
            WrongCountsError: the answers are not those of what was sent.
        """
        rng, remaining = np.random.default_rng(self.seed), iter(answers)
        done = []
        for group in self.groups:
            mine = list(itertools.islice(remaining, group.size))
            done.append((group.fused, group.program.results(mine, group.rows, group.shots, rng)))
        results = iter(unfused(done, sum(len(bound.circuits) for bound in self.bounds)))
        return [bound.postprocess([next(results) for _ in bound.circuits]) for bound in self.bounds]
