"""What backends charge."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from pennylane_qexec.errors import ConfigurationError, unknown


@dataclass(frozen=True)
class Cost:
    """What an executor's backend charges, in US dollars.

    Attributes:
        per_shot: dollars per shot.
        per_circuit: dollars per circuit, whatever its shots.
        per_second: dollars per second of running time.
    """

    per_shot: float = 0.0
    per_circuit: float = 0.0
    per_second: float = 0.0

    def __post_init__(self) -> None:
        if min(self.per_shot, self.per_circuit, self.per_second) < 0:
            raise ConfigurationError(f"{self!r} has a negative price: prices are US dollars, at least 0.")

    def of(self, circuits: int, shots: int, seconds: float) -> float:
        """The price of running ``circuits`` circuits with ``shots`` shots together, for ``seconds`` seconds."""
        return circuits * self.per_circuit + shots * self.per_shot + seconds * self.per_second


def cost_of(cost: Any) -> Cost:
    """The prices that a user's value means: ``None`` for nothing, a mapping for the arguments of :class:`Cost`.

    Raises:
        ConfigurationError: the value is no price.
    """
    if cost is None or isinstance(cost, Cost):
        return cost or Cost()
    known = [argument.name for argument in fields(Cost)]
    if not isinstance(cost, Mapping):
        raise ConfigurationError(
            f"cost={cost!r} is no price: give Cost(per_shot=..., per_circuit=..., per_second=...)."
        )
    for argument in cost:
        if argument not in known:
            raise ConfigurationError(unknown("argument of Cost", argument, known))
    return Cost(**cost)
