"""The operators and measurements that can be stored: PennyLane's own, by the names of their classes."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any, NamedTuple

import pennylane as qml
from pennylane.measurements import MeasurementProcess
from pennylane.operation import Operator
from pennylane.pytrees.pytrees import flatten_registrations

from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.structure import CONTROLLED

_ROOMS = tuple(
    f"pennylane.{room}" for room in ("ops.", "templates.", "measurements.", "allocation", "drawer.", "fourier.")
)
"""The parts of PennyLane in which they are."""

_LEFT_OUT = frozenset(
    {"CompositeOp", "ScalarSymbolicOp", "SymbolicOp"}  # what others are derived from
    | {"MeasurementTransform", "SampleMeasurement", "StateMeasurement"}
    | {"CollectedSubroutine", "SubroutineOp", "TrotterizedQfunc"}  # what they do is in a function
    | {"MERA", "MPS", "TTN", "OutPoly", "QuantumMonteCarlo", "TwoLocalSwapNetwork"}
    | {"BBQRAM", "HybridQRAM", "SelectOnlyQRAM", "ControlledQutritUnitary", "IQP"}  # PennyLane builds none of its parts
)

STATES = frozenset({qml.StatePrep, qml.AmplitudeEmbedding})
"""Operators that pad and normalize what they are given, and keep what came of it."""


@cache
def kinds() -> dict[str, type]:
    """The classes by name, as PennyLane has registered them; none is looked for by a name in a text."""
    return {kind.__qualname__: kind for kind in list(flatten_registrations) if _is_kind(kind)}


@cache
def names() -> dict[type, str]:
    """The names by class."""
    return {kind: name for name, kind in kinds().items()}


def kind_of(name: Any) -> type:
    """The class of a name.

    Raises:
        ConfigurationError: there is none.
    """
    kind = kinds().get(name) if isinstance(name, str) else None
    if kind is None:
        raise ConfigurationError(unknown("operator or measurement that can be read", f"{name!s:.60}", kinds()))
    return kind


def name_of(kind: type) -> str:
    """The name of a class.

    Raises:
        ConfigurationError: it cannot be stored.
    """
    name = names().get(kind)
    if name is None:
        raise ConfigurationError(
            f"{kind.__module__}.{kind.__qualname__} cannot be stored: only operators and measurements of PennyLane "
            "itself can, without functions in them, that PennyLane can build again. Decompose it into such ones first, "
            "with qml.decompose."
        )
    return name


class Style(NamedTuple):
    """How an operator is written.

    Attributes:
        name: the name of its class.
        plain: whether it is its parameters, wires and hyperparameters.
        controlled: whether it is its parameters and wires, and PennyLane works out the rest.
        template: whether it is one of PennyLane's templates.
    """

    name: str
    plain: bool
    controlled: bool
    template: bool


@cache
def style_of(kind: type) -> Style:
    """How the operators of a class are written.

    Raises:
        ConfigurationError: they cannot be stored.
    """
    template = kind.__module__.startswith("pennylane.templates.")
    return Style(name_of(kind), is_plain(kind) or kind in STATES, kind in CONTROLLED, template)


def is_plain(kind: Any) -> bool:
    """Whether an operator is built of its parameters, wires and hyperparameters."""
    flat: bool = kind._flatten is Operator._flatten
    return flat and kind._unflatten.__func__ is Operator._unflatten.__func__


def _is_kind(kind: type) -> bool:
    module, name = kind.__module__, kind.__qualname__
    return (
        issubclass(kind, Operator | MeasurementProcess)
        and module.startswith(_ROOMS)
        and getattr(sys.modules.get(module), name, None) is kind
        and name not in _LEFT_OUT
    )
