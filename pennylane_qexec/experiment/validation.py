"""Checks of the records in a file, which others may have changed: whatever they say would be merged."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from pennylane_qexec.circuits import frameworks
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.experiment.dispatch import Dispatch
from pennylane_qexec.experiment.records import Record
from pennylane_qexec.experiment.tasks import loses_shots
from pennylane_qexec.job import JobState

_Test = Callable[[Any], bool]


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 0


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


_TESTS: Mapping[str, _Test] = {
    **dict.fromkeys(("job", "circuit", "shots", "attempt"), _is_whole),
    **dict.fromkeys(("provider", "backend"), _is_text),
    **dict.fromkeys(("submitted", "started", "finished", "seconds", "cost"), _is_amount),
    **dict.fromkeys(("error", "instead_of"), _is_text_or_none),
    "state": {str(state) for state in JobState}.__contains__,
}


def checked(written: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The attributes of a record, but for its result, as a file has them.

    Args:
        written: the record in the file.
        number: its place among the records, from 0.

    Raises:
        ConfigurationError: one of them cannot be; it is named.
        KeyError: one is missing.
    """
    values = {field.name: written[field.name] for field in fields(Record) if field.name in written}
    required = ("job", "circuit", "provider", "backend", "shots", "state", "result")
    for name in (*required, *values):
        if name in _TESTS and not (isinstance(written[name], str | int | float | None) and _TESTS[name](written[name])):
            raise ConfigurationError(
                f"{_of(written, number)} has {name}={written[name]!r:.80}, which cannot be. {_ADVICE}"
            )
    return values


def check_results(records: Sequence[Record], dispatch: Dispatch | None) -> None:
    """Refuse what cannot have come back, as from backends.

    Args:
        records: the records of a file.
        dispatch: what was sent, if it is known.

    Raises:
        ConfigurationError: counts are no whole numbers, or more or fewer than the shots, or of other bits than the
            circuit measures; or there is no result.
    """
    given = {} if dispatch is None else dict(_circuits(dispatch))
    for number, record in enumerate(records):
        if record.state is not JobState.DONE:
            continue
        why = "there is none" if record.result is None else _objection(record, given)
        if why:
            of = f"record {number} of these saved results, circuit {record.circuit} on {record.place!r:.80},"
            raise ConfigurationError(f"the result of {of} cannot be: {why}. {_ADVICE}")


_ADVICE = "Somebody has changed the file, or it is damaged: give it as save() has written it."


def _objection(record: Record, given: Mapping[int, Any]) -> str:
    counts, circuit = record.result, given.get(record.circuit)
    program = None if circuit is None else frameworks.read(circuit)
    bits = None if program is None else program.bits
    if not isinstance(counts, Mapping):
        return "" if bits is None else f"it is {counts!r:.80}, and its circuit has its outcomes counted"
    for outcome, number in counts.items():
        if not _is_whole(number):
            return f"the outcome {outcome!r:.80} came back {number!r:.80} times, which is no whole number"
    texts = [outcome for outcome in counts if isinstance(outcome, str)]
    if len(texts) not in (0, len(counts)) or len({(len(text), text.count(" ")) for text in texts}) > 1:
        return "its outcomes are of different kinds"
    width = None if bits is None else sum(map(len, bits.registers))
    for text in texts:
        if width is not None and (len(text.replace(" ", "")) != width or set(text) - set("01 ")):
            return f"the outcome {text!r:.80} came back, and its circuit measures {width} bits"
    total = sum(map(int, counts.values()))
    keeps_shots = program is not None and not loses_shots(program.circuit)
    if total > record.shots or (total < record.shots and keeps_shots):
        return f"{total} shots came back of {record.shots} asked for"
    return ""


def _circuits(dispatch: Dispatch) -> list[tuple[int, Any]]:
    return [pair for job in dispatch for pair in zip(job.numbers, job.circuits, strict=True)]


def _of(written: Mapping[str, Any], number: int) -> str:
    places = [str(written.get(name))[:80] for name in ("provider", "backend")]
    return f"record {number} of these saved results, circuit {written.get('circuit')!r:.80} on {'/'.join(places)!r},"
