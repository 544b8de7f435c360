"""Readout that gets worse with time: bits that are read the wrong way round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from pennylane.measurements import ClassicalShadowMP
from pennylane.tape import QuantumScript

from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.executors.bases import SHADOWS, Runs, counted, simulated, together
from pennylane_qexec.executors.rehearsal.durations import seconds
from pennylane_qexec.job import Result
from pennylane_qexec.pooling import Pool, can_pool, pool
from pennylane_qexec.structure import batch_size


@dataclass(frozen=True)
class Drift:
    """How the probability grows that a bit is read the wrong way round.

    Attributes:
        start: the probability at the beginning.
        per_second: what each second adds.
        per_job: what each job adds.
        most: what it grows to; 0.5 is a coin.

    Raises:
        ConfigurationError: a number is negative, or ``most`` is above 1.
    """

    start: float = 0.0
    per_second: float = 0.0
    per_job: float = 0.0
    most: float = 0.5

    def __post_init__(self) -> None:
        for field in fields(self):
            seconds(getattr(self, field.name), field.name)
        if self.most > 1:
            raise ConfigurationError(f"most={self.most!r} is no probability: give at most 1.")

    def after(self, time: float, jobs: int) -> float:
        """The probability after so many seconds and jobs."""
        return min(self.most, self.start + self.per_second * time + self.per_job * jobs)


def drift_of(drift: Any) -> Drift | None:
    """The drift that a user's value means: ``None`` for none, a mapping for the arguments of :class:`Drift`.

    Raises:
        ConfigurationError: it means none.
    """
    if drift is None or isinstance(drift, Drift):
        return drift
    known = [argument.name for argument in fields(Drift)]
    if not isinstance(drift, Mapping):
        raise ConfigurationError(f"drift={drift!r} is no drift: give Drift(per_second=...), or its arguments.")
    for argument in drift:
        if argument not in known:
            raise ConfigurationError(unknown("argument of Drift", argument, known))
    return Drift(**drift)


def objection(circuit: QuantumScript) -> str | None:
    """Why a circuit cannot be run with drift: the end of a sentence that begins with the executor's name."""
    if not circuit.shots:
        return "has drift=, which errs in shots, and the circuit has none"
    if not can_pool(circuit):
        return f"has drift=, which errs in bits that are read, and {circuit.measurements} are none"
    return None


def runs(circuit: QuantumScript) -> Runs:
    """What is run for a circuit so that its bits can be read with errors, see :class:`Misread`."""
    if any(isinstance(measurement, SHADOWS) for measurement in circuit.measurements):
        return together([simulated(one) for one in Misread(circuit).circuits])
    circuits, shots = counted(circuit)
    return circuits * batch_size(circuit) * circuit.shots.num_copies, shots * batch_size(circuit)


class Misread:
    """A circuit whose bits are to be read with errors: run as circuits that sample, and evaluated on their samples.

    Args:
        circuit: a circuit with shots, to which nothing is objected.
    """

    def __init__(self, circuit: QuantumScript) -> None:
        self._vector = circuit.shots.has_partitioned_shots
        parts = [circuit.copy(shots=shots) for shots in circuit.shots] if self._vector else [circuit]
        self._pools: list[Pool] = [pool(part) for part in parts]

    @property
    def circuits(self) -> list[QuantumScript]:
        """What to run."""
        return [circuit for one in self._pools for circuit in one.circuits]

    def result(self, samples: list[Result], probability: float, rng: np.random.Generator) -> Result:
        """The circuit's result, of those of ``circuits``, each bit of which is flipped with a probability."""
        remaining = iter(samples)
        results = [
            one.evaluate([[_flipped(circuit, next(remaining), probability, rng)] for circuit in one.circuits])
            for one in self._pools
        ]
        return tuple(results) if self._vector else results[0]


def _flipped(circuit: QuantumScript, samples: Result, probability: float, rng: np.random.Generator) -> np.ndarray:
    array = np.array(samples)
    # The recipes of a classical shadow, behind its bits, are what was chosen, and not read.
    bits = array[:1] if isinstance(circuit.measurements[0], ClassicalShadowMP) else array
    read = (bits == 0) | (bits == 1)  # shots discarded by postselection are marked with another number
    wrong = read & (rng.random(bits.shape) < probability)
    bits[wrong] = 1 - bits[wrong]
    return array
