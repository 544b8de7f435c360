"""What users say about providers: which to use, and with what information."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from pennylane_qexec import credentials
from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.providers.aer import LocalAer
from pennylane_qexec.providers.backend import Provider
from pennylane_qexec.providers.pennylane import LocalCirq, LocalPennyLane
from pennylane_qexec.scrubbing import know_named

LOCAL: dict[str, type[Provider]] = {kind.name: kind for kind in (LocalAer, LocalPennyLane, LocalCirq)}
"""The providers that need no credentials, by name."""

ADD = "One of your own is added with VirtualProvider.add_provider."


@cache
def elsewhere() -> tuple[str, ...]:
    """The names of qBraid's providers, and of those that installed packages add to them, sorted."""
    installed = {point.name for point in entry_points(group="qbraid.providers")}
    return tuple(sorted((installed | set(credentials.VARIABLES)) - LOCAL.keys()))


def checked_info(info: Mapping[str, Mapping[str, Any]] | None) -> dict[str, Mapping[str, Any]]:
    """Information about providers, none of it shown in any message; all its texts may be secret, and are hidden.

    Raises:
        ConfigurationError: it is no mapping of mappings, or for a provider that does not exist, or needs none.
    """
    if not isinstance(info or {}, Mapping):
        raise ConfigurationError("providers_info= is no mapping: write {'ionq': {'api_key': ...}}.")
    know_named(info or {})
    for name, arguments in (info or {}).items():
        if name not in LOCAL and name not in elsewhere():
            raise ConfigurationError(unknown("provider", name, elsewhere(), ADD))
        if not isinstance(arguments, Mapping) or not all(isinstance(key, str) for key in arguments):
            raise ConfigurationError(f"providers_info[{name!r}] is no mapping of names: write {{'api_key': ...}}.")
        if name in LOCAL and arguments:
            raise ConfigurationError(f"provider {name!r} is local and takes none of {list(arguments)}: leave that out.")
    return {
        name: {key: credentials.Hidden(one) if isinstance(one, str) else one for key, one in arguments.items()}
        for name, arguments in (info or {}).items()
    }


def checked_choice(providers: Iterable[str] | Mapping[str, Any] | None) -> tuple[str, ...] | None:
    """The names of the providers that were chosen; ``None`` if that was left open.

    Raises:
        ConfigurationError: there is no such provider.
    """
    if providers is None:
        return None
    if isinstance(providers, Mapping):
        return ()  # all of them are added
    if isinstance(providers, str):
        raise ConfigurationError(f"providers={providers!r} is one name: give a list of names, [{providers!r}].")
    chosen = tuple(providers)
    known = (*LOCAL, *elsewhere())
    for name in chosen:
        if name not in known:
            raise ConfigurationError(unknown("provider", name, known, ADD))
    return chosen


def with_credentials() -> list[str]:
    """The names of providers for which there are credentials in the keyring, the environment or ``.env``."""
    return [name for name in elsewhere() if credentials.source(name) is not None]
