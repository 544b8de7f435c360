"""A circuit of any framework as a PennyLane circuit, built operation by operation.

It keeps the order in which outcomes are written.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Literal
from uuid import uuid4

import pennylane as qml
from pennylane.measurements import CountsMP, MeasurementValue
from pennylane.operation import Operator
from pennylane.ops import Conditional, MidMeasure
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.errors import ConfigurationError, unknown

MOST_BITS = 12
"""The most measurements that a condition may depend on: all their outcomes are looked at."""

MOST_OPERATIONS = 200_000
"""The most operations of a circuit, those in definitions and loops counted as often as they occur."""


class BeyondPennyLaneError(ConfigurationError):
    """A circuit does something that PennyLane's circuits cannot, and that a backend of its own framework may.

    Args:
        message: what is wrong, and what to do about it.
        reason: what it does, as a noun such as ``"a 'while_loop'"``.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (str(self), self.reason)


@dataclass(frozen=True)
class IsOneOf:
    """Whether outcomes are among some: what a condition computes of its measurements, as something to pickle."""

    rows: frozenset[tuple[int, ...]]

    def __call__(self, *outcomes: int) -> bool:
        return tuple(map(int, outcomes)) in self.rows


@dataclass(frozen=True)
class _Condition:
    measurements: tuple[MidMeasure, ...]
    rows: frozenset[tuple[int, ...]]

    def value(self) -> MeasurementValue:
        plain = self.rows == {(1,)}
        return MeasurementValue(list(self.measurements), None if plain else IsOneOf(self.rows))


class CircuitBuilder:
    """Takes what a circuit does in order, and tells final measurements from those in the middle.

    A measurement is final unless something happens to its wire afterwards, or something depends on its bit. Resets are
    made when the wire is used again. Operators must not be recorded by anybody while they are made and given here.
    """

    def __init__(self) -> None:
        self._operations: list[Operator] = []
        self._touched: set[int] = set()
        self._waiting: set[int] = set()
        self._resets: set[int] = set()
        self._bits: dict[Hashable, int | MidMeasure] = {}
        self._condition: _Condition | None = None
        self._prepares = False
        self._spent = 0

    @property
    def measures(self) -> bool:
        """Whether some bit has been measured."""
        return bool(self._bits)

    def can_prepare(self, wires: Iterable[int]) -> bool:
        """Whether a state of wires can be prepared at once: nothing has happened to them, and this is the first one."""
        return self._condition is None and not self._prepares and self._touched.isdisjoint(wires)

    def prepare(self, operation: Operator, wires: Sequence[int]) -> None:
        """Write down the preparation of a state, at the beginning: simulators know it only there."""
        self._prepares = True
        self._touched.update(wires)
        self._operations.insert(0, operation)

    def apply(self, operation: Operator, wires: Sequence[int]) -> None:
        """Write down an operation, and the wires that it acts on."""
        if not self._waiting.isdisjoint(wires):
            self._settle(wires)
        self._touched.update(wires)
        if self._condition is not None:
            operation = Conditional(self._condition.value(), operation)
        self._operations.append(operation)
        self.spend(1)

    def spend(self, operations: int) -> None:
        """Count operations, or what takes as long to write down as so many.

        Raises:
            ConfigurationError: it is too much.
        """
        self._spent += operations
        if self._spent > MOST_OPERATIONS:
            raise ConfigurationError(
                f"a circuit of more than {MOST_OPERATIONS:,} operations, those of definitions and loops as often as "
                "they occur: give it in parts."
            )

    def barrier(self, wires: Sequence[int]) -> None:
        """Write down a barrier between what has happened on wires and what follows."""
        used = [wire for wire in wires if wire in self._touched and wire not in self._waiting]
        if used and self._condition is None:
            self._operations.append(qml.Barrier(used))

    def measure(self, wire: int, bit: Hashable) -> None:
        """Measure a wire into a bit, in place of whatever was measured into it before."""
        self._refuse_if_conditional("measurement")
        if wire in self._resets:
            self._settle((wire,))
        self._touched.add(wire)
        self._waiting.add(wire)
        self._bits[bit] = wire

    def reset(self, wire: int) -> None:
        """Bring a wire to 0."""
        self._refuse_if_conditional("reset")
        if wire in self._touched:
            self._resets.add(wire)
            self._waiting.add(wire)

    @contextmanager
    def only_if(self, bits: Sequence[Hashable], is_met: Callable[[tuple[int, ...]], bool]) -> Iterator[bool]:
        """What is written down within happens only if bits have certain values. Bits never measured are 0.

        Args:
            bits: the ``B`` bits that the condition depends on.
            is_met: whether it holds for ``B`` values.

        Yields:
            Whether it can hold at all; if not, there is nothing to write down.

        Raises:
            ConfigurationError: it depends on too many measurements.
        """
        outer, self._condition = self._condition, None
        read = [self._measurement(bit) if bit in self._bits else None for bit in bits]
        known = outer.measurements if outer else ()
        measurements = (*known, *dict.fromkeys(one for one in read if one is not None and one not in known))
        if len(measurements) > MOST_BITS:
            raise BeyondPennyLaneError(
                f"a condition on {len(measurements)} measured bits: at most {MOST_BITS} are possible. Take fewer bits.",
                f"a condition on {len(measurements)} measured bits",
            )
        places = [None if one is None else measurements.index(one) for one in read]
        rows = [
            row
            for row in product((0, 1), repeat=len(measurements))
            if (outer is None or row[: len(known)] in outer.rows)
            and is_met(tuple(0 if place is None else row[place] for place in places))
        ]
        always = len(rows) == 2 ** len(measurements)
        self._condition = None if always else _Condition(measurements, frozenset(rows))
        try:
            yield bool(rows)
        finally:
            self._condition = outer

    def finished(self, bits: Iterable[Hashable]) -> tuple[QuantumScript, dict[Hashable, int]]:
        """The circuit, which counts bits that were measured.

        Args:
            bits: bits in an order; those that were not measured are left out.

        Returns:
            The circuit, and for each bit that was measured its place in the outcomes.

        Raises:
            ConfigurationError: none of the bits was measured.
        """
        wanted = [bit for bit in bits if bit in self._bits]
        middle = any(isinstance(self._bits[bit], MidMeasure) for bit in wanted)
        sources = [self._measurement(bit) if middle else self._bits[bit] for bit in wanted]
        if not sources:
            raise ConfigurationError("a circuit without qubits has nothing that can be counted. Give it some.")
        order = {source: place for place, source in enumerate(dict.fromkeys(sources))}
        while self._operations and isinstance(self._operations[-1], qml.Barrier):
            self._operations.pop()
        circuit = QuantumScript(self._operations, [_counts(list(order))])
        return circuit, {bit: order[source] for bit, source in zip(wanted, sources, strict=True)}

    def _measurement(self, bit: Hashable) -> MidMeasure:
        """The measurement of a bit, which is in the middle from now on."""
        source = self._bits[bit]
        if isinstance(source, MidMeasure):
            return source
        self._settle((source,))
        return self._measurement(bit)

    def _settle(self, wires: Iterable[int]) -> None:
        """Make measurements and resets that wait happen now."""
        for wire in wires:
            if wire in self._waiting:
                measurement = MidMeasure(Wires(wire), reset=wire in self._resets, meas_uid=str(uuid4()))
                self._operations.append(measurement)
                self._waiting.discard(wire)
                self._resets.discard(wire)
                self._bits.update({bit: measurement for bit, source in self._bits.items() if source == wire})

    def _refuse_if_conditional(self, what: str) -> None:
        if self._condition is not None:
            raise BeyondPennyLaneError(
                f"a {what} within an if: only gates can depend on bits here. Take the {what} out of the if.",
                f"a {what} within an if",
            )


