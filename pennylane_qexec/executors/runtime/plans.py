"""What a batch of circuits is run as, and how it is sent.

Importing this imports Qiskit, so it is imported when the first job is sent.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from pennylane.tape import QuantumScript
from qiskit_ibm_runtime import EstimatorV2, SamplerV2

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.base import Binder, Bound
from pennylane_qexec.executors.runtime.jobs import Flight
from pennylane_qexec.executors.runtime.labels import tags_of
from pennylane_qexec.executors.runtime.machines import Machine
from pennylane_qexec.executors.runtime.modes import Mode
from pennylane_qexec.executors.runtime.options import PrimitiveOptions
from pennylane_qexec.executors.runtime.pubs import Compiler, Estimated, Program, Pub, Sampled
from pennylane_qexec.executors.runtime.words import can_estimate
from pennylane_qexec.executors.seeds import derived
from pennylane_qexec.fusion import Fused, Template, fuse, unfused
from pennylane_qexec.job import Result
from pennylane_qexec.kept import Kept

_KEPT_PROGRAMS = 256
_PRIMITIVES = {"estimator": EstimatorV2, "sampler": SamplerV2}


@dataclass(frozen=True)
class Plan:
    """What the circuits of a batch are run as.

    Attributes:
        bounds: the circuits, made ready.
        parts: the groups of those of one structure, with their programs.
        seed: of the order of samples.
    """

    bounds: Sequence[Bound]
    parts: Sequence[tuple[Fused, Program]]
    seed: np.random.SeedSequence

    @property
    def primitives(self) -> list[str]:
        """The primitives that are needed, each of which runs one job."""
        return sorted({program.primitive for _, program in self.parts})

    def pubs(self, primitive: str) -> list[Pub]:
        """All that one primitive has to run."""
        return [
            pub for fused, program in self._parts_of(primitive) for pub in program.pubs(fused.parameters, _shots(fused))
        ]

    def results(self, answers: Sequence[Sequence[Any]]) -> list[Result]:
        """The results of the circuits.

        Args:
            answers: for each primitive, its answers.
        """
        rng = np.random.default_rng(self.seed)
        groups = []
        for primitive, given in zip(self.primitives, answers, strict=True):
            remaining = list(given)
            self._check(primitive, len(remaining))
            for fused, program in self._parts_of(primitive):
                mine, remaining = remaining[: program.size], remaining[program.size :]
                groups.append((fused, program.results(mine, len(fused.indices), _shots(fused), rng)))
        results = iter(unfused(groups, sum(len(bound.circuits) for bound in self.bounds)))
        return [bound.postprocess([next(results) for _ in bound.circuits]) for bound in self.bounds]

    def _parts_of(self, primitive: str) -> list[tuple[Fused, Program]]:
        return [(fused, program) for fused, program in self.parts if program.primitive == primitive]

    def _check(self, primitive: str, number: int) -> None:
        expected = sum(program.size for _, program in self._parts_of(primitive))
        if number != expected:
            raise ConfigurationError(
                f"the job has {number} results, and its circuits need {expected}: recover a job with the circuits that "
                "it was sent with, by an executor with the same options."
            )


@final
class Planner:
    """Plans batches for one machine; what was compiled for it is kept.

    Args:
        machine: the machine.
        options: of the primitives, and which of them runs what.
        optimization_level: of Qiskit's transpiler.
        seed_transpiler: of its choices.
    """

    def __init__(
        self, machine: Machine, options: PrimitiveOptions, optimization_level: int, seed_transpiler: int
    ) -> None:
        self._options = options
        self._compiler = Compiler(machine.backend, optimization_level, seed_transpiler)
        self._programs: Kept[Program] = Kept(_KEPT_PROGRAMS)

    def plan(self, circuits: Sequence[QuantumScript], binder: Binder, seed: Sequence[int] | None) -> Plan:
        """What circuits are run as.

        Args:
            circuits: circuits with shots.
            binder: makes them ready for Qiskit.
            seed: of everything random; ``None`` for none.
        """
        bounds = [binder(circuit) for circuit in circuits]
        groups = fuse([one for bound in bounds for one in bound.circuits])
        parts = [(fused, self._program(fused.template)) for fused in groups]
        return Plan(bounds, parts, np.random.SeedSequence(seed))

    def _program(self, template: Template) -> Program:
        estimates = self._options.estimates and can_estimate(template.circuit)
        if not estimates and not self._options.samples:
            raise ConfigurationError(
                f"primitive='estimator', and {template.circuit.measurements} has to be sampled: take 'auto', or ask "
                "for expectation values of sums of Pauli words, without postselection."
            )
        kind = Estimated if estimates else Sampled
        return self._programs.get(_without_shots(template), lambda: kind(template, self._compiler))


def _shots(fused: Fused) -> int:
    return int(fused.template.circuit.shots.total_shots or 0)


def _without_shots(template: Template) -> Hashable:
    """The key of a template, equal for all numbers of shots."""
    return template.key and fuse([template.circuit.copy(shots=None)])[0].template.key


def send(plan: Plan, backend: Any, mode: Mode, options: PrimitiveOptions, seed: int | None, label: str = "") -> Flight:
    """Send a job for each primitive that a plan needs.

    Args:
        plan: what to run.
        backend: Qiskit's backend.
        mode: how jobs are scheduled.
        options: of the primitives.
        seed: of a simulator.
        label: what the jobs are to be found by; empty for nothing.

    Returns:
        The jobs. If the second cannot be sent, the first is cancelled.
    """
    jobs: list[Any] = []
    try:
        for number, name in enumerate(plan.primitives, 1):
            tags = tags_of(label, number, len(plan.primitives))
            own = seed if seed is None or number == 1 else derived(seed, number)
            jobs.append(_sent(name, plan.pubs(name), backend, mode, options.of(name, own, tags)))
    except BaseException:
        with suppress(Exception):  # what cannot be cancelled runs
            Flight(tuple(jobs), plan).cancel()
        raise
    return Flight(tuple(jobs), plan)


def drawing_by_shots(backend: Any) -> Any:
    """A simulated backend that draws circuits of other numbers of shots by other seeds, derived from that of the job.

    Qiskit's primitives run those with equal shots together, each such run with the job's own seed.
    """
    drawing, plainly = copy.copy(backend), backend.run

    def run(circuits: Any, **options: Any) -> Any:
        options["seed_simulator"] = derived(options["seed_simulator"], options["shots"])
        return plainly(circuits, **options)

    drawing.run = run
    return drawing


def _sent(name: str, pubs: list[Pub], backend: Any, mode: Mode, options: dict[str, Any]) -> Any:
    kind = _PRIMITIVES[name]
    return mode.send(backend, lambda where: kind(mode=where, options=options).run(pubs))
