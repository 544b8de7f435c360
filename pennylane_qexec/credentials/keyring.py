"""The system's keyring: one entry for each provider, and one with the names of the providers that have one.

On a machine without a keyring, nothing is there, and nothing can be stored. A keyring may be slow, or ask the user to
open it; so each entry is read once in a process.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Mapping
from typing import final

from pennylane_qexec.credentials.table import GENERIC, Kind, argument_names, canonical, described
from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.redaction import Hidden, know, know_named, veiled

SERVICE = "pennylane-qexec"

_INDEX = "stored providers"  # with a space: no provider is called so

logger = logging.getLogger("pennylane_qexec")


@final
class _Entries:
    """The entries of the keyring, each read once; none where there is no keyring that can be read."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._read: dict[str, Hidden] = {}
        self._unusable = False

    def get(self, user: str) -> str:
        """An entry; empty if there is none."""
        with self._lock:
            if user not in self._read and not self._unusable:
                self._read[user] = Hidden(self._asked(user))
            return self._read[user].reveal() if user in self._read else ""

    def set(self, user: str, text: str) -> None:
        """Write an entry, or delete it if the text is empty.

        Raises:
            ConfigurationError: the keyring did not keep it.
        """
        import keyring
        from keyring.errors import PasswordDeleteError

        with self._lock:
            self.forget()
            try:
                if text:
                    keyring.set_password(SERVICE, user, text)
                else:
                    with contextlib.suppress(PasswordDeleteError):
                        keyring.delete_password(SERVICE, user)
                kept = (keyring.get_password(SERVICE, user) or "") == text
                reason = "it keeps nothing"
            except Exception as error:  # each keyring has errors of its own
                kept, reason = False, type(error).__name__
        # Raised out here, it does not remember the keyring's own error, which may show what was to be stored.
        if not kept:
            raise ConfigurationError(f"this machine has no keyring that can be written ({reason}).")

    def forget(self) -> None:
        with self._lock:
            self._read.clear()
            self._unusable = False

    def _asked(self, user: str) -> str:
        import keyring
        from keyring.errors import NoKeyringError

        try:
            return keyring.get_password(SERVICE, user) or ""
        except NoKeyringError:
            self._unusable = True
        except Exception as error:  # each keyring has errors of its own
            self._unusable = True
            logger.warning("the keyring could not be read (%s): its tokens are not used", type(error).__name__)
        return ""


_entries = _Entries()


def read(provider: str) -> dict[str, str]:
    """The arguments that the keyring has for a provider; empty if it has none."""
    text = _entries.get(canonical(provider))
    if not text:
        return {}
    found = _parsed(text)
    return found if found is not None else {argument_names(provider)[0]: text} if argument_names(provider) else {}


@veiled
def store(provider: str, token: str | Mapping[str, str]) -> None:
    """Store the token of a provider in the system's keyring.

    Args:
        provider: the provider's name, such as ``"ionq"``.
        token: the token; or a mapping with several arguments of the provider, such as ``{"aws_access_key_id": ...,
            "aws_secret_access_key": ...}``.

    Raises:
        ConfigurationError: the token is empty, an argument is unknown, the provider has no tokens, or there is no
            keyring.
    """
    if isinstance(token, str):
        know(token)
    else:
        know_named(token)
    name = canonical(provider)
    found = _checked(name, token)
    instead = " and ".join(one.variable for one in described(name) if one.name in found)
    try:
        _entries.set(name, json.dumps(found))
        _entries.set(_INDEX, json.dumps(sorted({*stored(), name})))
    except ConfigurationError as error:
        raise ConfigurationError(
            f"{error} Set {instead} in the environment or in a .env file instead, or install a keyring, such as "
            "GNOME Keyring or KWallet."
        ) from None
    for argument in described(name):
        if argument.kind is Kind.SECRET and argument.name in found:
            know(found[argument.name])


def remove(provider: str) -> None:
    """Remove the token of a provider from the keyring.

    Raises:
        ConfigurationError: none is stored there.
    """
    name = canonical(provider)
    if not _entries.get(name):
        raise ConfigurationError(unknown("provider with a token in the keyring", provider, stored()))
    _entries.set(name, "")
    _entries.set(_INDEX, json.dumps([one for one in stored() if one != name]))


def stored() -> list[str]:
    """The providers whose tokens :func:`store` has put into the keyring, sorted."""
    text = _entries.get(_INDEX)
    return sorted(json.loads(text)) if text else []


def forget() -> None:
    """Forget what was read from the keyring, so that it is asked again."""
    _entries.forget()


def _checked(provider: str, token: str | Mapping[str, str]) -> dict[str, str]:
    """What is to be stored. No value is shown: it is secret."""
    names = [one.name for one in described(provider)]
    if not names:
        raise ConfigurationError(f"provider={provider!r} has no token: log in with its own program.")
    given = {names[0]: token} if isinstance(token, str) else dict(token)
    found: dict[str, str] = {}
    for argument, value in given.items():
        name = names[0] if argument in GENERIC and argument not in names else argument
        if name not in names:
            raise ConfigurationError(unknown(f"argument of the provider {provider!r}", argument, names))
        if not isinstance(value, str) or not value.strip():
            raise ConfigurationError(f"the {argument} of the provider {provider!r} is empty: give a text.")
        found[name] = value.strip()
    if not found:
        raise ConfigurationError(f"no token was given for the provider {provider!r}: give one of {names}.")
    return found


def _parsed(text: str) -> dict[str, str] | None:
    """What :func:`store` wrote; ``None`` if it is a token that somebody else put there."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return None
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else None
