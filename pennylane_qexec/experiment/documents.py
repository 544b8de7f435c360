"""Dispatches as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pennylane_qexec import programs
from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.experiment.dispatched import DispatchJob, shots_of
from pennylane_qexec.scrubbing import without_secret_values

VERSION = 1
"""Of the documents that are written."""

_KEYS = ("provider", "backend", "circuits", "numbers", "shots", "config")
_KEYS_BY_BACKEND = {"circuit": "circuits", "circuits": "circuits", "shots": "shots", "config": "config"}


def written(jobs: Sequence[DispatchJob]) -> dict[str, Any]:
    """Jobs as plain data, each circuit once.

    Raises:
        ConfigurationError: OpenQASM cannot say what a circuit measures.
    """
    circuits = list({id(circuit): circuit for job in jobs for circuit in job.circuits}.values())
    places = {id(circuit): place for place, circuit in enumerate(circuits)}
    texts = [programs.to_text(circuit) for circuit in circuits]
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


def is_written(document: Any) -> bool:
    """Whether this is what :func:`written` has made, rather than jobs by backend.

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


def jobs_of(document: Mapping[str, Any]) -> list[DispatchJob]:
    """The jobs that :func:`written` has written.

    Raises:
        ConfigurationError: there is something else in the document.
    """
    try:
        texts = [(one["openqasm"], one["framework"]) for one in document["circuits"]]
        jobs = list(document["jobs"])
        if not all(isinstance(part, str) for text in texts for part in text):
            raise TypeError("circuits are texts")
        circuits = [programs.from_text(*text) for text in texts]
    except (KeyError, TypeError) as error:
        raise ConfigurationError(f"this is no dispatch ({error!r}): give what to_dict() returned.") from error
    return [_job_of(job, circuits) for job in jobs]


def by_backend(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Jobs as ``{provider: {backend: [{"circuits": ..., "shots": ..., "config": ...}]}}``.

    Yields:
        For each job its provider, its backend, and its entries.

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
                yield str(provider), str(name), _entries(job)


def _entries(job: Any) -> dict[str, Any]:
    if not isinstance(job, Mapping):
        raise ConfigurationError(f"{job!r} is no job: write {{'circuits': ..., 'shots': ...}}.")
    for key in job:
        if key not in _KEYS_BY_BACKEND:
            raise ConfigurationError(unknown("entry of a dispatch's job", key, _KEYS_BY_BACKEND))
    entries = {_KEYS_BY_BACKEND[key]: value for key, value in job.items()}
    if "circuits" not in entries:
        raise ConfigurationError(f"the job {dict(job)!r} has no 'circuits'.")
    return entries


def _job_of(written: Any, circuits: Sequence[Any]) -> DispatchJob:
    if not isinstance(written, Mapping):
        raise ConfigurationError(f"{written!r} is no job of a dispatch.")
    for key in written:
        if key not in _KEYS:
            raise ConfigurationError(unknown("entry of a dispatch's job", key, _KEYS))
    try:
        chosen = tuple([circuits[_whole(place)] for place in written["circuits"]])
        numbers = tuple(map(_whole, written.get("numbers", written["circuits"])))
        if len(numbers) != len(chosen):
            raise ValueError("numbers and circuits are not as many")
        return DispatchJob(
            str(written["provider"]),
            str(written["backend"]),
            chosen,
            tuple(shots_of(written["shots"], len(chosen))),
            dict(written.get("config") or {}),
            numbers,
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise ConfigurationError(f"{dict(written)!r} is no job of a dispatch ({error!r}).") from error


def _whole(place: Any) -> int:
    if isinstance(place, bool) or not isinstance(place, int) or place < 0:
        raise ValueError(f"{place!r} is no place in a list")
    return place