def _counts(sources: Sequence[int | MidMeasure]) -> CountsMP:
    if any(isinstance(source, MidMeasure) for source in sources):
        return CountsMP([MeasurementValue([source]) for source in sources])
    return CountsMP(wires=Wires(list(sources)))


Order = Literal["native", "little", "big"]

_ORDERS = ("big", "little", "native")


@dataclass(frozen=True)
class Bits:
    """Where the bits of a circuit stand in the outcomes that PennyLane counts, and how its framework writes them.

    Attributes:
        registers: for each register, in the order of their declaration, and each of its bits from bit 0 on: the place
            of the bit in an outcome of PennyLane's; ``None`` for a bit that is always 0.
        native: what the framework writes: bit 0 last (``"little"``) or first (``"big"``).
        separator: what the framework writes between registers.
    """

    registers: tuple[tuple[int | None, ...], ...]
    native: Literal["little", "big"]
    separator: str = ""

    def write(self, counts: Mapping[str, int], order: Order = "native") -> dict[str, int]:
        """Write the outcomes of a circuit as its framework does, or all circuits' alike.

        Args:
            counts: how often each outcome came, by the strings that PennyLane's ``counts`` has for the circuit of the
                program: a character for each bit that is measured.
            order: ``"native"`` as the framework writes them; ``"little"`` as one string with bit 0 last; ``"big"`` as
                one string with bit 0 first.

        Returns:
            The same counts by strings in that order. What differs in no bit that is written is added up.

        Raises:
            ConfigurationError: there is no such order.
        """
        key = self._writer(order)
        written: dict[str, int] = {}
        for outcome, times in counts.items():
            name = key(str(outcome))
            written[name] = written.get(name, 0) + int(times)
        return written

    def _writer(self, order: str) -> Callable[[str], str]:
        """What writes one outcome. It is made once: to write the commonest kinds of outcomes takes a slice."""
        if order not in _ORDERS:
            raise ConfigurationError(unknown("order of bits", order, _ORDERS))
        direction, separator = (self.native, self.separator) if order == "native" else (order, "")
        step = 1 if direction == "big" else -1
        groups = [register[::step] for register in self.registers[::step]]
        places = [place for group in groups for place in group]
        if len(groups) < 2 or not separator:
            if places == list(range(len(places))):
                return lambda outcome: outcome[: len(places)]
            groups = [tuple(places)]

        def write(outcome: str) -> str:
            return separator.join(
                ["".join(["0" if place is None else outcome[place] for place in group]) for group in groups]
            )

        return write


@dataclass(frozen=True, eq=False)
class Program:
    """A circuit as every executor takes it, and how its outcomes are written.

    Attributes:
        circuit: operations with numbers, and what is measured; without shots. If ``bits`` is given, it measures one
            thing: counts of wires or of mid-circuit measurements, with a character of the outcomes for each.
        framework: where it comes from: ``"pennylane"``, ``"qiskit"``, ``"cirq"``, ``"openqasm2"``, ``"openqasm3"``, or
            qBraid's word for another one.
        bits: how its outcomes are written; ``None`` if its results are PennyLane's own, such as expectation values.
        shots: the shots that the circuit brings along; ``None`` if it has none.
        name: the circuit's or the function's name, if it has one.
    """

    circuit: QuantumScript
    framework: str
    bits: Bits | None
    shots: int | None = None
    name: str = ""
