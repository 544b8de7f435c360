"""What to say when a program asks for something else than its run has recorded."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from pennylane.tape import QuantumScript

from pennylane_qexec.errors import ConfigurationError, ReplayMismatchError
from pennylane_qexec.job import Job
from pennylane_qexec.store import Store, StoredJob
from pennylane_qexec.written import circuit_of, circuit_text

_LONGEST = 120
_BEFORE = 40


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
        before, now = json.loads(text), json.loads(circuit_text(asked.circuit))
    except (ConfigurationError, ValueError):
        return f"a circuit of {len(asked.circuit.operations)} operations in place of one that cannot be shown"
    for what, singular in (("operations", "operation"), ("measurements", "measurement")):
        for index, (one, other) in enumerate(zip_longest(before[what], now[what])):
            if one != other:
                shown = _both(_part(recorded, what, index), _part(asked.circuit, what, index), one, other)
                return f"{singular} {index + 1} is {shown}{_hint(other)}"
    for what, words in (("shots", "the shots are"), ("trainable", "the trainable parameters are")):
        if before[what] != now[what]:
            return f"{words} {json.dumps(now[what])} in place of {json.dumps(before[what])}"
    method = asked.call.method
    return f"{method!r} is asked of it" if method != "execute" else "it is asked for once more, or of another cluster"


def _part(circuit: QuantumScript, what: str, index: int) -> Any:
    parts: Sequence[Any] = getattr(circuit, what)
    return parts[index] if index < len(parts) else None


def _both(before: Any, now: Any, form_before: Any, form_now: Any) -> str:
    """Two parts of circuits: as PennyLane shows them, if the difference is seen there."""
    texts = ["nothing" if part is None else repr(part) for part in (before, now)]
    if texts[0] == texts[1]:
        texts = [json.dumps(form) for form in (form_before, form_now)]
    start = next((place for place, pair in enumerate(zip(*texts, strict=False)) if pair[0] != pair[1]), 0)
    start = max(0, start - _BEFORE) if max(map(len, texts)) > _LONGEST else 0
    shown = [_cut(text, start) for text in texts]
    return f"{shown[1]} in place of {shown[0]}"


def _cut(text: str, start: int) -> str:
    end = start + _LONGEST
    return f"{'...' * bool(start)}{text[start:end]}{'...' * (end < len(text))}"


def _hint(form: Any) -> str:
    drawn = isinstance(form, dict) and "Shadow" in str(form.get("name", ""))
    return " (a classical shadow draws a seed of its own, unless it is given one)" if drawn else ""
