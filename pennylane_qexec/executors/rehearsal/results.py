"""The results of a rehearsal's jobs, computed when they are asked for, at random numbers that follow from the job.

So results depend on what a job is, and not on when it comes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.fingerprint import fingerprint
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.rehearsal.conditions import ReadoutErrors
from pennylane_qexec.executors.rehearsal.jobs import RehearsedJob
from pennylane_qexec.executors.rehearsal.records import Records
from pennylane_qexec.executors.specs import executor, executors
from pennylane_qexec.job import Result

_NAMELESS = "0" * 32


def number_of(*parts: object) -> int:
    """A number of 31 bits that follows from the parts: the same in every process."""
    return int.from_bytes(_digest(parts)[:4], "little") >> 1


def generator_of(*parts: object) -> np.random.Generator:
    """Random numbers that follow from the parts."""
    return np.random.default_rng(int.from_bytes(_digest(parts), "little"))


def fingerprint_of(circuit: QuantumScript) -> str:
    """The circuit's fingerprint; of a circuit that has none, because it contains functions, 32 zeros."""
    try:
        return fingerprint(circuit)
    except TypeError:
        return _NAMELESS


def _digest(parts: tuple[object, ...]) -> bytes:
    return hashlib.blake2b("\n".join(map(repr, parts)).encode(), digest_size=16).digest()


class InnerExecutor:
    """An executor that computes results, and new ones like it, each with a seed of its own.

    Args:
        spec: a spec, or an executor.
        wires: the wires of one that is built here and has none of its own.
        seeded: whether results should be repeatable.

    Attributes:
        executor: the executor.
        seeded: whether results are repeatable: it is built here, of a spec, and takes a seed.

    Raises:
        ConfigurationError: there is no such executor, or it has a seed and is to get another one.
    """

    def __init__(self, spec: Any, wires: Any, seeded: bool) -> None:
        if isinstance(spec, Mapping) and seeded and spec.get("seed") is not None:
            raise ConfigurationError(f"{spec!r} has a seed, and so has its rehearsal: give it to the rehearsal only.")
        self._wires = wires
        self._spec = {"type": spec} if isinstance(spec, str) else spec
        self.executor: Executor = self._first()
        self.seeded = seeded and self._takes_seeds()

    def reseed(self) -> bool:
        """Have results follow from what a circuit is, as with a seed from the beginning. Whether that is possible."""
        if not self.executor.has_seed:
            self.seeded = self.seeded or self._takes_seeds()
        return self.seeded

    def results(
        self, circuits: Sequence[QuantumScript], numbers: Sequence[Sequence[object]], flips: float | None
    ) -> list[Result]:
        """Run circuits.

        Args:
            circuits: the circuits.
            numbers: for each of them, what its randomness follows from.
            flips: the probability that a bit is read the wrong way round; ``None`` if all are right.
        """
        if flips is None and not self.seeded:
            return list(self.executor.run(tuple(circuits)))
        return [self._result(circuit, one, flips) for circuit, one in zip(circuits, numbers, strict=True)]

    def close(self) -> None:
        """Close the executor."""
        self.executor.close()

    def _result(self, circuit: QuantumScript, number: Sequence[object], flips: float | None) -> Result:
        if flips is None:
            return self._run([circuit], number)[0]
        misread = ReadoutErrors(circuit)
        return misread.result(self._run(misread.circuits, number), flips, generator_of("drift", *number))

    def _run(self, circuits: Sequence[QuantumScript], number: Sequence[object]) -> list[Result]:
        """Run circuits together; those with shots on an executor of their own, whose seed nobody else draws from."""
        if not self.seeded or not circuits[0].shots:
            return list(self.executor.run(tuple(circuits)))
        fresh = self._with_seed(number_of("shots", *number))
        try:
            return list(fresh.run(tuple(circuits)))
        finally:
            fresh.close()

    def _first(self) -> Executor:
        (made,) = executors([self._spec], self._wires)
        if isinstance(self._spec, Mapping) and "name" not in self._spec:
            made.name = str(self._spec["type"])
        return made

    def _takes_seeds(self) -> bool:
        if not isinstance(self._spec, Mapping):
            return False
        try:
            self._with_seed(0).close()
        except ConfigurationError:
            return False
        return True

    def _with_seed(self, seed: int) -> Executor:
        wires = {} if self.executor.wires is None or "wires" in self._spec else {"wires": self.executor.wires}
        return executor({**self._spec, **wires, "seed": seed})


@dataclass
class JobResults:
    """Computes results.

    Attributes:
        inner: what computes them.
        records: where they are kept, if there is a folder.
        seed: of all chance.
        stream: what they are drawn by; ``None`` for the executor's name.
        drifts: whether bits may be read the wrong way round.
    """

    inner: InnerExecutor
    records: Records
    seed: int
    stream: str | None
    drifts: bool

    def of(self, job: RehearsedJob) -> Sequence[Result]:
        """The results of a job.

        Raises:
            ConfigurationError: the circuits of the job are not known.
        """
        job_id = job.record.job_id
        results = self.records.results(job_id)
        if results is None:
            results = self._computed(job, job.circuits or self.records.circuits(job_id))
            self.records.keep_results(job_id, results)
        return results

    def _computed(self, job: RehearsedJob, circuits: Sequence[QuantumScript] | None) -> list[Result]:
        record = job.record
        if circuits is None:
            raise ConfigurationError(
                f"the circuits of job {record.job_id!r} are not known here: use recover(job_id, circuits), or "
                "adopt(job_id, circuits) before fetch."
            )
        stream = record.executor if self.stream is None else self.stream
        numbered = zip(record.fingerprints, record.numbers, strict=True)
        chances = [(self.seed, stream, one, number) for one, number in numbered]
        return self.inner.results(circuits, chances, record.flips if self.drifts else None)
