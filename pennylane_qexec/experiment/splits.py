"""Splits of an experiment: which backends run a circuit, with how many of its shots, and how users name backends."""

from __future__ import annotations

import logging
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.frameworks import Program
from pennylane_qexec.circuits.mid_circuit import qubits_of
from pennylane_qexec.errors import (
    AnalyticCircuitError,
    ConfigurationError,
    NoBackendError,
    PartialResultWarning,
    PolicyError,
    checked_seed,
)
from pennylane_qexec.experiment.dispatch import Dispatch
from pennylane_qexec.experiment.tasks import with_shots
from pennylane_qexec.job import Cost, Load, Share, Status
from pennylane_qexec.policies import splits
from pennylane_qexec.providers import Backend, VirtualProvider
from pennylane_qexec.redaction.display import even_incomplete

logger = logging.getLogger("pennylane_qexec")
PaperSplit = Callable[[Any, Any, dict[str, list[str]], VirtualProvider, Any], tuple[Dispatch, Any]]
"""``split(circuit, shots, backends, virtual_provider, data) -> (Dispatch, data)``, as in the Quantum Executor paper."""

_FORMS = "{'local_aer': ['aer_simulator', 'fake_manila']}"


class BackendCandidate:
    """A backend as a candidate for a share of a circuit's shots.

    Args:
        backend: the backend.
        load: says what has been seen of it until now.

    Attributes:
        name: its full name, ``"provider/backend"``.
        backend: the backend.
    """

    def __init__(self, backend: Backend, load: Callable[[], Load] = Load) -> None:
        self.name = str(backend)
        self.backend = backend
        self.cost = Cost()
        self._load = load

    def status(self) -> Status:
        """What the backend says of itself."""
        return self.backend.status()

    def load(self) -> Load:
        """What has been seen of it until now."""
        return self._load()

    def rejects(self, circuit: QuantumScript) -> str | None:
        """Why the circuit has no place there, as far as can be told without building anything."""
        return too_small(self.backend, circuit)

    @even_incomplete
    def __repr__(self) -> str:
        return f"<BackendCandidate {self.name!r}>"


def too_small(backend: Backend, circuit: QuantumScript) -> str | None:
    """Why a circuit has no place on a backend, the end of a sentence; ``None`` if it has."""
    try:
        qubits = backend.num_qubits
    except Exception as error:  # of a user's provider
        return f"does not say how many qubits it has ({type(error).__name__}: {error})"
    if qubits is None or (needed := qubits_of(circuit)) <= qubits:
        return None
    return f"has {qubits} qubit{'s'[: qubits != 1]}, and the circuit needs {needed}"


def named_backends(backends: Any, find: Callable[[str, str], Backend]) -> list[Backend]:
    """The backends that a user names, those of one provider after another.

    Args:
        backends: names by provider, a single name or several; the backends that ``get_backends`` returns; or full names
            such as ``"local_aer/fake_manila"``.
        find: finds a backend by the names of its provider and its own.

    Raises:
        ConfigurationError: it is something else, none are named, or one is named twice.
    """
    if isinstance(backends, str):
        backends = [backends]
    if isinstance(backends, Mapping):
        pairs = [(str(provider), name) for provider, names in backends.items() for name in _names(names)]
    elif isinstance(backends, Iterable):
        pairs = [_halves(name) for name in backends]
    else:
        raise ConfigurationError(f"backends={backends!r} names none: write {_FORMS}.")
    if not pairs:
        raise ConfigurationError(f"backends={backends!r} names no backend: write {_FORMS}.")
    found: dict[str, list[str]] = {}
    for provider, name in pairs:
        known = found.setdefault(provider, [])
        if name in known:
            raise ConfigurationError(f"the backend '{provider}/{name}' is named twice in backends={backends!r}.")
        known.append(name)
    return [find(provider, name) for provider, names in found.items() for name in names]


def _names(names: Any) -> list[str]:
    if isinstance(names, str):
        return [names]
    chosen = list(names) if isinstance(names, Iterable) else [names]
    for name in chosen:
        if not isinstance(name, str):
            raise ConfigurationError(f"{name!r} is no backend's name: write {_FORMS}.")
    return chosen


def _halves(name: Any) -> tuple[str, str]:
    if isinstance(name, Backend):
        return name.provider, name.name
    provider, found, backend = str(name).partition("/")
    if not found or not backend:
        raise ConfigurationError(f"{name!r} is no backend: write 'provider/backend', such as 'local_aer/fake_manila'.")
    return provider, backend


@dataclass(frozen=True)
class CircuitRequest:
    """A circuit to be shared out.

    Attributes:
        given: the circuit as the user gave it.
        program: the circuit as it was read.
        number: its number in the experiment.
        shots: its shots; ``None`` if it is analytic.
        backends: those that the user has named.
        config: options of the jobs.
        provider: what knows all backends.
    """

    given: Any
    program: Program
    number: int
    shots: int | None
    backends: Sequence[BackendCandidate]
    config: Mapping[str, Any]
    provider: VirtualProvider

    @property
    def script(self) -> QuantumScript:
        """The circuit as PennyLane's, with its shots."""
        return with_shots(self.program.circuit, self.shots)


