"""What leads clients to a server: its URL, and the variables that IBM's client reads. Nothing heavy is imported."""

from __future__ import annotations

from urllib.parse import urlsplit

from pennylane_qexec.errors import ConfigurationError

INSTANCE = "crn:v1:bluemix:public:quantum-computing:us-east:a/local:local::"
"""What a server is called where IBM's client wants the name of an instance."""


def environment(url: str, token: str) -> dict[str, str]:
    """The variables by which IBM's client from 0.49 on, unchanged, finds a server of one's own.

    Args:
        url: where the server is.
        token: of the user.

    Raises:
        ConfigurationError: the URL is none.
    """
    base = checked_url(url)
    return {
        "IAM_URL": base,
        "GLOBAL_SEARCH_URL": base,
        "GLOBAL_CATALOG_URL": f"{base}/api/v1",
        "QISKIT_IBM_TOKEN": token,
        "QISKIT_IBM_URL": f"{base}/experimental/api/v1",
        "QISKIT_IBM_INSTANCE": INSTANCE,
    }


def checked_url(url: str | None) -> str:
    """The URL of a server, without a slash at its end.

    Args:
        url: what a user gave.

    Raises:
        ConfigurationError: there is no URL, or it is none.
    """
    if not url:
        raise ConfigurationError(
            'there is no URL of a server: give one, such as "http://127.0.0.1:8000", or set QEXEC_URL.'
        )
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigurationError(f'{url!r} is no URL of a server: give one such as "http://127.0.0.1:8000".')
    return url.rstrip("/")
