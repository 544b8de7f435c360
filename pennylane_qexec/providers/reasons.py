"""Why a provider cannot be used, and what to do about it, in one line without secrets."""

from __future__ import annotations

from collections.abc import Iterator

from pennylane_qexec import credentials
from pennylane_qexec.errors import QExecError

_EXTRAS = {"aws": "braket", "ibm": "qiskit"}
"""qBraid's extras that are not called like the provider."""

_LONGEST = 300


def reason(provider: str, error: BaseException, given: bool = False) -> str:
    """Say why a provider failed.

    Args:
        provider: the provider's name.
        error: what it raised.
        given: whether credentials were given, so that nobody need be told how to store them.

    Returns:
        One line, that begins with what is wrong and ends with what to do, if that is known.
    """
    if isinstance(error, QExecError):
        return _line(error)
    missing = next((cause for cause in _causes(error) if isinstance(cause, ImportError)), None)
    if missing is not None and provider in credentials.VARIABLES:
        return f"{_line(missing).rstrip('.')}. Install what it needs with `pip install 'qbraid[{_extra(provider)}]'`."
    what = f"{type(error).__name__}: {_line(error)}"
    if provider in credentials.VARIABLES and not given and credentials.source(provider) is None:
        return f"{what.rstrip('.')}. {credentials.advice(provider)}"
    return what


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, what it was raised from, and so on."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _extra(provider: str) -> str:
    return _EXTRAS.get(provider, provider)


def _line(error: BaseException) -> str:
    words = " ".join(credentials.scrub(str(error)).split())
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."