class ExperimentSplit(ABC):
    """Says who runs a circuit."""

    @abstractmethod
    def shared(self, request: CircuitRequest, data: Any) -> tuple[Dispatch, Any]:
        """The jobs for one circuit, and data for the next one.

        Raises:
            PolicyError: the policy returned something else than it should.
            NoBackendError: no backend has a place for the circuit.
        """


class SharesSplit(ExperimentSplit):
    """A split ``(circuit, executors) -> [(executor, shots), ...]``, as clusters have them.

    Backends that have no place for the circuit are left out before the split is asked, unless every backend is to run
    all shots: then the experiment is about each of them, and those without a place are reported as errors.

    Args:
        split: the function.
    """

    def __init__(self, split: splits.Split) -> None:
        self._split = split
        self._adds_up = split is not splits.multiplier

    def shared(self, request: CircuitRequest, data: Any) -> tuple[Dispatch, Any]:
        script = request.script
        candidates = able(request) if self._adds_up else list(request.backends)
        if request.shots is None:
            if len(candidates) > 1 and self._adds_up:
                raise AnalyticCircuitError(
                    f"circuit {request.number} has no shots to share out over {len(candidates)} backends: give shots=, "
                    "or take the split 'multiplier', by which each of them computes the exact result."
                )
            shares = [Share(candidate, 0) for candidate in candidates]
        else:
            shares = splits.checked(self._split(script, candidates), request.shots or 0, candidates, self._adds_up)
        return _dispatch(request, shares, self._adds_up), data


class SelectorSplit(ExperimentSplit):
    """A selector ``(circuit, executors) -> executor``: each circuit goes whole to one backend.

    Args:
        selector: the function.
    """

    def __init__(self, selector: Callable[[QuantumScript, Sequence[BackendCandidate]], Any]) -> None:
        self._selector = selector

    def shared(self, request: CircuitRequest, data: Any) -> tuple[Dispatch, Any]:
        script, candidates = request.script, able(request)
        chosen = self._selector(script, candidates)
        if chosen not in candidates:
            raise PolicyError(f"the selector returned {chosen!r}, which is none of the backends that it was given.")
        return _dispatch(request, [Share(chosen, request.shots or 0)]), data


@dataclass(frozen=True)
class PaperFormSplit(ExperimentSplit):
    """A function ``(circuit, shots, backends, virtual_provider, data) -> (Dispatch, data)``, called for each circuit.

    Attributes:
        name: what it is called.
        function: given the circuit as the user gave it.
    """

    name: str
    function: PaperSplit

    def shared(self, request: CircuitRequest, data: Any) -> tuple[Dispatch, Any]:
        names: dict[str, list[str]] = {}
        for one in request.backends:
            names.setdefault(one.backend.provider, []).append(one.backend.name)
        returned = self.function(request.given, request.shots, names, request.provider, data)
        if not isinstance(returned, tuple) or len(returned) != 2 or not isinstance(returned[0], Dispatch):
            raise PolicyError(
                f"split {self.name!r} returned {returned!r}: return a pair (qexec.Dispatch, data), with the jobs that "
                "Dispatch().add_job(...) adds."
            )
        dispatch, data = returned
        if request.shots is not None:
            self._check(dispatch, request)
        return dispatch, data

    def _check(self, dispatch: Dispatch, request: CircuitRequest) -> None:
        """Note whether the jobs are shares of the circuit, and warn if shots are lost: that is allowed, but told."""
        shots = sum(job.total_shots for job in dispatch)
        dispatch.adds_up = dispatch.adds_up and shots == request.shots
        if shots < (request.shots or 0):
            warnings.warn(
                f"split {self.name!r} shared out {shots} of the {request.shots} shots of circuit {request.number}.",
                PartialResultWarning,
                stacklevel=2,
            )


def able(request: CircuitRequest) -> list[BackendCandidate]:
    """The backends that have a place for a circuit.

    Raises:
        NoBackendError: there is none; says why, backend by backend.
    """
    script, number = request.script, request.number
    reasons = {backend: backend.rejects(script) for backend in request.backends}
    left = [backend for backend, reason in reasons.items() if reason is None]
    why = {backend.name: reason for backend, reason in reasons.items() if reason is not None}
    if not left:
        raise NoBackendError(f"circuit {number}", why)
    for name, reason in why.items():
        logger.warning("%s %s: it gets no share of circuit %d, the others run all its shots", name, reason, number)
    return left


def _dispatch(request: CircuitRequest, shares: Sequence[Share], adds_up: bool = True) -> Dispatch:
    dispatch = Dispatch(adds_up)
    for candidate, shots in shares:
        backend, own = candidate.backend, _config_of(request.config, request.backends.index(candidate))
        dispatch.add_job(backend.provider, backend.name, [request.given], shots or None, own)
    return dispatch


def _config_of(config: Mapping[str, Any], index: int) -> Mapping[str, Any]:
    """The options of a backend: simulators of one kind must not draw the same shots twice."""
    seed = checked_seed(config.get("seed"))
    if seed is None or not index:
        return config
    return {**config, "seed": int(np.random.SeedSequence([seed, index]).generate_state(1)[0])}
