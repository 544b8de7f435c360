"""A lab's own calibration: a file of properties in IBM's format, checked against the machine that it is of.

Most mistakes in such a file raise nothing in IBM's client or in Aer: a gate that is left out has no noise, and a unit
that Aer does not know counts as nanoseconds. So they are looked for here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.providers.fakes import fake_files
from pennylane_qexec.server.catalogue.metadata import IDEAL, configuration_of, properties_of, properties_of_today

_TIMES = {"s", "ms", "us", "µs", "ns"}
_FREQUENCIES = {"MHz", "GHz"}
_UNITS = {
    "T1": _TIMES,
    "T2": _TIMES,
    "gate_length": _TIMES,
    "readout_length": _TIMES,
    "frequency": _FREQUENCIES,
    "anharmonicity": _FREQUENCIES,
}
_PROBABILITIES = {"gate_error", "readout_error", "prob_meas0_prep1", "prob_meas1_prep0"}
_OF_A_QUBIT = ("T1", "T2", "readout_error")
_FIELDS = {"backend_version": str, "last_update_date": str, "qubits": list, "gates": list, "general": list}


@dataclass(frozen=True)
class Calibration:
    """A calibration that fits its machine.

    Attributes:
        machine: the fake backend that has the qubits and gates.
        properties: as IBM's server sends them.
    """

    machine: str
    properties: Mapping[str, Any]


class _MisfitError(Exception):
    """What is wrong with a file."""


def read_calibration(name: str, file: Path) -> Calibration:
    """Read a lab's own calibration.

    Args:
        name: of the metadata that it is published as: a fake backend's, whose properties it replaces, or a new one.
        file: JSON of properties, as ``GET /backends/{name}/properties`` gives them. Under a new name,
            ``"backend_name"`` says which fake backend has the qubits and gates.

    Raises:
        ConfigurationError: it cannot be read, or does not fit the machine; the message says where.
    """
    if name == IDEAL or not name.isascii() or not name.replace("_", "a").replace("-", "a").isalnum():
        raise ConfigurationError(
            f"calibration {name!r}: the name must be that of a fake backend, or a new one of letters, digits, '_' and "
            f"'-', other than {IDEAL!r}, which has no noise."
        )
    try:
        said = json.loads(file.read_bytes())
        machine = name if name in fake_files() else _machine(said)
        properties = properties_of_today(_complete(said))
        _check(machine, properties)
    except OSError as error:
        raise ConfigurationError(f"calibration {name!r}: {file} cannot be read: {error.strerror}.") from error
    except (ValueError, _MisfitError) as error:
        advice = "Start from the properties that the server sends for a fake backend, and change the numbers."
        raise ConfigurationError(f"calibration {name!r}: {file}: {error}. {advice}") from error
    return Calibration(machine, properties)


def _machine(said: Any) -> str:
    named = said.get("backend_name") if isinstance(said, dict) else None
    machine = str(named).partition("@")[0]
    if machine not in fake_files():
        hint = "Its 'backend_name' says which one has the qubits and gates that are calibrated"
        raise _MisfitError(unknown("fake backend", machine, fake_files(), hint))
    return machine


def _complete(said: Any) -> dict[str, Any]:
    """What was read, if it has all fields of IBM's format, with entries of the right form."""
    for field, kind in _FIELDS.items():
        if not isinstance(said, dict) or not isinstance(said.get(field), kind):
            raise _MisfitError(f"{field!r} must be there, as a {kind.__name__}")
    _date(said["last_update_date"], "last_update_date")
    for gate in said["gates"]:
        if not isinstance(gate, dict) or not isinstance(gate.get("gate"), str) or not _are_qubits(gate.get("qubits")):
            raise _MisfitError(f"an entry of 'gates' must have 'gate', 'qubits' and 'parameters', and one is {gate!r}")
    for where, entries in _lists(said):
        if not isinstance(entries, list):
            raise _MisfitError(f"{where} must have a list of entries, and has {entries!r}")
        for entry in entries:
            _check_entry(where, entry)
    return dict(said)


def _are_qubits(value: Any) -> bool:
    return isinstance(value, list) and all(type(one) is int for one in value)


def _lists(said: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """All lists of entries, and what each is of."""
    yield from ((f"qubit {qubit}", entries) for qubit, entries in enumerate(said["qubits"]))
    yield from ((f"gate {gate['gate']!r} on {gate['qubits']}", gate.get("parameters")) for gate in said["gates"])
    yield "'general'", said["general"]


def _check_entry(where: str, entry: Any) -> None:
    """Refuse what is no entry of a name, a number, a unit and a date."""
    try:
        name, value, unit, date = entry["name"], entry["value"], entry["unit"], entry["date"]
    except (TypeError, KeyError):
        raise _MisfitError(f"{where}: an entry has 'name', 'value', 'unit' and 'date', and one is {entry!r}") from None
    _date(date, f"{where}: the date of {name!r}")
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _MisfitError(f"{where}: {name} must be a number, and is {value!r}")
    if name in _PROBABILITIES and not 0 <= value <= 1:
        raise _MisfitError(f"{where}: {name} must be between 0 and 1, and is {value!r}")
    if name in _UNITS and unit not in _UNITS[name]:
        raise _MisfitError(f"{where}: the unit of {name} must be one of {sorted(_UNITS[name])}, and is {unit!r}")
    if _UNITS.get(name) is _TIMES and value < 0:
        raise _MisfitError(f"{where}: {name} must not be negative, and is {value!r}")


def _date(text: Any, what: str) -> None:
    try:
        datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise _MisfitError(f"{what} must be a date such as '2026-01-31T12:00:00+00:00', and is {text!r}") from None


def _check(machine: str, properties: Mapping[str, Any]) -> None:
    """Refuse a calibration of other qubits or gates than the machine has."""
    qubits, count = properties["qubits"], configuration_of(machine)["n_qubits"]
    if len(qubits) != count:
        raise _MisfitError(f"{machine} has {count} qubits, and here are {len(qubits)}")
    for qubit, entries in enumerate(qubits):
        _demand(f"qubit {qubit}", _OF_A_QUBIT, entries)
    given: dict[tuple[str, tuple[int, ...]], Any] = {}
    for gate in properties["gates"]:
        key = (gate["gate"], tuple(gate["qubits"]))
        if key in given:
            raise _MisfitError(f"gate {key[0]!r} on {list(key[1])} is there twice")
        given[key] = gate["parameters"]
    known = {
        (gate["gate"], tuple(gate["qubits"])): [entry["name"] for entry in gate["parameters"]]
        for gate in (properties_of(machine) or {})["gates"]
    }
    for (name, on), names in known.items():
        if (name, on) not in given:
            raise _MisfitError(f"gate {name!r} on {list(on)} is missing; one out of order has an 'operational' of 0")
        _demand(f"gate {name!r} on {list(on)}", [one for one in names if one == "gate_error"], given[name, on])
    names_known = {name for name, _ in known}
    for name, on in given:
        if not set(on) <= set(range(count)) or (name in names_known and (name, on) not in known):
            raise _MisfitError(f"{machine} has no gate {name!r} on {list(on)}")


def _demand(where: str, names: tuple[str, ...] | list[str], entries: list[Mapping[str, Any]]) -> None:
    """Refuse entries that lack a name, unless they say that what they are of does not work."""
    said = {entry["name"]: entry["value"] for entry in entries}
    missing = [name for name in names if name not in said]
    if missing and said.get("operational", 1):
        raise _MisfitError(f"{where} has no {' and no '.join(missing)}; one out of order has an 'operational' of 0")
