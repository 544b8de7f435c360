"""All providers as one: each is loaded when it is needed, and one that fails does not stop the others.

What users say about providers is checked, and why one cannot be used is said in one line without secrets.
"""

from __future__ import annotations

import concurrent.futures
import logging
import threading
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import Future
from functools import cache, partial
from importlib.metadata import entry_points
from typing import Any, final

from pennylane_qexec import credentials
from pennylane_qexec.concurrency import interrupts
from pennylane_qexec.concurrency.thread_pool import asked
from pennylane_qexec.errors import ConfigurationError, QExecError, unknown
from pennylane_qexec.executors.qbraid.devices import EXTRAS
from pennylane_qexec.providers.backend import Backend, Provider
from pennylane_qexec.providers.local import LocalAer, LocalCirq, LocalPennyLane
from pennylane_qexec.providers.qbraid import QBraidProvider, as_provider
from pennylane_qexec.redaction import know_named, veiled
from pennylane_qexec.redaction.display import even_incomplete

logger = logging.getLogger("pennylane_qexec")


# What users say

LOCAL: dict[str, type[Provider]] = {kind.name: kind for kind in (LocalAer, LocalPennyLane, LocalCirq)}
"""The providers that need no credentials, by name."""

ADD = "One of your own is added with VirtualProvider.add_provider."


@cache
def elsewhere() -> tuple[str, ...]:
    """The names of qBraid's providers, and of those that installed packages add to them, sorted."""
    installed = {point.name for point in entry_points(group="qbraid.providers")}
    return tuple(sorted((installed | set(credentials.VARIABLES)) - LOCAL.keys() - {credentials.SERVER}))


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
    return {name: credentials.hidden(arguments) for name, arguments in (info or {}).items()}


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


# Why a provider cannot be used

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
    missing: BaseException | None = error
    while missing is not None and not isinstance(missing, ImportError):
        missing = missing.__cause__ or missing.__context__
    if missing is not None and provider in credentials.VARIABLES:
        extra = EXTRAS.get(provider, provider)
        return f"{_line(missing).rstrip('.')}. Install what it needs with `pip install 'qbraid[{extra}]'`."
    what = f"{type(error).__name__}: {_line(error)}"
    if provider in credentials.VARIABLES and not given and credentials.source(provider) is None:
        return f"{what.rstrip('.')}. {credentials.advice(provider)}"
    return what


def _line(error: BaseException) -> str:
    words = " ".join(credentials.scrub(str(error)).split())
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."


# All providers

_SECONDS_TO_LIST = 60.0
_SECONDS_TO_ANSWER = 10.0


