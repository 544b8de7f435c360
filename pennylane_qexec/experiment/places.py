"""Backends as split policies see them, and what users write for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pennylane.tape import QuantumScript

from pennylane_qexec.dynamic import qubits_of
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.cost import Cost
from pennylane_qexec.job import Load, Status
from pennylane_qexec.providers import Backend
from pennylane_qexec.shown import even_incomplete

_FORMS = "{'local_aer': ['aer_simulator', 'fake_manila']}"


class Place:
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
        return f"<Place {self.name!r}>"


def too_small(backend: Backend, circuit: QuantumScript) -> str | None:
    """Why a circuit has no place on a backend, the end of a sentence; ``None`` if it has."""
    try:
        qubits = backend.num_qubits
    except Exception as error:  # of a user's provider
        return f"does not say how many qubits it has ({type(error).__name__}: {error})"
    needed = qubits_of(circuit)
    if qubits is None or needed <= qubits:
        return None
    return f"has {qubits} qubit{'s'[: qubits != 1]}, and the circuit needs {needed}"


def named(backends: Any) -> dict[str, list[str]]:
    """The backends that a user names, by provider.

    Args:
        backends: names by provider, a single name or several; the backends that ``get_backends`` returns; or full names
            such as ``"local_aer/fake_manila"``.

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
    return found


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
