"""The results of jobs: those that are kept, or computed when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pennylane.tape import QuantumScript

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.rehearsal.folder import Folder
from pennylane_qexec.executors.rehearsal.inner import Inner
from pennylane_qexec.executors.rehearsal.jobs import Job
from pennylane_qexec.job import Result


@dataclass
class Answers:
    """Computes results.

    Attributes:
        inner: what computes them.
        folder: where they are kept; ``None`` if they are not.
        seed: of all chance.
        stream: what they are drawn by; ``None`` for the executor's name.
        drifts: whether bits may be read the wrong way round.
    """

    inner: Inner
    folder: Folder | None
    seed: int
    stream: str | None
    drifts: bool

    def of(self, job: Job) -> Sequence[Result]:
        """The results of a job.

        Raises:
            ConfigurationError: the circuits of the job are not known.
        """
        if self.folder is None:
            return self._computed(job, job.circuits)
        job_id = job.record.job_id
        results = self.folder.results(job_id)
        if results is None:
            results = self._computed(job, job.circuits or self.folder.circuits(job_id))
            self.folder.keep(job_id, results)
        return results

    def _computed(self, job: Job, circuits: Sequence[QuantumScript] | None) -> list[Result]:
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
