"""Dispatches: which backend runs which circuits, with how many shots, and how."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

from pennylane_qexec import programs
from pennylane_qexec.errors import ConfigurationError, unknown

VERSION = 1
"""Of the documents that :meth:`Dispatch.to_dict` writes."""

_KEYS = ("provider", "backend", "circuits", "numbers", "shots", "config")


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

    @property
    def place(self) -> str:
        """The backend's full name, ``"provider/backend"``."""
        return f"{self.provider_name}/{self.backend_name}"

    @property
    def total_shots(self) -> int:
        """The shots of all its circuits together, as far as they are given here."""
        return sum(shots or 0 for shots in self.shots)

    def __repr__(self) -> str:
        config = f", config={dict(self.config)!r}" if self.config else ""
        return f"<DispatchJob of {_number(self.circuits)} on {self.place}, {_in_words(self.shots)}{config}>"


class Dispatch:
    """Jobs for backends, by hand or from a split policy.

    Iterating gives the :class:`DispatchJob` in order; ``print`` shows a table.
    """

    def __init__(self) -> None:
        self._jobs: list[DispatchJob] = []
        self._numbers: dict[Any, int] = {}
        self._known: list[Any] = []

    def add_job(
        self,
        provider_name: str,
        backend_name: str,
        circuits: Any,
        shots: Any = None,
        config: Mapping[str, Any] | None = None,
    ) -> DispatchJob:
        """Add a job.

        Args:
            provider_name: the provider.
            backend_name: one of its backends.
            circuits: one circuit of any framework, or a list of them. The same object in several jobs is the same
                circuit, whose shots are put together when results are merged.
            shots: a number, or a list with one for each circuit; ``None`` for the shots that circuits bring along, as
                PennyLane's may.
            config: options of the backend for this job: ``seed``, and whatever its executor takes.

        Returns:
            The job.

        Raises:
            ConfigurationError: no circuits, or shots that are no positive whole numbers, one for each circuit.
        """
        given, _ = circuits_of(circuits)
        for name, value in (("provider_name", provider_name), ("backend_name", backend_name)):
            if not isinstance(value, str) or not value:
                raise ConfigurationError(f"{name}={value!r} must be a name, such as 'local_aer' or 'aer_simulator'.")
        if config is not None and not isinstance(config, Mapping):
            raise ConfigurationError(f"config={config!r} must be a mapping of options, such as {{'seed': 7}}.")
        numbers = tuple(map(self._number, given))
        each = tuple(shots_of(shots, len(given)))
        return self.append(DispatchJob(provider_name, backend_name, tuple(given), each, dict(config or {}), numbers))

    def append(self, job: DispatchJob) -> DispatchJob:
        """Add a job as it is, with the numbers that its circuits have."""
        self._jobs.append(job)
        return job

    @property
    def jobs(self) -> list[DispatchJob]:
        """The jobs, in the order in which they were added."""
        return list(self._jobs)

    @property
    def circuits(self) -> list[Any]:
        """The different circuits of all jobs."""
        return list({id(circuit): circuit for job in self._jobs for circuit in job.circuits}.values())

    @property
    def total_shots(self) -> int:
        """The shots of all jobs together."""
        return sum(job.total_shots for job in self._jobs)

    @property
    def backends(self) -> dict[str, list[str]]:
        """The names of the backends, by provider."""
        names: dict[str, list[str]] = {}
        for job in self._jobs:
            known = names.setdefault(job.provider_name, [])
            if job.backend_name not in known:
                known.append(job.backend_name)
        return names

    def to_dict(self) -> dict[str, Any]:
        """The dispatch as plain data, with its circuits as OpenQASM.

        Returns:
            A mapping with ``version`` (1), ``circuits`` (a list of mappings with ``framework`` and ``openqasm``) and
            ``jobs`` (a list of mappings with ``provider``, ``backend``, ``circuits``, which are places in the list of
            circuits, ``numbers``, ``shots`` and ``config``).

        Raises:
            ConfigurationError: OpenQASM cannot say what a circuit measures.
        """
        circuits = self.circuits
        texts = [programs.to_text(circuit) for circuit in circuits]
        places = {id(circuit): place for place, circuit in enumerate(circuits)}
        return {
            "version": VERSION,
            "circuits": [{"framework": framework, "openqasm": text} for text, framework in texts],
            "jobs": [
                {
                    "provider": job.provider_name,
                    "backend": job.backend_name,
                    "circuits": [places[id(circuit)] for circuit in job.circuits],
                    "numbers": list(job.numbers),
                    "shots": list(job.shots),
                    "config": dict(job.config),
                }
                for job in self._jobs
            ],
        }

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Dispatch:
        """The dispatch that :meth:`to_dict` has written.

        Raises:
            ConfigurationError: it is no such document, or one of a later version.
        """
        if not isinstance(document, Mapping) or not {"circuits", "jobs"} <= set(document):
            raise ConfigurationError("this is no dispatch: a dispatch has 'circuits' and 'jobs', as to_dict() gives.")
        if document.get("version", VERSION) > VERSION:
            raise ConfigurationError(
                f"this dispatch has version {document['version']}, and {VERSION} is the latest known: install a later "
                "pennylane-qexec."
            )
        circuits = [programs.from_text(one["openqasm"], one["framework"]) for one in document["circuits"]]
        dispatch = cls()
        for job in document["jobs"]:
            dispatch.append(_job_of(job, circuits))
        return dispatch

    def to_json(self, indent: int | None = None) -> str:
        """The dispatch as JSON; see :meth:`to_dict`."""
        document = self.to_dict()
        try:
            return json.dumps(document, indent=indent)
        except TypeError as error:
            raise ConfigurationError(
                f"a job's config cannot be written as JSON ({error}): give plain values."
            ) from error

    @classmethod
    def from_json(cls, text: str) -> Dispatch:
        """The dispatch that :meth:`to_json` has written.

        Raises:
            ConfigurationError: it is no such text.
        """
        try:
            document = json.loads(text)
        except json.JSONDecodeError as error:
            raise ConfigurationError(f"this is no JSON ({error}): give what to_json() returned.") from error
        return cls.from_dict(document)

    def _number(self, circuit: Any) -> int:
        """The number of a circuit: that of the same object, or the same text, before."""
        key = circuit if isinstance(circuit, str) else id(circuit)
        self._known.append(circuit)  # whose id must not be another's meanwhile
        return self._numbers.setdefault(key, len(self._numbers))

    def __iter__(self) -> Iterator[DispatchJob]:
        return iter(list(self._jobs))

    def __len__(self) -> int:
        return len(self._jobs)

    def __str__(self) -> str:
        rows = [("job", "backend", "circuits", "shots", "config")]
        rows += [
            (str(number), job.place, _places(job.numbers), _in_words(job.shots), _options(job.config))
            for number, job in enumerate(self._jobs)
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([repr(self), *lines])

    def __repr__(self) -> str:
        return (
            f"<Dispatch of {_number(self.circuits)} in {len(self._jobs)} job{'s'[: len(self._jobs) != 1]}, "
            f"{self.total_shots:,} shots>"
        )


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
    each = list(shots) if isinstance(shots, list | tuple) else [shots] * circuits
    if len(each) != circuits:
        raise ConfigurationError(f"shots={shots!r} has {len(each)} numbers for {circuits} circuits: give one for each.")
    for number in each:
        if number is not None and (isinstance(number, bool) or not isinstance(number, Integral) or number < 1):
            raise ConfigurationError(f"shots={shots!r} must be a whole number of at least 1, or a list of them.")
    return [None if number is None else int(number) for number in each]


def _job_of(written: Mapping[str, Any], circuits: list[Any]) -> DispatchJob:
    for key in written:
        if key not in _KEYS:
            raise ConfigurationError(unknown("entry of a dispatch's job", key, _KEYS))
    try:
        chosen = tuple([circuits[place] for place in written["circuits"]])
        return DispatchJob(
            str(written["provider"]),
            str(written["backend"]),
            chosen,
            tuple(shots_of(written["shots"], len(chosen))),
            dict(written.get("config") or {}),
            tuple(written.get("numbers", written["circuits"])),
        )
    except (KeyError, IndexError, TypeError) as error:
        raise ConfigurationError(f"{dict(written)!r} is no job of a dispatch ({error!r}).") from error


def _number(circuits: Any) -> str:
    return f"{len(circuits)} circuit{'s'[: len(circuits) != 1]}"


def _places(numbers: tuple[int, ...]) -> str:
    if len(numbers) > 2 and numbers == tuple(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers[:6])) + (",..." if len(numbers) > 6 else "")


def _in_words(shots: tuple[int | None, ...]) -> str:
    different = sorted({number or 0 for number in shots})
    if len(different) > 1:
        return f"{different[0] or 'their own'} to {different[-1]:,} shots"
    return f"{different[0]:,} shots" if different and different[0] else "their own shots"


def _options(config: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value!r}" for key, value in config.items())
