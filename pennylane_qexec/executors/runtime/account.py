"""The account at IBM Quantum that jobs are sent from: looked up when the first job is sent, and shown nowhere."""

from __future__ import annotations

import threading
from typing import Any, final

from pennylane_qexec import credentials
from pennylane_qexec.credentials import Hidden
from pennylane_qexec.errors import ConfigurationError, NoAccessError
from pennylane_qexec.redaction import veiled

CHANNELS = ("ibm_quantum_platform", "ibm_cloud")

_INSTEAD = (
    "Give token= and instance=, set QISKIT_IBM_TOKEN and QISKIT_IBM_INSTANCE in the environment or in a .env file, "
    "store the token with `qexec token set ibm`, or save an account once with "
    "QiskitRuntimeService.save_account(token=..., instance=..., set_as_default=True). Without an account, a fake "
    "backend such as 'fake_manila' simulates a machine here."
)
_WRONG = ("IBMNotAuthorizedError", "IBMInputValueError", "InvalidAccountError", "ValueError")


@final
class Account:
    """Who pays for the jobs. Nothing is looked up and nothing is sent before :meth:`service` is called.

    Args:
        service: a service of Qiskit Runtime, connected already; then nothing else is needed.
        token: the API key; default: that of the keyring, else ``QISKIT_IBM_TOKEN`` in the environment or a ``.env``
            file, else that of the saved account.
        channel: which of IBM's platforms.
        instance: the instance, by its name or its cloud resource name.
        url: the address of the platform.

    Raises:
        ConfigurationError: there is no such channel, or options are given beside a service.
    """

    @veiled
    def __init__(
        self,
        service: Any = None,
        token: str | None = None,
        channel: str | None = None,
        instance: str | None = None,
        url: str | None = None,
    ) -> None:
        options = {"token": token, "channel": channel, "instance": instance, "url": url}
        given = [name for name, value in options.items() if value]
        if service is not None and given:
            raise ConfigurationError(f"{' and '.join(given)} given beside service=, which is connected already.")
        if channel and channel not in CHANNELS:
            raise ConfigurationError(f"channel={channel!r} is not known: {' or '.join(map(repr, CHANNELS))} is.")
        self._given = service is not None
        self._service = service
        self._token = Hidden(token or "")
        self._options = {name: value for name, value in options.items() if value and name != "token"}
        self._lock = threading.Lock()

    @property
    def given(self) -> bool:
        """Whether the service was made by the user."""
        return self._given

    def service(self) -> Any:
        """The service, connected when this is called for the first time.

        Raises:
            NoAccessError: there is no account, or IBM does not accept it.
            ConnectionError: IBM could not be reached.
        """
        with self._lock:
            if self._service is None:
                self._service = self._connected()
            return self._service

    def _connected(self) -> Any:
        from qiskit_ibm_runtime import QiskitRuntimeService
        from qiskit_ibm_runtime.accounts import AccountNotFoundError

        token, options = self._completed()
        try:
            return QiskitRuntimeService(token=token.reveal() or None, **options)
        except AccountNotFoundError:
            failure: Exception = NoAccessError(f"no account at IBM Quantum was found. {_INSTEAD}")
        except Exception as error:
            failure = _explained(error, token)
        # Raised out here, it does not remember what was raised in there, which may show the token.
        raise failure

    def _completed(self) -> tuple[Hidden, dict[str, str]]:
        """The token, and the options; with those of the environment if the token is not the saved account's."""
        found = credentials.arguments("ibm", {**self._options, "token": self._token.reveal() or None})
        token = Hidden(found.pop("token", ""))
        return token, found if token else self._options

    def __getstate__(self) -> dict[str, Any]:
        if self._given:
            raise TypeError(
                "an executor with a service= cannot be sent to another process. Give channel= and instance= instead, "
                "and the token in the variable QISKIT_IBM_TOKEN, or save the account."
            )
        return self._options

    def __setstate__(self, options: dict[str, Any]) -> None:
        self.__init__(**options)


def _explained(error: Exception, token: Hidden) -> Exception:
    """What went wrong, without the token, which the libraries underneath may show."""
    said = credentials.scrub(f"{type(error).__name__}: {error}", token)
    if any(kind.__name__ in _WRONG for kind in type(error).__mro__):
        return NoAccessError(f"IBM Quantum does not accept this account ({said}). {_INSTEAD}")
    return ConnectionError(f"IBM Quantum could not be reached ({said}). Try again later, or add other executors.")
