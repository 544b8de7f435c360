"""The executor that computes a rehearsal's results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pennylane.tape import QuantumScript

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.rehearsal.chance import generator_of, number_of
from pennylane_qexec.executors.rehearsal.drift import Misread
from pennylane_qexec.executors.specs import executor, executors
from pennylane_qexec.job import Result


class Inner:
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
        misread = Misread(circuit)
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
