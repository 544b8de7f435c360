"""What to say when a program asks for something else than its run has recorded."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from pennylane.tape import QuantumScript

from pennylane_qexec.errors import ConfigurationError, ReplayMismatchError
from pennylane_qexec.job import Job
from pennylane_qexec.store import Store, StoredJob
from pennylane_qexec.written import circuit_of

_LONGEST = 120


def mismatch(store: Store, name: str, recorded: StoredJob, asked: Job) -> ReplayMismatchError:
    """The error of a run whose program asks for a circuit that is not the next of those recorded.

    Args:
        store: where the run is.
        name: of the run.
        recorded: the first circuit that was not asked for.
        asked: what was asked for.
    """
    text = store.circuits([recorded.circuit]).get(recorded.circuit, "")
    return ReplayMismatchError(name, recorded.number + 1, _difference(text, asked))


def _difference(text: str, asked: Job) -> str:
    try:
        recorded = circuit_of(text)
    except ConfigurationError:
        return f"a circuit of {len(asked.circuit.operations)} operations in place of one that cannot be shown"
    for what, before, now in _parts(recorded, asked.circuit):
        if before != now:
            return f"{what} is {now} in place of {before}"
    return f"{asked.call.method!r} is asked of it" if asked.call.method != "execute" else "it is asked for once more"


def _parts(recorded: QuantumScript, asked: QuantumScript) -> list[tuple[str, str, str]]:
    """What may differ of two circuits, in words."""
    parts = [
        *_pairs("operation", recorded.operations, asked.operations),
        *_pairs("measurement", recorded.measurements, asked.measurements),
    ]
    return [*parts, ("shots", _shots(recorded), _shots(asked))]


def _pairs(what: str, before: Sequence[Any], now: Sequence[Any]) -> list[tuple[str, str, str]]:
    return [
        (f"{what} {index + 1}", _shown(one), _shown(other))
        for index, (one, other) in enumerate(zip_longest(before, now))
    ]


def _shown(part: Any) -> str:
    if part is None:
        return "nothing"
    text = repr(part)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _shots(circuit: QuantumScript) -> str:
    return str(circuit.shots.total_shots or "none")
