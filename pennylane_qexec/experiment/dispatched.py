"""The jobs of a dispatch, and what users write for circuits and shots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

from pennylane_qexec import programs
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.scrubbing import know_named, scrub
from pennylane_qexec.shown import even_incomplete


@dataclass(frozen=True, eq=False)
class DispatchJob:
    """Circuits for one backend.

    Attributes:
        provider_name: the provider.
        backend_name: one of its backends.
        circuits: the circuits, as they were given.
        shots: a number for each circuit; ``None`` for the shots that the circuit brings along.
        config: options of the backend for this job, such as ``{"seed": 7}``.
        numbers: the number that each circuit has in the dispatch.
    """

    provider_name: str
    backend_name: str
    circuits: tuple[Any, ...]
    shots: tuple[int | None, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    numbers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        know_named(self.config)

    @property
    def place(self) -> str:
        """The backend's full name, ``"provider/backend"``."""
        return f"{self.provider_name}/{self.backend_name}"

    @property
    def total_shots(self) -> int:
        """The shots of all its circuits together, as far as they are given here."""
        return sum(shots or 0 for shots in self.shots)

    @even_incomplete
    def __repr__(self) -> str:
        config = f", config={scrub(repr(dict(self.config)))}" if self.config else ""
        return f"<DispatchJob of {number_of(self.circuits)} on {self.place}, {in_words(self.shots)}{config}>"


def circuits_of(circuits: Any) -> tuple[list[Any], bool]:
    """The circuits that a user gives, and whether they are a list.

    Raises:
        ConfigurationError: it is an empty list.
    """
    given, many = programs.one_or_many(circuits)
    if not given:
        raise ConfigurationError(f"circuits={circuits!r} has no circuit: give one, or a list of them.")
    return given, many


def shots_of(shots: Any, circuits: int) -> list[int | None]:
    """A number of shots for each circuit.

    Raises:
        ConfigurationError: it is none: no whole number of at least 1, or not one for each circuit.
    """
    several = isinstance(shots, Iterable) and not isinstance(shots, str)
    each = list(shots) if several else [shots] * circuits
    if len(each) != circuits:
        raise ConfigurationError(f"shots={shots!r} has {len(each)} numbers for {circuits} circuits: give one for each.")
    for number in each:
        if number is not None and (isinstance(number, bool) or not isinstance(number, Integral) or number < 1):
            raise ConfigurationError(f"shots={shots!r} must be a whole number of at least 1, or a list of them.")
    return [None if number is None else int(number) for number in each]


def number_of(circuits: Any) -> str:
    """How many circuits, in words."""
    return f"{len(circuits)} circuit{'s'[: len(circuits) != 1]}"


def in_words(shots: tuple[int | None, ...]) -> str:
    """How many shots each circuit has, in words."""
    different = sorted({number or 0 for number in shots})
    if len(different) > 1:
        return f"{different[0] or 'their own'} to {different[-1]:,} shots"
    return f"{different[0]:,} shots" if different and different[0] else "their own shots"
