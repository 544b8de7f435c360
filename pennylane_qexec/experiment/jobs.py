"""The jobs of a dispatch: what users write for circuits and shots, and dispatches as plain data."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

from pennylane_qexec.circuits import frameworks
from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.redaction import know_named, scrub, without_secret_values
from pennylane_qexec.redaction.display import even_incomplete


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
        programs: what each circuit says, where that is known, as of the rows of a table; ``None`` for others.
    """

    provider_name: str
    backend_name: str
    circuits: tuple[Any, ...]
    shots: tuple[int | None, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
    numbers: tuple[int, ...] = ()
    programs: tuple[frameworks.Program | None, ...] = ()

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


GivenCircuit = tuple[Any, frameworks.Program | None]
"""A circuit that a user gives, and what it says if that is known."""

KnownTables = dict[Hashable, tuple[frameworks.CircuitTable, Any, Sequence[GivenCircuit]]]
"""Tables by their keys, each with a copy of its circuit as it was, and the circuits of its rows."""


def circuits_of(circuits: Any, tables: KnownTables) -> list[GivenCircuit]:
    """The circuits that a user gives, one or a list: of a parametrised circuit with a table of values, one per row.

    Args:
        circuits: as given.
        tables: the tables that were given before, to which others are added. The same again is the same circuits.

    Raises:
        ConfigurationError: it is an empty list, or values are not those of a circuit's parameters.
    """
    given = [circuits] if frameworks.table_of(circuits) is not None else frameworks.one_or_many(circuits)[0]
    if not given:
        raise ConfigurationError(f"circuits={circuits!r} has no circuit: give one, or a list of them.")
    found: list[GivenCircuit] = []
    for circuit in given:
        table = frameworks.table_of(circuit)
        found += [(circuit, None)] if table is None else _rows_of(table, tables)
    return found


def _rows_of(table: frameworks.CircuitTable, tables: KnownTables) -> Sequence[GivenCircuit]:
    _, as_it_was, rows = tables.get(table.key, (table, None, ()))
    if as_it_was != table.circuit:  # gates may have been added since
        rows = table.rows()
        tables[table.key] = table, table.circuit.copy(), rows
    return rows


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


VERSION = 1
"""Of the documents that are written."""

_KEYS = ("provider", "backend", "circuits", "numbers", "shots", "config")
_KEYS_BY_BACKEND = {"circuit": "circuits", "circuits": "circuits", "shots": "shots", "config": "config"}


def to_document(jobs: Sequence[DispatchJob]) -> dict[str, Any]:
    """Jobs as plain data, each circuit once.

    Raises:
        ConfigurationError: OpenQASM cannot say what a circuit measures.
    """
    circuits = list({id(circuit): circuit for job in jobs for circuit in job.circuits}.values())
    places = {id(circuit): place for place, circuit in enumerate(circuits)}
    texts = [frameworks.to_text(circuit) for circuit in circuits]
    return {
        "circuits": [{"framework": framework, "openqasm": text} for text, framework in texts],
        "jobs": [
            {
                "provider": job.provider_name,
                "backend": job.backend_name,
                "circuits": [places[id(circuit)] for circuit in job.circuits],
                "numbers": list(job.numbers),
                "shots": list(job.shots),
                "config": without_secret_values(job.config),
            }
            for job in jobs
        ],
    }


def is_document(document: Any) -> bool:
    """Whether this is what :func:`to_document` has made, rather than jobs by backend.

    Raises:
        ConfigurationError: it is of a later version, or no mapping.
    """
    if not isinstance(document, Mapping):
        raise ConfigurationError(
            f"{document!r} is no dispatch: a dispatch has 'circuits' and 'jobs', as to_dict() gives."
        )
    if not {"circuits", "jobs"} <= set(document):
        return False
    version = document.get("version", VERSION)
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ConfigurationError(f"version={version!r} of a dispatch is no version: give what to_dict() returned.")
    if version > VERSION:
        raise ConfigurationError(
            f"this dispatch has version {version}, and {VERSION} is the latest known: install a later pennylane-qexec."
        )
    return True


def from_document(document: Mapping[str, Any]) -> list[DispatchJob]:
    """The jobs that :func:`to_document` has written.

    Raises:
        ConfigurationError: there is something else in the document.
    """
    try:
        texts = [(one["openqasm"], one["framework"]) for one in document["circuits"]]
        jobs = list(document["jobs"])
        if not all(isinstance(part, str) for text in texts for part in text):
            raise TypeError("circuits are texts")
        circuits = [frameworks.from_text(*text) for text in texts]
    except (KeyError, TypeError) as error:
        raise ConfigurationError(f"this is no dispatch ({error!r}): give what to_dict() returned.") from error
    return [_job_of(job, circuits) for job in jobs]


def by_backend(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Jobs as ``{provider: {backend: [{"circuits": ..., "shots": ..., "config": ...}]}}``.

    Yields:
        For each job its provider, its backend, and the arguments of :meth:`Dispatch.add_job`.

    Raises:
        ConfigurationError: it is something else.
    """
    for provider, names in document.items():
        if not isinstance(names, Mapping):
            raise ConfigurationError(
                f"{provider!r}: {names!r} is no dispatch: write {{provider: {{backend: [jobs]}}}}."
            )
        for name, jobs in names.items():
            for job in jobs if isinstance(jobs, list | tuple) else [jobs]:
                yield str(provider), str(name), _arguments(job)


def _arguments(job: Any) -> dict[str, Any]:
    if not isinstance(job, Mapping):
        raise ConfigurationError(f"{job!r} is no job: write {{'circuits': ..., 'shots': ...}}.")
    for key in job:
        if key not in _KEYS_BY_BACKEND:
            raise ConfigurationError(unknown("entry of a dispatch's job", key, _KEYS_BY_BACKEND))
    arguments = {_KEYS_BY_BACKEND[key]: value for key, value in job.items()}
    if "circuits" not in arguments:
        raise ConfigurationError(f"the job {dict(job)!r} has no 'circuits'.")
    return arguments


def _job_of(document: Any, circuits: Sequence[Any]) -> DispatchJob:
    if not isinstance(document, Mapping):
        raise ConfigurationError(f"{document!r} is no job of a dispatch.")
    for key in document:
        if key not in _KEYS:
            raise ConfigurationError(unknown("entry of a dispatch's job", key, _KEYS))
    try:
        chosen = tuple([circuits[_whole(place)] for place in document["circuits"]])
        numbers = tuple(map(_whole, document.get("numbers", document["circuits"])))
        if len(numbers) != len(chosen):
            raise ValueError("numbers and circuits are not as many")
        return DispatchJob(
            str(document["provider"]),
            str(document["backend"]),
            chosen,
            tuple(shots_of(document["shots"], len(chosen))),
            dict(document.get("config") or {}),
            numbers,
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{dict(document)!r} is no job of a dispatch ({error!r}).") from error


def _whole(place: Any) -> int:
    if isinstance(place, bool) or not isinstance(place, int) or place < 0:
        raise ValueError(f"{place!r} is no place in a list")
    return place
