"""Where a provider's token comes from: what the caller gives, else the keyring, the environment, a ``.env`` file.

In memory it is a secret: not shown by what shows values, and taken out of what other libraries say.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pennylane_qexec.credentials import keyring
from pennylane_qexec.credentials.table import GENERIC, Argument, Kind, canonical, described
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.redaction import Hidden, know, know_named, veiled, without_secrets
from pennylane_qexec.redaction.exceptions import chain, texts
from pennylane_qexec.redaction.known import Finder

T = TypeVar("T")


def guarded(call: Callable[[], T], *secrets: str | Hidden) -> T:
    """Call a function of somebody else's library, and raise what it raises without secrets.

    An error that shows none is raised as it is. Of one that does, its kind and what it says without the secret are
    left: a ``ConnectionError``, ``TimeoutError``, ``ValueError`` or ``RuntimeError``.

    Args:
        call: the function, without arguments.
        secrets: see :func:`scrub`.
    """
    try:
        return call()
    except Exception as error:
        failure = _scrubbed(error, secrets)
    # Raised out here, it does not remember what was raised in there, which may show the secret.
    raise failure


def _scrubbed(error: Exception, secrets: tuple[str | Hidden, ...]) -> Exception:
    finder = Finder(secrets)
    if not any(finder.shows(text) for one in chain(error) for text in texts(one)):
        return without_secrets(error, *secrets)  # the variables of its traceback may show one
    said = finder.scrub(f"{type(error).__name__}: {error}")
    kinds = (ConnectionError, TimeoutError, ValueError, RuntimeError)
    kind = next((kind for kind in kinds if isinstance(error, kind)), RuntimeError)
    return kind(said)


@veiled
def arguments(provider: str, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The arguments that a provider is to be made with.

    Secrets, and what belongs to them, come from the first that has any: ``given``, the keyring, the environment, a
    ``.env`` file in the working folder or above it. Settings, such as an address, may come from any of them. Values of
    the environment are read from there by name; nothing is written to it.

    Args:
        provider: the provider's name, as qBraid has it. One that qBraid does not know has one secret, ``api_key``; it
            may be in ``QEXEC_<PROVIDER>_TOKEN``.
        given: arguments of the provider by name. ``api_key`` or ``token`` stand for its main secret, whatever that is
            called.

    Returns:
        Keyword arguments of qBraid's provider. Empty if nothing is known: the provider may still find what it needs,
        such as the configuration of its own program.

    Raises:
        ConfigurationError: the main secret is given twice.
    """
    described_ = described(provider)
    know_named(given or {})
    found = _named(provider, given or {}, described_)
    for read in _SOURCES.values():
        values = read(provider)
        missing = not any(one.name in found for one in described_ if one.kind is Kind.SECRET)
        taken = {one.name for one in described_ if missing or one.kind is Kind.SETTING}
        found = {**{name: value for name, value in values.items() if name in taken}, **found}
    _remember(found, described_)
    return _as_objects(canonical(provider), found)


def source(provider: str) -> str | None:
    """Where a provider's token would come from; the token itself is not told.

    Returns:
        ``"keyring"``, ``"environment"``, ``".env"``, or ``None`` if it is nowhere.
    """
    secrets = {one.name for one in described(provider) if one.kind is Kind.SECRET}
    return next((name for name, read in _SOURCES.items() if secrets & set(read(provider))), None)


def _from_environment(provider: str) -> dict[str, str]:
    return _in(os.environ, provider)


def _from_file(provider: str) -> dict[str, str]:
    from dotenv import dotenv_values, find_dotenv

    path = find_dotenv(usecwd=True)
    return _in(dotenv_values(path), provider) if path else {}


_SOURCES: dict[str, Callable[[str], dict[str, str]]] = {
    "keyring": keyring.read,
    "environment": _from_environment,
    ".env": _from_file,
}


def _in(variables: Mapping[str, str | None], provider: str) -> dict[str, str]:
    found = {one.name: variables.get(one.variable) for one in described(provider)}
    return {name: value for name, value in found.items() if value}


def _named(provider: str, given: Mapping[str, Any], described_: tuple[Argument, ...]) -> dict[str, Any]:
    """What was given, by the provider's own names, without what is ``None``."""
    names = [one.name for one in described_]
    found: dict[str, Any] = {}
    for argument, value in given.items():
        name = names[0] if names and argument in GENERIC and argument not in names else argument
        if value is None:
            continue
        if name in found:
            raise ConfigurationError(f"the {name} of the provider {provider!r} was given twice: give it once.")
        found[name] = value
    return found


def _remember(found: Mapping[str, Any], described_: tuple[Argument, ...]) -> None:
    """All that is secret, and all that we cannot tell, is kept out of errors."""
    open_ = {one.name for one in described_ if one.kind is not Kind.SECRET}
    for name, value in found.items():
        if name not in open_ and isinstance(value, str):
            know(value)


def _as_objects(provider: str, found: dict[str, Any]) -> dict[str, Any]:
    """Two of qBraid's providers take objects in place of texts."""
    if provider == "azure" and "connection_string" in found:
        return guarded(lambda: _with_workspace(found))
    if provider == "rigetti":
        others = {name: value for name, value in found.items() if name not in _OF_RIGETTI}
        return {**others, "qcs_client": guarded(lambda: _client(found))} if "refresh_token" in found else others
    return found


_OF_RIGETTI = ("refresh_token", "client_id", "issuer")


def _with_workspace(found: dict[str, Any]) -> dict[str, Any]:
    workspaces: Any = importlib.import_module("azure.quantum").Workspace
    others = {name: value for name, value in found.items() if name != "connection_string"}
    return {**others, "workspace": workspaces.from_connection_string(found["connection_string"])}


def _client(found: dict[str, Any]) -> Any:
    rigetti: Any = importlib.import_module("qbraid.runtime.rigetti.provider")
    session = rigetti.build_oauth_session(**{name: found.get(name) for name in _OF_RIGETTI})
    return rigetti.build_qcs_client(
        session,
        grpc_api_url=os.environ.get("QCS_GRPC_ENDPOINT", rigetti.DEFAULT_GRPC_API_URL),
        quilc_url=os.environ.get("QCS_QUILC_ENDPOINT", rigetti.DEFAULT_QUILC_URL),
        qvm_url=os.environ.get("QCS_QVM_ENDPOINT", rigetti.DEFAULT_QVM_URL),
    )
