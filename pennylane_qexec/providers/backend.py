"""Backends of providers: what they are, whether they are online, and how executors for them are made."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from copy import copy
from functools import cached_property
from typing import Any, Literal, final

from pennylane_qexec.errors import ConfigurationError, checked_seed, misfit, unknown
from pennylane_qexec.executors import Executor
from pennylane_qexec.job import Status
from pennylane_qexec.redaction.display import even_incomplete

Kind = Literal["simulator", "noisy simulator", "QPU"]
"""What a backend is."""

OF_CALLS = "mcm_method"
"""The option that is said with the circuits, and not when an executor is made."""

_EVERYWHERE = {"seed", OF_CALLS}
"""Options that need no look at what else there is, which for some backends means to import their simulator."""

_METHODS = ("deferred", "device", "one-shot", "tree-traversal")

_ELSEWHERE = {
    "name": "executors of backends are called 'provider/backend'",
    "shots": "the number of shots goes with the circuit, or with the job",
}


@final
class Backend:
    """A backend of a provider, for which any number of executors can be made.

    Making one of these is cheap: what it is made of is imported, read or asked for only when it is needed.

    Args:
        provider: the name of the provider. Where the provider is added under another name, that one counts.
        name: the name of the backend.
        make: makes an executor, given options as keyword arguments; a class of executors will do, or a
            :func:`functools.partial` of one. A class at the top of a module, or of a notebook, can run in worker
            processes too.
        kind: ``"simulator"``, ``"noisy simulator"`` or ``"QPU"``.
        num_qubits: how many qubits it has; ``None`` for any number; or a function that finds out.
        ask: asks the backend for its status; a backend without is always online. It may take a while, and may raise.
        options: finds out the names of the options that ``make`` takes; default: its keyword arguments.
    """

    def __init__(
        self,
        provider: str,
        name: str,
        make: Callable[..., Executor],
        *,
        kind: Kind = "simulator",
        num_qubits: int | Callable[[], int | None] | None = None,
        ask: Callable[[], Status] | None = None,
        options: Callable[[], Iterable[str] | None] | None = None,
    ) -> None:
        self.provider = provider
        self.name = name
        self.kind = kind
        self._make = make
        self._num_qubits = num_qubits
        self._ask = ask
        self._options = options

    @cached_property
    def num_qubits(self) -> int | None:
        """How many qubits it has; ``None`` if it takes what circuits need, or does not say."""
        return self._num_qubits() if callable(self._num_qubits) else self._num_qubits

    @property
    def asks(self) -> bool:
        """Whether there is somebody to ask for its status; else it is always online."""
        return self._ask is not None

    def status(self) -> Status:
        """What the backend says of itself; one that is elsewhere is asked, which may take a while, and may fail."""
        return Status() if self._ask is None else self._ask()

    @property
    def online(self) -> bool:
        """Whether it takes jobs now."""
        return self.status().online

    def executor(self, **config: Any) -> Executor:
        """Make an executor for this backend.

        Args:
            config: options, such as ``seed``. Which there are depends on the backend: see :doc:`/reference/providers`.

        Returns:
            A new executor, called ``"provider/backend"``.

        Raises:
            ConfigurationError: an option is unknown or wrong, or the backend cannot be used here.
        """
        self.check(config)
        options = {name: value for name, value in config.items() if name != OF_CALLS}
        try:
            made = self._make(**options)
        except TypeError as error:
            if not misfit(error, self._make, **options):
                raise
            raise ConfigurationError(f"backend '{self}' with the options {sorted(config)}: {error}.") from error
        except SystemExit as error:  # as libraries do that are used from the command line elsewhere
            raise ConfigurationError(f"backend '{self}' cannot be made: it wanted to end the program.") from error
        if not isinstance(made, Executor):
            raise ConfigurationError(f"backend '{self}' made {made!r}, which is no Executor.")
        made.name = str(self)
        return made

    def under(self, provider: str, name: str) -> Backend:
        """The same backend, under other names."""
        if (provider, name) == (self.provider, self.name):
            return self
        same = copy(self)
        same.provider, same.name = provider, name
        return same

    def check(self, config: Mapping[str, Any]) -> None:
        """See that there are such options, as far as can be told without making an executor.

        Raises:
            ConfigurationError: an option is unknown, or its value is wrong.
        """
        for option, why in _ELSEWHERE.items():
            if option in config:
                raise ConfigurationError(f"backend '{self}' takes no option {option}={config[option]!r}: {why}.")
        checked_seed(config.get("seed"))
        if config.get(OF_CALLS) not in (None, *_METHODS):
            raise ConfigurationError(unknown("method of mid-circuit measurements", config[OF_CALLS], _METHODS))
        known = self._known() if config.keys() - _EVERYWHERE else None
        for option in config:
            if known is not None and option not in known and option != OF_CALLS:
                raise ConfigurationError(unknown(f"option of backend '{self}'", option, known))

    def _known(self) -> frozenset[str] | None:
        """The names of the options; ``None`` if nobody can say before they are tried."""
        names = named_options(self._make) if self._options is None else self._options()
        return None if names is None else frozenset(names) - _ELSEWHERE.keys()

    def __str__(self) -> str:
        return f"{self.provider}/{self.name}"

    @even_incomplete
    def __repr__(self) -> str:
        return f"<Backend '{self}' ({self.kind})>"


class Provider(ABC):
    """Where backends come from. Subclass it for backends of your own.

    Attributes:
        name: how it is called where it is not given another name.
    """

    name: str = ""

    @abstractmethod
    def backends(self) -> Mapping[str, Backend]:
        """The backends by name, in the order in which they are listed; asked for once.

        Whatever this raises is the reason why the provider cannot be used.
        """

    @even_incomplete
    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


def named_options(function: Callable[..., Any]) -> frozenset[str] | None:
    """The names of a function's keyword arguments; ``None`` if it takes any name, or does not say."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return None
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    by_name = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return frozenset(parameter.name for parameter in parameters if parameter.kind in by_name)


def own_options(kind: type[Executor], *fixed: str) -> frozenset[str]:
    """The options that a class of executors has by name, without those that a backend decides on."""
    parameters = inspect.signature(kind).parameters.values()
    named = {parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD}
    return frozenset(named - {"name", *fixed})
