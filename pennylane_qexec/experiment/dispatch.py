"""Dispatches: which backend runs which circuits, with how many shots, and how."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pennylane_qexec.circuits.frameworks import Program
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.experiment.jobs import (
    VERSION,
    DispatchJob,
    KnownTables,
    by_backend,
    circuits_of,
    from_document,
    in_words,
    is_document,
    number_of,
    shots_of,
    to_document,
)
from pennylane_qexec.redaction import scrub
from pennylane_qexec.redaction.display import even_incomplete, printable


class Dispatch:
    """Jobs for backends, by hand or from a split policy.

    Iterating gives the :class:`DispatchJob` in order; ``print`` shows a table.

    Args:
        adds_up: whether the jobs are shares of the circuits' shots. Else each of them is of interest by itself, as with
            the split ``"multiplier"``: results are not put together unless that is asked for, and no backend runs the
            shots of another that fails.

    Attributes:
        adds_up: as given.
    """

    def __init__(self, adds_up: bool = True) -> None:
        self.adds_up = adds_up
        self._jobs: list[DispatchJob] = []
        self._numbers: dict[Any, int] = {}
        self._known: list[Any] = []
        self._tables: KnownTables = {}

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
                circuit, whose shots are put together when results are merged. A tuple of a parametrised circuit of
                Qiskit and a table of values is a circuit for each row, as in :meth:`QuantumExecutor.run_experiment`.
            shots: a number, or a list with one for each circuit; ``None`` for the shots that circuits bring along, as
                PennyLane's may.
            config: options of the backend for this job: ``seed``, ``mcm_method`` (how PennyLane's simulators run
                mid-circuit measurements: ``"tree-traversal"``, ``"one-shot"`` or ``"deferred"``; default: what suits
                the circuit), and whatever its executor takes.

        Returns:
            The job.

        Raises:
            ConfigurationError: no circuits, or shots that are no positive whole numbers, one for each circuit.
        """
        given = circuits_of(circuits, self._tables)
        for name, value in (("provider_name", provider_name), ("backend_name", backend_name)):
            if not isinstance(value, str) or not value:
                raise ConfigurationError(f"{name}={value!r} must be a name, such as 'local_aer' or 'aer_simulator'.")
        if config is not None and not isinstance(config, Mapping):
            raise ConfigurationError(f"config={config!r} must be a mapping of options, such as {{'seed': 7}}.")
        own, programs = zip(*given, strict=True)
        numbers = tuple(map(self._number, own))
        each = tuple(shots_of(shots, len(given)))
        options = dict(config or {})
        return self.append(DispatchJob(provider_name, backend_name, own, each, options, numbers, programs))

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
            A mapping with ``version`` (1), ``adds_up``, ``circuits`` (a list of mappings with ``framework`` and
            ``openqasm``) and ``jobs`` (a list of mappings with ``provider``, ``backend``, ``circuits``, which are
            places in the list of circuits, ``numbers``, ``shots`` and ``config``).

        Raises:
            ConfigurationError: OpenQASM cannot say what a circuit measures.
        """
        return {"version": VERSION, "adds_up": self.adds_up, **to_document(self._jobs)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Dispatch:
        """The dispatch that :meth:`to_dict` has written; or jobs by provider and backend.

        Args:
            document: what :meth:`to_dict` returned; or ``{"local_aer": {"aer_simulator": [{"circuits": circuit,
                "shots": 1024, "config": {"seed": 7}}]}}``, with circuits of any framework.

        Raises:
            ConfigurationError: it is neither, or of a later version.
        """
        dispatch = cls(adds_up=bool(isinstance(document, Mapping) and document.get("adds_up", True)))
        if is_document(document):
            for job in from_document(document):
                dispatch.append(job)
        else:
            for provider, name, options in by_backend(document):
                dispatch.add_job(provider, name, options["circuits"], options.get("shots"), options.get("config"))
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
        except (ValueError, TypeError, RecursionError) as error:
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
            (str(number), printable(job.place), _places(job.numbers), in_words(job.shots), _options(job.config))
            for number, job in enumerate(self._jobs)
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return "\n".join([repr(self), *lines])

    @even_incomplete
    def __repr__(self) -> str:
        return (
            f"<Dispatch of {number_of(self.circuits)} in {len(self._jobs)} job{'s'[: len(self._jobs) != 1]}, "
            f"{self.total_shots:,} shots>"
        )


def joined(dispatches: Sequence[Dispatch], programs: Mapping[int, Program]) -> Dispatch:
    """One dispatch for several circuits.

    Args:
        dispatches: one for each circuit, in order.
        programs: what is known of circuits, by their identity.

    Returns:
        Their jobs. Those of one backend and with equal options are one job with several circuits, so that a seed is the
        seed of all of them.
    """
    groups: dict[Any, list[tuple[DispatchJob, int]]] = {}
    for number, dispatch in enumerate(dispatches):
        seen: Counter[Any] = Counter()
        for job in dispatch:
            key = (job.place, tuple(sorted((name, repr(value)) for name, value in job.config.items())))
            seen[key] += 1
            groups.setdefault((*key, seen[key]), []).append((job, number))
    result = Dispatch(adds_up=all(dispatch.adds_up for dispatch in dispatches))
    for parts in groups.values():
        first = parts[0][0]
        result.append(
            DispatchJob(
                first.provider_name,
                first.backend_name,
                tuple([circuit for job, _ in parts for circuit in job.circuits]),
                tuple([shots for job, _ in parts for shots in job.shots]),
                first.config,
                tuple([number for job, number in parts for _ in job.circuits]),
                tuple([programs.get(id(circuit)) for job, _ in parts for circuit in job.circuits]),
            )
        )
    return result


def _places(numbers: tuple[int, ...]) -> str:
    if len(numbers) > 2 and numbers == tuple(range(numbers[0], numbers[-1] + 1)):
        return f"{numbers[0]}-{numbers[-1]}"
    return ",".join(map(str, numbers[:6])) + (",..." if len(numbers) > 6 else "")


def _options(config: Mapping[str, Any]) -> str:
    return scrub(", ".join(f"{key}={value!r}" for key, value in config.items()))
