"""A circuit of any framework as a PennyLane circuit, with the order in which its outcomes are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from pennylane.tape import QuantumScript

from pennylane_qexec.errors import ConfigurationError, unknown

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
