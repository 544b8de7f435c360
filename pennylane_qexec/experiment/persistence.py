"""Collectors as files: JSON that is readable without this package, and safe to load."""

from __future__ import annotations

import json
import math
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from pennylane_qexec.circuits import frameworks
from pennylane_qexec.circuits.results import loses_shots
from pennylane_qexec.circuits.serialization.results import result_form, result_value
from pennylane_qexec.concurrency.files import content_of
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.experiment.dispatch import Dispatch
from pennylane_qexec.experiment.tasks import Record
from pennylane_qexec.job import JobState

VERSION = 1
"""Of the documents that are written."""

_ADVICE = "Somebody has changed the file, or it is damaged: give it as save() has written it."


def document_of(
    records: list[Record], dispatch: Dispatch | None, merge: tuple[str, Any], merged: tuple[Any] | None, many: bool
) -> dict[str, Any]:
    """An experiment as plain data.

    Args:
        records: what has become of each circuit of each job.
        dispatch: what was sent where.
        merge: the name of the merge, and its data.
        merged: the merged results, in a tuple, if there are any.
        many: whether the user gave a list of circuits.

    Returns:
        A mapping with ``version``, ``many``, ``dispatch`` (``None`` if OpenQASM cannot say what its circuits measure),
        ``merge``, ``merge_data`` (if it is plain data), ``records`` and, if results were merged to plain data,
        ``merged``.
    """
    document: dict[str, Any] = {
        "version": VERSION,
        "many": many,
        "dispatch": _dispatch(dispatch),
        "merge": merge[0],
        "merge_data": encoded(merge[1]) if is_plain(merge[1]) else None,
        "records": [
            {**asdict(record), "state": str(record.state), "result": encoded(record.result)} for record in records
        ],
    }
    if merged is not None and is_plain(merged[0]):
        document["merged"] = encoded(merged[0])
    return document


def write(document: Mapping[str, Any], path: Path) -> None:
    """Write a document; the file is there as a whole or not at all.

    Raises:
        ConfigurationError: it cannot be written there.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(json.dumps(document, indent=1), encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{str(path)!r} cannot be written ({error}): give another path.") from error
    finally:
        draft.unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """The document that :func:`write` has written.

    Raises:
        ConfigurationError: there is no such file, it is something else, or of a later version.
    """
    try:
        document = json.loads(content_of(path).decode("utf-8"))
    except ConfigurationError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{str(path)!r} cannot be read as saved results ({error}).") from error
    if not isinstance(document, dict) or not isinstance(document.get("records"), list):
        raise ConfigurationError(f"{str(path)!r} holds no saved results: give a file that save() has written.")
    version = document.get("version", VERSION)
    if not isinstance(version, int) or version > VERSION:
        raise ConfigurationError(
            f"{str(path)!r} has version {version!r}, and {VERSION} is the latest known: install a later "
            "pennylane-qexec."
        )
    return document


def records_of(document: Mapping[str, Any]) -> list[Record]:
    """The records of a document.

    Raises:
        ConfigurationError: there is something else among them.
    """
    try:
        return [_record(saved, number) for number, saved in enumerate(document["records"])]
    except ConfigurationError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"these are no saved results ({error!r}): give a file that save() has written."
        ) from error


def _record(saved: Mapping[str, Any], number: int) -> Record:
    values = _checked(saved, number)
    return Record(**{**values, "state": JobState(values["state"]), "result": decoded(values["result"])})


def dispatch_of(document: Mapping[str, Any]) -> Dispatch | None:
    """The dispatch of a document; ``None`` if it has none."""
    return None if document.get("dispatch") is None else Dispatch.from_dict(document["dispatch"])


def is_plain(value: Any) -> bool:
    """Whether a value can be written: text, numbers, arrays, and lists, tuples and mappings of these."""
    try:
        encoded(value)
    except ConfigurationError:
        return False
    return True


def encoded(value: Any) -> Any:
    """A value as JSON has it: counts of bits as they are, everything else as ``circuits.serialization`` has it.

    Raises:
        ConfigurationError: it cannot be written.
    """
    if _is_counts(value) and all(type(number) is int for number in value.values()):
        return dict(value)
    if isinstance(value, list):
        return [encoded(each) for each in value]
    if isinstance(value, dict):
        return {"dict": [[result_form(key), encoded(each)] for key, each in value.items()]}
    return result_form(value)


def decoded(form: Any) -> Any:
    """What :func:`encoded` has made JSON of.

    Raises:
        ConfigurationError: it is something else.
    """
    try:
        return _decoded(form)
    except (TypeError, ValueError, KeyError, OverflowError, RecursionError) as error:
        if isinstance(error, ConfigurationError):
            raise
        raise ConfigurationError(f"{form!r:.80} is no saved value ({error!r:.200}): the file is damaged.") from error


def _decoded(form: Any) -> Any:
    if isinstance(form, list):
        return [_decoded(each) for each in form]
    if _is_counts(form):
        return form
    if isinstance(form, dict) and set(form) == {"dict"} and isinstance(form["dict"], list):
        return {result_value(key): _decoded(each) for key, each in form["dict"]}
    return result_value(form)


def _is_counts(value: Any) -> bool:
    """Whether this is a mapping of bit strings."""
    return type(value) is dict and all(type(key) is str and not set(key) - {"0", "1", " "} for key in value)


def _dispatch(dispatch: Dispatch | None) -> dict[str, Any] | None:
    if dispatch is None:
        return None
    try:
        return dispatch.to_dict()
    except ConfigurationError as error:
        warnings.warn(f"results are saved without the dispatch, which cannot be run again: {error}", stacklevel=5)
        return None


# What records of a file say, checked: others may have changed it, and whatever it says would be merged


def _is_whole(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and int(value) >= 0


def _is_amount(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


_TESTS: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("job", "circuit", "shots", "attempt"), _is_whole),
    **dict.fromkeys(("provider", "backend"), _is_text),
    **dict.fromkeys(("submitted", "started", "finished", "seconds", "cost"), _is_amount),
    **dict.fromkeys(("error", "instead_of"), _is_text_or_none),
    "state": {str(state) for state in JobState}.__contains__,
}


def _checked(saved: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The attributes of a record, but for its result, as a file has them.

    Args:
        saved: the record in the file.
        number: its place among the records, from 0.

    Raises:
        ConfigurationError: one of them cannot be; it is named.
        KeyError: one is missing.
    """
    values = {field.name: saved[field.name] for field in fields(Record) if field.name in saved}
    required = ("job", "circuit", "provider", "backend", "shots", "state", "result")
    for name in (*required, *values):
        if name in _TESTS and not (isinstance(saved[name], str | int | float | None) and _TESTS[name](saved[name])):
            raise ConfigurationError(f"{_of(saved, number)} has {name}={saved[name]!r:.80}, which cannot be. {_ADVICE}")
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


def _of(saved: Mapping[str, Any], number: int) -> str:
    places = [str(saved.get(name))[:80] for name in ("provider", "backend")]
    return f"record {number} of these saved results, circuit {saved.get('circuit')!r:.80} on {'/'.join(places)!r},"
