"""In which form the shares of a circuit are run, so that what came back can be put together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pennylane as qml
from pennylane.measurements import ClassicalShadowMP
from pennylane.operation import Operator
from pennylane.ops import MidMeasure
from pennylane.tape import QuantumScript

from pennylane_qexec.errors import PolicyError, QExecError
from pennylane_qexec.job import Outcome, Result
from pennylane_qexec.policies import merges
from pennylane_qexec.programs import Program
from pennylane_qexec.programs.bits import Order

Part = tuple[Result, ...]
"""What the circuits of one share returned."""


class ShotsError(QExecError):
    """A backend returned results of more or fewer shots than it was asked for."""


def with_shots(circuit: QuantumScript, shots: int | None) -> QuantumScript:
    """The circuit with shots, of the same operators: PennyLane's ``copy`` would copy each of them."""
    return QuantumScript(circuit.operations, circuit.measurements, shots=shots)


class Form(ABC):
    """How a circuit is run."""

    @abstractmethod
    def circuits(self, shots: int | None, share: int) -> list[QuantumScript]:
        """What to run for one share of the circuit's shots.

        Args:
            shots: the share's shots; ``None`` for an analytic circuit.
            share: number of the share; classical shadows of different shares draw different recipes.
        """

    @abstractmethod
    def joined(self, parts: Sequence[Part]) -> Result:
        """The result of one or more shares together: exactly that of one backend with all their shots.

        Raises:
            PolicyError: results of this circuit cannot be put together.
        """

    def check(self, part: Part, shots: int | None) -> None:  # noqa: B027
        """See that what a share returned are results of so many shots.

        Raises:
            ShotsError: they are not.
        """


class Counted(Form):
    """A circuit of which outcomes are counted.

    Args:
        program: the circuit.
        order: how bit strings are written.
    """

    def __init__(self, program: Program, order: Order) -> None:
        assert program.bits is not None
        self._circuit, self._bits, self._order = program.circuit, program.bits, order
        self._with_shots: dict[int | None, QuantumScript] = {}
        (counts,) = program.circuit.measurements
        self._measured = counts.mv if counts.mv is not None else counts.wires
        self._discards = loses_shots(self._circuit)

    def circuits(self, shots: int | None, share: int) -> list[QuantumScript]:
        if shots not in self._with_shots:
            self._with_shots[shots] = with_shots(self._circuit, shots)
        return [self._with_shots[shots]]

    def joined(self, parts: Sequence[Part]) -> dict[str, int]:
        total: Counter[str] = Counter()
        for (counts,) in parts:
            total.update({outcome: int(number) for outcome, number in counts.items() if number})
        return dict(sorted(self._bits.write(total, self._order).items()))

    def check(self, part: Part, shots: int | None) -> None:
        counts, width = part[0], len(self._measured)
        if not isinstance(counts, Mapping):
            raise ShotsError(f"{counts!r} came back, and counts by outcome were asked for")
        for outcome, number in counts.items():
            if len(str(outcome)) != width or set(str(outcome)) - {"0", "1"}:
                raise ShotsError(f"the outcome {outcome!r} came back, and outcomes have {width} bits, each 0 or 1")
            if not number >= 0 or number != int(number):
                raise ShotsError(f"the outcome {outcome!r} came back {number!r} times, which is no whole number")
        counted = int(sum(counts.values()))
        if counted > (shots or 0) or (counted < (shots or 0) and not self._discards):
            raise ShotsError(f"{counted} shots came back of {shots} asked for, so the result is not used")


def loses_shots(circuit: QuantumScript) -> bool:
    """Whether fewer shots may come back of a circuit than it is run with."""
    return any(map(_discards, circuit.operations))


def _discards(operation: Operator) -> bool:
    """Whether shots may be lost by an operation: that is what it is for."""
    return isinstance(operation, qml.Projector) or (
        isinstance(operation, MidMeasure) and operation.postselect is not None
    )


class Evaluated(Form):
    """A circuit whose measurements are evaluated on the samples of all its shares.

    Args:
        plan: how shares are run and joined.
    """

    def __init__(self, plan: merges.Plan) -> None:
        self._plan = plan

    def circuits(self, shots: int | None, share: int) -> list[QuantumScript]:
        return self._plan.share(share, shots)

    def joined(self, parts: Sequence[Part]) -> Result:
        return self._plan.join([Outcome(part, "", 0) for part in parts])

    def check(self, part: Part, shots: int | None) -> None:
        for circuit, samples in zip(self._plan.circuits, part, strict=True):
            axis = 1 if isinstance(circuit.measurements[0], ClassicalShadowMP) else 0
            returned = np.shape(np.atleast_1d(samples))[axis]
            if returned != shots and not loses_shots(circuit):
                raise ShotsError(f"{returned} shots came back of {shots} asked for, so the result is not used")


class Whole(Form):
    """A circuit whose results cannot be put together.

    Args:
        program: the circuit.
    """

    def __init__(self, program: Program) -> None:
        self._circuit = program.circuit

    def circuits(self, shots: int | None, share: int) -> list[QuantumScript]:
        return [with_shots(self._circuit, shots)]

    def joined(self, parts: Sequence[Part]) -> Result:
        if len(parts) > 1:
            raise PolicyError(
                f"results of {self._circuit.measurements} cannot be put together: merge 'per_backend', or send the "
                "circuit to one backend."
            )
        return parts[0][0]


def form_of(program: Program, shots: int | None, order: Order) -> Form:
    """The form in which a circuit is run.

    Args:
        program: the circuit.
        shots: all its shots; ``None`` if it is analytic.
        order: how bit strings are written.
    """
    if program.bits is not None:
        return Counted(program, order)
    plan = merges.pooled.plan(program.circuit.copy(shots=shots)) if shots else None
    return Whole(program) if plan is None else Evaluated(plan)
