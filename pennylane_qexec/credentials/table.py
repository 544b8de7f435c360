"""What qBraid's providers and servers of our own want to know of users: arguments, and the usual variables."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

GENERIC = ("api_key", "token")
"""What may be said for the main secret of any provider, besides its own name."""

SERVER = "qexec"
"""What servers of our own are called where providers are named."""

_ALIASES = {"native": "qbraid", "qiskit": "ibm", "braket": "aws"}


class Kind(Enum):
    """What an argument is."""

    SECRET = auto()
    """Is shown nowhere."""
    IDENTITY = auto()
    """Belongs to a secret, such as the name of a user: it comes from where the secret comes from."""
    SETTING = auto()
    """Is of use with any secret, such as an address."""


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a provider.

    Attributes:
        name: its name, as qBraid's providers have it.
        variable: the environment variable that it usually is in.
        kind: whether it is secret.
    """

    name: str
    variable: str
    kind: Kind = Kind.SECRET


def _identity(name: str, variable: str) -> Argument:
    return Argument(name, variable, Kind.IDENTITY)


def _setting(name: str, variable: str) -> Argument:
    return Argument(name, variable, Kind.SETTING)


_TABLE: Mapping[str, tuple[Argument, ...]] = {
    "aqt": (
        Argument("access_token", "AQT_ACCESS_TOKEN"),
        Argument("client_secret", "AQT_CLIENT_SECRET"),
        _identity("client_id", "AQT_CLIENT_ID"),
        _setting("arnica_url", "AQT_ARNICA_URL"),
    ),
    "aws": (
        Argument("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY"),
        Argument("aws_session_token", "AWS_SESSION_TOKEN"),
        _identity("aws_access_key_id", "AWS_ACCESS_KEY_ID"),
    ),
    "azure": (Argument("connection_string", "AZURE_QUANTUM_CONNECTION_STRING"),),
    "ibm": (
        Argument("token", "QISKIT_IBM_TOKEN"),
        _setting("instance", "QISKIT_IBM_INSTANCE"),
        _setting("channel", "QISKIT_IBM_CHANNEL"),
        _setting("url", "QISKIT_IBM_URL"),
    ),
    "ionq": (Argument("api_key", "IONQ_API_KEY"),),
    "openquantum": (
        Argument("client_secret", "OPENQUANTUM_CLIENT_SECRET"),
        _identity("client_id", "OPENQUANTUM_CLIENT_ID"),
    ),
    "oqc": (Argument("token", "OQC_AUTH_TOKEN"),),
    "origin": (Argument("api_key", "ORIGIN_API_KEY"),),
    "pasqal": (
        Argument("password", "PASQAL_PASSWORD"),
        _identity("username", "PASQAL_USERNAME"),
        _setting("project_id", "PASQAL_PROJECT_ID"),
    ),
    "qbraid": (Argument("api_key", "QBRAID_API_KEY"),),
    SERVER: (Argument("token", "QEXEC_TOKEN"), _setting("url", "QEXEC_URL")),
    "qperfect": (
        Argument("token", "QPERFECT_API_TOKEN"),
        Argument("password", "QPERFECT_PASSWORD"),
        _identity("username", "QPERFECT_USERNAME"),
        _setting("url", "QPERFECT_BASE_URL"),
    ),
    "quantinuum": (),
    "qudora": (Argument("token", "QUDORA_API_TOKEN"), _setting("base_url", "QUDORA_BASE_URL")),
    "rigetti": (
        Argument("refresh_token", "RIGETTI_REFRESH_TOKEN"),
        _setting("client_id", "RIGETTI_CLIENT_ID"),
        _setting("issuer", "RIGETTI_ISSUER"),
    ),
}

VARIABLES: Mapping[str, tuple[str, ...]] = {
    provider: tuple(argument.variable for argument in arguments) for provider, arguments in _TABLE.items()
}
"""The usual environment variables of each provider that qBraid knows, and of our own servers.

That of the main secret is the first.
"""


def canonical(provider: str) -> str:
    """A provider's name as tables and the keyring have it: small letters, and one name for each."""
    name = provider.strip().lower()
    return _ALIASES.get(name, name)


def described(provider: str) -> tuple[Argument, ...]:
    """The arguments of a provider, the main secret first; of one that is not known, an ``api_key``."""
    name = canonical(provider)
    if name in _TABLE:
        return _TABLE[name]
    return (Argument("api_key", f"QEXEC_{re.sub(r'[^A-Z0-9]', '_', name.upper())}_TOKEN"),)


def argument_names(provider: str) -> tuple[str, ...]:
    """The names of the secrets of a provider and of what belongs to them; that of the main secret first."""
    return tuple(one.name for one in described(provider) if one.kind is not Kind.SETTING)


def advice(provider: str) -> str:
    """What somebody without a token may do: the end of an error's message."""
    arguments = described(provider)
    if not arguments:
        return "Log in with the provider's own program."
    needed = [one.variable for one in arguments if one.kind is not Kind.SETTING]
    several = " (or those of them that apply)" if len(needed) > 1 else ""
    return (
        f"Store a token with `qexec token set {canonical(provider)}`, or set {' and '.join(needed)}{several} in the "
        "environment or in a .env file."
    )
