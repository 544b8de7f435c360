"""Providers as qBraid has them: made with the credentials that are there, and asked for jobs by their id."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pennylane_qexec import credentials
from pennylane_qexec.errors import ConfigurationError, NoAccessError, unknown

_CONNECTIONS = {
    "aqt": ("session", "session"),
    "azure": ("workspace", "workspace"),
    "ibm": ("service", "runtime_service"),
    "ionq": ("session", "session"),
    "openquantum": ("session", "session"),
    "oqc": ("client", "client"),
    "origin": ("service", "service"),
    "qbraid": ("client", "client"),
    "qperfect": ("connection", "connection"),
    "qudora": ("session", "session"),
}
"""What a provider's jobs ask through: the argument of its jobs, and the provider's attribute."""

_EXTRAS = {"aws": "braket", "ibm": "qiskit"}
"""qBraid's extras that are not called like the provider."""


def loaded(name: str, given: Mapping[str, Any]) -> Any:
    """One of qBraid's providers.

    Args:
        name: its name.
        given: arguments, which go before what is in the keyring, the environment or a ``.env`` file.

    Raises:
        NoAccessError: there is none, its package is not installed, or credentials are missing or not known.
    """
    from qbraid.runtime import get_providers, load_provider
    from qbraid.runtime.loader import ProviderLoaderError

    canonical = credentials.canonical(name)
    if canonical not in get_providers():
        raise NoAccessError(unknown("provider of qBraid", name, get_providers()))
    try:
        arguments = credentials.arguments(canonical, given)
        return credentials.guarded(lambda: load_provider(canonical, **arguments))
    except (ProviderLoaderError, ImportError) as error:
        raise NoAccessError(
            f"the provider {name!r} cannot be loaded ({_root(error)}). Install what it needs, usually with "
            f"`pip install 'qbraid[{_EXTRAS.get(canonical, canonical)}]'`."
        ) from error
    except TypeError as error:
        raise NoAccessError(f"the provider {name!r} with the arguments {sorted(arguments)}: {error}.") from error
    except ConfigurationError:
        raise
    except ValueError as error:
        advice = "It was given credentials: see whether they are right." if arguments else credentials.advice(canonical)
        raise NoAccessError(f"the provider {name!r} ({str(error).rstrip('.')}). {advice}") from error


def connection(name: str, provider: Callable[[], Any]) -> dict[str, Any]:
    """What a job of a provider, which is known by its id only, needs besides its device.

    Args:
        name: the provider's name.
        provider: makes the provider, or gives it if it is made.

    Raises:
        ConfigurationError: qBraid cannot find jobs of this provider by their id.
    """
    canonical = credentials.canonical(name)
    if canonical == "rigetti":
        raise ConfigurationError("qBraid cannot find jobs of the provider 'rigetti' by their id alone.")
    if canonical not in _CONNECTIONS:
        return {}
    argument, attribute = _CONNECTIONS[canonical]
    return {argument: getattr(provider(), attribute)}


def _root(error: BaseException) -> str:
    """The error that it all began with: qBraid wraps what a package's import raises."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {error}"
