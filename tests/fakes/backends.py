"""Backends as fakes: executors that count without computing, and can fail, lose shots, or wait to be let go on."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from pennylane.tape import QuantumScript

import pennylane_qexec as qexec


class Ledger:
    """What a backend was asked to do, over all executors made for it.

    Attributes:
        shots: of each circuit that was run, in order.
        options: of each executor that was made.
        held: circuits run only once this is set.
        began: set when the first circuit has arrived.
    """

    def __init__(self) -> None:
        self.shots: list[int] = []
        self.options: list[dict[str, Any]] = []
        self.held = threading.Event()
        self.held.set()
        self.began = threading.Event()


class Counting(qexec.Executor):
    """Counts every shot as the outcome with all bits 0.

    Args:
        ledger: where it writes down what it did.
        failures: what it raises for the next circuits, one after the other.
        lost: shots that are missing in each result.
        seed: an option to be given.
        answer: what it returns in place of counts.
    """

    def __init__(
        self, ledger: Ledger, failures: list[Exception], lost: int = 0, seed: int | None = None, answer: Any = None
    ) -> None:
        super().__init__()
        self._ledger, self._failures, self._lost, self._answer = ledger, failures, lost, answer
        ledger.options.append({"seed": seed})

    def run(self, circuits: Sequence[QuantumScript]) -> list[Any]:
        self._ledger.began.set()
        self._ledger.held.wait()
        return [self._counts(circuit) for circuit in circuits]

    def _counts(self, circuit: QuantumScript) -> Any:
        if self._failures:
            raise self._failures.pop(0)
        shots = circuit.shots.total_shots
        self._ledger.shots.append(shots)
        if self._answer is not None:
            return self._answer
        (measurement,) = circuit.measurements
        width = len(measurement.wires or circuit.wires)
        return {"0" * width: shots - self._lost}


class Fakes(qexec.Provider):
    """A provider of counting backends.

    Args:
        backends: for each name the arguments of :class:`Counting`, and ``qubits`` if it has a limited number.

    Attributes:
        ledgers: what each backend did, by name.
    """

    name = "fakes"

    def __init__(self, **backends: Mapping[str, Any]) -> None:
        self.ledgers = {name: Ledger() for name in backends}
        self._backends = backends

    def backends(self) -> dict[str, qexec.Backend]:
        return {name: self._backend(name, **options) for name, options in self._backends.items()}

    def _backend(
        self, name: str, failures: Sequence[Exception] = (), lost: int = 0, qubits: Any = None, answer: Any = None
    ) -> qexec.Backend:
        left, ledger = list(failures), self.ledgers[name]

        def make(seed: int | None = None) -> Counting:
            return Counting(ledger, left, lost, seed, answer)

        return qexec.Backend("fakes", name, make, num_qubits=qubits)


def experiments(provider: Fakes, **options: Any) -> qexec.QuantumExecutor:
    """A QuantumExecutor with nothing but a fake provider."""
    return qexec.QuantumExecutor(providers={"fakes": provider}, **options)
