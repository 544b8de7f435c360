"""Circuits with numbers, and a ledger of every shot that was executed for them, by the number of the shot."""

from __future__ import annotations

import bisect
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pennylane as qml
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.policies.budgets import guard

WIRES = range(14)
"""The bits of a shot's number."""

_PLACES = np.arange(len(WIRES))


def circuit_of(number: int, shots: Any) -> QuantumScript:
    """A circuit that can be told from all others."""
    measured = [qml.sample(wires=WIRES)] if shots else [qml.expval(qml.Z(0))]
    return QuantumScript([qml.RX(float(number), 0)], measured, shots=shots)


def number_of(circuit: QuantumScript) -> int:
    """The number of a circuit."""
    return int(circuit.operations[0].data[0])


def shots_of(circuit: QuantumScript) -> int:
    """All the shots of a circuit; 0 if it is analytic."""
    return circuit.shots.total_shots or 0


def numbers_in(result: Any) -> list[int]:
    """The numbers of the shots that a result is made of; an analytic one counts as one shot."""
    if isinstance(result, tuple | list):
        return [number for part in result for number in numbers_in(part)]
    if result.ndim == 0:
        return [int(result)]
    return [int(number) for number in result.astype(np.int64) @ (1 << _PLACES)]


class Execution(NamedTuple):
    """A circuit that was executed once: who did it, and the number of the first shot."""

    circuit: int
    executor: str
    first: int


class Ledger:
    """What reached executors and what they executed. Budgets are looked at whenever something arrives.

    Args:
        budgets: those that count for all of it.

    Attributes:
        sent: shots, circuits and cents of what arrived.
        charged: those of what arrived and is to be paid for.
        passed: what was seen of budgets that were passed.
        seen: how often what happened, for those who want to know.
        tries: how often each circuit arrived, and at which executors.
        ended: set when the workload is over, so that what hangs goes on.
    """

    def __init__(self, budgets: Sequence[qexec.Budget]) -> None:
        self._budgets = budgets
        self._lock = threading.Lock()
        self._executions: list[Execution] = []
        self._firsts: list[int] = []
        self._next = 1
        self._arrivals = 0
        self._actions: dict[int, list[Callable[[], None]]] = {}
        self.sent = [0, 0, 0]
        self.charged = [0, 0, 0]
        self.passed: list[Any] = []
        self.seen: Counter[str] = Counter()
        self.tries: dict[int, Counter[str]] = {}
        self.ended = threading.Event()

    def at(self, arrival: int, action: Callable[[], None]) -> None:
        """Have a function called when so many batches have arrived, by the thread that brings the last of them."""
        self._actions.setdefault(arrival, []).append(action)

    def arrive(self, executor: str, circuits: Sequence[QuantumScript], cents: tuple[int, int], charged: bool) -> None:
        """A batch has reached an executor.

        Args:
            executor: its name.
            circuits: the batch.
            cents: what it charges for a circuit, and for a shot.
            charged: whether the batch is to be paid for.
        """
        shots = sum(map(shots_of, circuits))
        more = (shots, len(circuits), cents[0] * len(circuits) + cents[1] * shots)
        with guard, self._lock:
            self.sent = [a + b for a, b in zip(self.sent, more, strict=True)]
            if charged:
                self.charged = [a + b for a, b in zip(self.charged, more, strict=True)]
            for budget in self._budgets:
                self._look(budget)
            for circuit in circuits:
                self.tries.setdefault(number_of(circuit), Counter())[executor] += 1
            self._arrivals += 1
            actions = self._actions.pop(self._arrivals, ())
        for action in actions:
            action()

    def execute(self, executor: str, circuits: Iterable[QuantumScript]) -> list[Any]:
        """Results of circuits: the numbers of new shots, in bits."""
        with self._lock:
            return [self._executed(executor, circuit) for circuit in circuits]

    def execution(self, shot: int) -> Execution | None:
        """The execution that a shot is of; ``None`` if it was not executed."""
        with self._lock:
            if not 0 < shot < self._next:
                return None
            return self._executions[bisect.bisect_right(self._firsts, shot) - 1]

    def count(self, what: str) -> None:
        """Something has happened."""
        with self._lock:
            self.seen[what] += 1

    def _executed(self, executor: str, circuit: QuantumScript) -> Any:
        self._executions.append(Execution(number_of(circuit), executor, self._next))
        self._firsts.append(self._next)
        if not circuit.shots:
            return np.array(float(self._number(1)[0]))
        bins = [self._in_bits(shots) for shots in circuit.shots]
        return tuple(bins) if circuit.shots.has_partitioned_shots else bins[0]

    def _in_bits(self, shots: int) -> np.ndarray:
        return self._number(shots)[:, None] >> _PLACES & 1

    def _number(self, shots: int) -> np.ndarray:
        self._next += shots
        return np.arange(self._next - shots, self._next)

    def _look(self, budget: qexec.Budget) -> None:
        limits, used, reserved = budget.limits, budget.used, budget.reserved
        for index, scale in enumerate((1, 1, 100)):
            if (limit := limits[index]) is not None:
                most = round(scale * limit)
                if round(scale * (used[index] + reserved[index])) > most or self.charged[index] > most:
                    self.passed.append((budget, tuple(self.charged)))
