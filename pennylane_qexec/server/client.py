"""IBM's client, connected to a server of one's own: nothing of the client is changed, and IBM is never asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import requests
from qiskit_ibm_runtime import QiskitRuntimeService
from requests.auth import AuthBase
from urllib3 import Retry

from pennylane_qexec import credentials
from pennylane_qexec.errors import NoAccessError
from pennylane_qexec.server.environment import INSTANCE, checked_url

_NOBODY = "local"  # any token does where there are none
_PATIENCE = 30.0  # seconds that a server may take to say that it is there
_RETRIES, _FIRST_PAUSE, _LONGEST_PAUSE = (
    20,
    0.5,
    2.0,
)
"""How often, and after how many seconds, a client tries again: half a minute, by which a server is there again."""

_RETRIES_OF_ANSWERS = 5  # as the client has it
_PASSING = (500, 502, 503, 504)


@final
class _Token(AuthBase):
    """Names the user in each request, by the token itself: clients before 0.49 know no server for tokens but IBM's."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        request.headers["Service-CRN"] = INSTANCE
        return request


@final
class _Patience(Retry):
    """Sends again what reached nobody, what changes nothing, and what there was no room for.

    IBM's own also submits again what was answered by 500, or by a proxy's 502 or 504: such a job may have been taken.
    """

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        """Whether a request is sent again that was answered so."""
        if method.upper() == "POST":
            return status_code == 503
        return super().is_retry(method, status_code, has_retry_after)


class RuntimeService(QiskitRuntimeService):
    """IBM's client of a server of one's own. :func:`runtime_service` makes one.

    The client asks IBM for a token and for the instances of an account. This one has a token, and one instance. It
    relies on three private names of the client, ``_active_api_client``, ``_api_clients`` and
    ``_create_new_cloud_api_client``, which a test holds for each version.

    Args:
        url: of the server, without a slash at its end.
        token: the user's.
        verify: whether the certificate of a server with TLS is checked.
    """

    def __init__(self, url: str, token: str, *, verify: bool = True) -> None:
        self._auth = _Token(token)
        super().__init__(
            channel="ibm_quantum_platform",
            token=token,
            url=url,
            instance=INSTANCE,
            verify=verify,
            url_resolver=lambda *_: f"{url}/v1",
        )
        for client in self._api_clients.values():
            self._authorized(client)

    def instances(self) -> Sequence[dict[str, Any]]:
        """The server, as the one instance that there is."""
        return [{"crn": INSTANCE, "plan": "open", "name": "local", "tags": [], "pricing_type": "free"}]

    @property
    def _active_api_client(self) -> Any:
        return self._client

    @_active_api_client.setter
    def _active_api_client(self, client: Any) -> None:
        self._client = self._authorized(client)

    def _create_new_cloud_api_client(self, instance: str) -> Any:
        return self._authorized(super()._create_new_cloud_api_client(instance))

    def _authorized(self, client: Any) -> Any:
        session = client._session
        session.auth = self._auth
        for scheme in ("http://", "https://"):
            session.get_adapter(scheme).max_retries = _Patience(
                total=_RETRIES,
                connect=_RETRIES,
                status=_RETRIES_OF_ANSWERS,
                backoff_factor=_FIRST_PAUSE,
                backoff_max=_LONGEST_PAUSE,
                status_forcelist=_PASSING,
            )
        return client


def runtime_service(url: str | None = None, token: str | None = None, *, verify: bool = True) -> RuntimeService:
    """Connect IBM's client to a server of one's own, which ``qexec serve`` starts.

    What comes back is a ``QiskitRuntimeService``: its backends are given to ``SamplerV2``, ``EstimatorV2``, ``Session``
    and ``Batch`` of ``qiskit_ibm_runtime``, and to ``qml.device("qiskit.remote")``. Who waits for a job while the
    server is started again sees its result then: the client tries for half a minute to reach it. What the server, or a
    proxy before it, may have taken is not submitted again.

    Args:
        url: where the server is, such as ``"http://127.0.0.1:8000"``; default: the variable ``QEXEC_URL``.
        token: of the user, made by ``qexec server-token``; default: that of the provider ``qexec`` in the keyring, or
            the variable ``QEXEC_TOKEN``. A server on this machine that has no tokens takes any.
        verify: whether the certificate of a server with TLS is checked.

    Raises:
        ConfigurationError: there is no URL, or it is none.
        NoAccessError: no server answers there, or it does not know the token.
    """
    known = credentials.arguments(credentials.SERVER, {"url": url, "token": token})
    base = checked_url(known.get("url"))
    token = known.get("token")
    _check(base, token, verify)
    return RuntimeService(base, token or _NOBODY, verify=verify)


def _check(url: str, token: str | None, verify: bool) -> None:
    """Ask the server once: the client, which has no timeout, would say less of what is wrong, and later."""
    try:
        answer = requests.get(
            f"{url}/v1/instances/usage", auth=_Token(token or _NOBODY), verify=verify, timeout=_PATIENCE
        )
    except requests.RequestException as error:
        raise NoAccessError(
            f"no server answers at {url} ({type(error).__name__}): start one with `qexec serve`, or correct the URL."
        ) from error
    if answer.status_code in (401, 403) and not token:
        raise NoAccessError(
            f"the server at {url} wants a token, which `qexec server-token` makes there: give yours, store it with "
            "`qexec token set qexec`, or set QEXEC_TOKEN."
        )
    if answer.status_code in (401, 403):
        raise NoAccessError(
            f"the server at {url} does not know this token: ask who runs it for one, which `qexec server-token` makes."
        )
    if answer.status_code != 200:
        raise NoAccessError(
            f"what answers at {url} is not a server of pennylane-qexec, or is not ready: it said {answer.status_code} "
            "when asked for the usage of the user."
        )
