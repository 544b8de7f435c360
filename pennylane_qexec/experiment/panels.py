"""What a picture of results shows: one panel for each circuit, read from any shape that results have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from pennylane_qexec.errors import ConfigurationError

if TYPE_CHECKING:
    from pennylane_qexec.experiment.tasks import Record

OTHERS = "others"


@dataclass(frozen=True)
class Panel:
    """What there is to see of one circuit.

    Attributes:
        circuit: its number, from 0.
        counts: how often each outcome was seen, for each label: a backend's full name, or ``""`` for merged counts.
        scores: a number for each label, as a distance.
    """

    circuit: int
    counts: dict[str, Mapping[str, int]] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)


def panels(data: Any) -> list[Panel]:
    """Read what a collector returns.

    Args:
        data: counts by outcome, or a number, or lists of them (one for each circuit), inside any number of mappings by
            provider, backend, or both. What is ``None`` is left out.

    Raises:
        ConfigurationError: there is something else in it, or nothing.
    """
    found: dict[int, Panel] = {}
    for labels, circuit, leaf in _leaves(data, (), 0):
        _put(found, circuit, "/".join(labels), leaf)
    return _in_order(found)


def panels_of_records(records: Iterable[Record]) -> list[Panel]:
    """What backends returned for each circuit; counts of several jobs of one backend are added up.

    Raises:
        ConfigurationError: a result is neither counts nor a number, or there is none.
    """
    found: dict[int, Panel] = {}
    for record in records:
        for labels, _, leaf in _leaves(record.result, (record.place,), record.circuit):
            _put(found, record.circuit, "/".join(labels), leaf)
    return _in_order(found)


def shares(counts: Mapping[str, Mapping[str, int]], most: int) -> tuple[list[str], dict[str, list[float]]]:
    """The outcomes to show, in order, and each label's share of the shots for them, in percent.

    Args:
        counts: how often each outcome was seen, for each label.
        most: how many outcomes to show, the most frequent ones; the rest are summed up as ``"others"``.
    """
    fractions = {label: _fractions(of) for label, of in counts.items()}
    weight: dict[str, float] = {}
    for of in fractions.values():
        for outcome, share in of.items():
            weight[outcome] = weight.get(outcome, 0.0) + share
    ranked = sorted(weight, key=lambda outcome: (-weight[outcome], outcome))
    shown = sorted(ranked if len(ranked) <= most + 1 else ranked[:most])
    rest = len(ranked) > len(shown)
    table = {}
    for label, of in fractions.items():
        row = [of.get(outcome, 0.0) for outcome in shown]
        table[label] = [*row, max(0.0, sum(of.values()) - sum(row))] if rest else row
    return ([*shown, OTHERS] if rest else shown), table


def _put(found: dict[int, Panel], circuit: int, label: str, leaf: Any) -> None:
    panel = found.setdefault(circuit, Panel(circuit))
    if not isinstance(leaf, Mapping):
        panel.scores[label] = float(leaf)
        return
    total = Counter(panel.counts.get(label, {}))
    total.update(leaf)
    panel.counts[label] = total


def _in_order(found: Mapping[int, Panel]) -> list[Panel]:
    if not found:
        raise ConfigurationError("there is nothing to draw: no circuit has a result. Look at the collector's errors.")
    return [found[circuit] for circuit in sorted(found)]


def _fractions(counts: Mapping[str, int]) -> dict[str, float]:
    total = sum(counts.values())
    return {outcome: 100 * count / total for outcome, count in counts.items()} if total else {}


def _leaves(data: Any, labels: tuple[str, ...], circuit: int) -> Iterator[tuple[tuple[str, ...], int, Any]]:
    if data is None:
        return
    if isinstance(data, np.ndarray) and data.ndim == 0:
        data = data.item()
    if isinstance(data, Real) and not isinstance(data, bool):
        yield labels, circuit, data
    elif isinstance(data, Mapping):
        if data and all(isinstance(value, Integral) for value in data.values()):
            yield labels, circuit, data
            return
        for label, inside in data.items():
            yield from _leaves(inside, (*labels, str(label)), circuit)
    elif isinstance(data, list):
        for number, inside in enumerate(data):
            yield from _leaves(inside, labels, number)
    else:
        where = f" of {'/'.join(labels)}" if labels else ""
        raise ConfigurationError(
            f"a result{where} of the type {type(data).__name__} cannot be drawn as counts: give counts by outcome, "
            "as {'00': 10, '11': 14}, or one number for each backend."
        )