@final
class VirtualProvider:
    """The backends of several providers, each of which is loaded when it is first needed, and once.

    Args:
        providers_info: for providers elsewhere, the keyword arguments of qBraid's provider, by name, such as
            ``{"ionq": {"api_key": "..."}}``. They go before credentials in the keyring, the environment and ``.env``.
        providers: the names of the providers to use, or a mapping of names to providers of your own, as
            :meth:`add_provider` takes them. Default: the local ones, those of ``providers_info``, and those for which
            there are credentials.

    Raises:
        ConfigurationError: there is no such provider, or it takes no information.
    """

    @veiled
    def __init__(
        self,
        providers_info: Mapping[str, Mapping[str, Any]] | None = None,
        providers: Iterable[str] | Mapping[str, Any] | None = None,
    ) -> None:
        self._info = checked_info(providers_info)
        self._chosen = checked_choice(providers)
        self._lock = threading.RLock()
        self._providers: dict[str, Provider] = {}
        self._added: list[str] = []
        self._lists: dict[str, Future[dict[str, Backend] | str]] = {}
        if isinstance(providers, Mapping):
            for name, provider in providers.items():
                self.add_provider(name, provider)

    @property
    def errors(self) -> dict[str, str]:
        """Why providers cannot be used, by name, as far as they were tried. A new object tries them again."""
        with self._lock:
            done = {name: listed.result() for name, listed in self._lists.items() if listed.done()}
        return {name: why for name, why in done.items() if isinstance(why, str)}

    def add_provider(self, name: str, provider: Any) -> None:
        """Add a provider, to be used beside those that were chosen.

        Args:
            name: how to call it.
            provider: a :class:`Provider`, or a ``QuantumProvider`` of qBraid.

        Raises:
            ConfigurationError: it is neither, or it cannot have this name.
        """
        if not isinstance(name, str) or not name or "/" in name:
            raise ConfigurationError(f"{name!r} cannot be a provider's name: give some letters, without '/'.")
        with self._lock:
            if name in LOCAL or name in self._providers:
                raise ConfigurationError(f"there is a provider called {name!r} already: give this one another name.")
            self._providers[name] = as_provider(name, provider)
            self._added.append(name)

    def get_providers(self) -> dict[str, Provider]:
        """The providers in use, by name, the local ones first. Nothing is loaded for that."""
        return {name: self._provider(name) for name in self._names()}

    def get_backends(self, *, online: bool = False) -> dict[str, dict[str, Backend]]:
        """The backends of all providers that can be used.

        Args:
            online: leave out those that take no jobs now. Backends elsewhere are asked all at the same time; one that
                does not answer within ten seconds is left out.

        Returns:
            Backends by provider and name, always in the same order. A provider that cannot be used, for the reason in
            :attr:`errors`, or has not listed its backends within a minute, is left out.
        """
        listing = {name: self._list(name) for name in self._names()}
        late = _late(listing.values(), _SECONDS_TO_LIST)
        found: dict[str, dict[str, Backend]] = {}
        for name, listed in listing.items():
            if listed in late:
                logger.warning("provider %r has not listed its backends after %g s", name, _SECONDS_TO_LIST)
            elif isinstance(backends := listed.result(), dict):
                found[name] = dict(backends)
        return _online(found) if online else found

    def get_backend(self, provider: str, name: str | None = None) -> Backend:
        """One backend. No provider but its own is loaded.

        Args:
            provider: the provider's name; without ``name``, that of the backend behind it, ``"provider/backend"``.
            name: the backend's name.

        Raises:
            ConfigurationError: there is no such provider or backend, or the provider cannot be used.
        """
        if name is None:
            provider, _, name = provider.partition("/")
        self._check_known(provider)
        listed = self._list(provider)
        _late([listed])
        backends = listed.result()
        if isinstance(backends, str):
            raise ConfigurationError(f"provider {provider!r} cannot be used: {backends}")
        if name not in backends:
            raise ConfigurationError(unknown(f"backend of provider {provider!r}", name, backends))
        return backends[name]

    def _names(self) -> list[str]:
        chosen = self._chosen
        if chosen is None:
            known = [name for name in elsewhere() if credentials.source(name) is not None]
            chosen = (*LOCAL, *sorted({*self._info, *known} - LOCAL.keys()))
        with self._lock:
            return list(dict.fromkeys([*chosen, *self._added]))

    def _check_known(self, name: str) -> None:
        known = (*LOCAL, *elsewhere()) if self._chosen is None else self._chosen
        with self._lock:
            known = (*known, *self._added)
        if name not in known:
            hint = ADD if self._chosen is None else "These are the ones chosen with providers=."
            raise ConfigurationError(unknown("provider", name, known, hint))

    def _provider(self, name: str) -> Provider:
        with self._lock:
            if name not in self._providers:
                kind = LOCAL.get(name)
                self._providers[name] = QBraidProvider(name, self._info.get(name)) if kind is None else kind()
            return self._providers[name]

    def _list(self, name: str) -> Future[dict[str, Backend] | str]:
        """What becomes the backends of a provider, or the reason why it has none; asked for once."""
        with self._lock:
            if name not in self._lists:
                self._lists[name] = asked(partial(_listed, name, self._provider(name), bool(self._info.get(name))))
            return self._lists[name]

    @even_incomplete
    def __repr__(self) -> str:
        return f"<VirtualProvider of {', '.join(self._names()) or 'nothing'}>"


def _listed(name: str, provider: Provider, given: bool) -> dict[str, Backend] | str:
    try:
        found = provider.backends()
        if not isinstance(found, Mapping):
            raise ConfigurationError(f"backends() returned {found!r}, which is no mapping: give backends by name.")
        return {key: _checked(key, backend).under(name, key) for key, backend in found.items()}
    except BaseException as error:  # whatever somebody else's library does; Ctrl-C does not arrive in this thread
        why = reason(name, error, given)
        logger.warning("provider %r cannot be used: %s", name, why)
        return why


def _checked(key: Any, backend: Any) -> Backend:
    if not isinstance(key, str):
        raise ConfigurationError(f"backends() has a backend called {key!r}, which is no name: call it {str(key)!r}.")
    if not isinstance(backend, Backend):
        raise ConfigurationError(f"backends() has {backend!r}, which is no Backend: make it with Backend(...).")
    return backend


def _online(found: Mapping[str, Mapping[str, Backend]]) -> dict[str, dict[str, Backend]]:
    """Those of the backends that take jobs."""
    everything = [backend for backends in found.values() for backend in backends.values()]
    questions = {str(backend): asked(partial(_takes_jobs, backend)) for backend in everything if backend.asks}
    late = _late(questions.values(), _SECONDS_TO_ANSWER)
    if late:
        names = [name for name, question in questions.items() if question in late]
        logger.warning("no answer after %g s, taken for offline: %s", _SECONDS_TO_ANSWER, ", ".join(names))

    def online(backend: Backend) -> bool:
        question = questions.get(str(backend))
        return question is None or (question not in late and question.result())

    return {provider: {name: one for name, one in some.items() if online(one)} for provider, some in found.items()}


def _late(futures: Collection[Future[Any]], timeout: float | None = None) -> set[Future[Any]]:
    """Those of the futures that have not ended in time."""
    late: set[Future[Any]] = set()

    def look(seconds: float | None) -> bool:
        nonlocal late
        late = concurrent.futures.wait(futures, seconds).not_done
        return not late

    interrupts.wait(look, timeout)
    return late


def _takes_jobs(backend: Backend) -> bool:
    try:
        return backend.online
    except BaseException as error:  # see _listed
        logger.warning("backend '%s' is taken for offline: %s", backend, reason(backend.provider, error))
        return False
