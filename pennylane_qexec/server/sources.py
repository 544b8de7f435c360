"""Sources: what runs the jobs of a server, made from whatever it was given, and sent to its worker processes.

Executors, and PennyLane with them, are imported where a source is one: a server of Aer's needs 300 MB less without.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import cloudpickle

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.redaction import scrub, veiled

if TYPE_CHECKING:
    from pennylane_qexec.cluster import QCluster
    from pennylane_qexec.executors import Executor


class Kind(StrEnum):
    """What a source is, which decides on the program that runs its jobs."""

    AER = "aer"
    """Qiskit's Aer, with the noise of the backend that a job names."""
    EXECUTOR = "executor"
    """An executor or a cluster of ours; what the backend that a job names looks like, changes nothing."""
    FACTORY = "factory"
    """A function that makes an executor of a backend's metadata."""
    PRIMITIVES = "primitives"
    """An object with ``execute_sampler`` and ``execute_estimator``."""


@runtime_checkable
class Primitives(Protocol):
    """What runs the programs of IBM's primitives itself: the executors of Qiskit Runtime Server."""

    @property
    def name(self) -> str:
        """How backends that it runs are called, behind the ``@``."""

    def execute_sampler(self, pubs: list[Any], options: dict[str, Any], backend_name: str) -> Any:
        """The ``PrimitiveResult`` of a sampler's PUBs, ``(circuit, parameters or None, shots)``."""

    def execute_estimator(self, pubs: list[Any], options: dict[str, Any], backend_name: str) -> Any:
        """The ``PrimitiveResult`` of an estimator's PUBs, ``(circuit, observables, parameters or None, precision)``."""


Factory = Callable[[Any], "Executor"]
"""Makes an executor of the ``BackendMetadata`` of the backend that a job names."""


@dataclass(frozen=True)
class Source:
    """What runs jobs. :func:`source_of` makes one.

    It travels to worker processes by cloudpickle, and is opened there: it holds nothing that runs.

    Attributes:
        name: of it in the names of backends, behind the ``@``.
        kind: what it is.
        given: what it was made of: a spec, an executor, a cluster, a function or an object.
        waits: whether its jobs wait for others, at a vendor for instance, so that many can be under way in threads of
            one process. Otherwise they compute, one at a time in each of several processes. A cluster waits: its
            policies and its budget must be in one place.
        options: those of Qiskit's ``AerSimulator``, of :attr:`Kind.AER`.
        noise: whether Aer has the noise of the backend that a job names.
    """

    name: str
    kind: Kind
    given: Any = field(repr=False)
    waits: bool = False
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    noise: bool = True

    def __reduce__(self) -> tuple[Any, ...]:
        given = _ClusterParts.of(self.given) if _has_budget(self.given) else self.given
        return _opened, (self.name, self.kind, given, self.waits, dict(self.options), self.noise)


@dataclass(frozen=True)
class _ClusterParts:
    """A cluster with a budget, on its way to the one process that uses it from now on.

    A budget cannot be copied, since it would count in two places: here, the first place is given up.
    """

    build: Callable[..., QCluster]
    arguments: tuple[Any, ...]
    limits: Mapping[str, Any]

    @classmethod
    def of(cls, cluster: QCluster) -> _ClusterParts:
        budget = cluster.budget
        assert budget is not None
        build, (*arguments, options) = cluster.__reduce__()
        limits = {name: left for name, left in budget.left._asdict().items() if left is not None}
        return cls(build, (*arguments, {**options, "budget": None}), limits)

    def cluster(self) -> QCluster:
        from pennylane_qexec.policies.budgets import Budget

        *arguments, options = self.arguments
        return self.build(*arguments, {**options, "budget": Budget(**self.limits)})


def _has_budget(given: Any) -> bool:
    if isinstance(given, str | Mapping):
        return False
    from pennylane_qexec.cluster import QCluster

    return isinstance(given, QCluster) and given.budget is not None


def _opened(name: str, kind: Kind, given: Any, waits: bool, options: Mapping[str, Any], noise: bool) -> Source:
    return Source(name, kind, given.cluster() if isinstance(given, _ClusterParts) else given, waits, options, noise)


# From what users write to sources

DEFAULT = "aer"

_OF_OTHERS = frozenset(
    ("backend", "batch_window", "cost", "max_circuits", "max_shots", "noise_model", "optimization_level", "parallel")
) | frozenset(("seed", "seed_transpiler", "wires", "workers"))
"""Options that make an Aer executor one of ours, which runs as it is, whatever backend a job names."""

_WHAT = (
    "give a spec such as 'aer' or {'type': 'lightning.qubit'}, an Executor, a QCluster, a function (BackendMetadata) "
    "-> Executor, or an object with a name, execute_sampler and execute_estimator"
)


@veiled
def sources_of(given: Any = None) -> dict[str, Source]:
    """The sources of a server, by name; the first one also runs the backends whose names have no ``@``.

    Args:
        given: one thing that :func:`source_of` takes, a sequence of them, or a string of specs with commas between
            them; ``None`` for Aer.

    Raises:
        ConfigurationError: one of them is none, or is there twice.
    """
    if given is None:
        given = DEFAULT
    if isinstance(given, str):
        given = [part.strip() for part in given.split(",") if part.strip()]
    elif not isinstance(given, Sequence):
        given = [given]
    if not given:
        raise ConfigurationError(f"the server has nothing to run circuits with: {_WHAT}.")
    sources: dict[str, Source] = {}
    for source in map(source_of, given):
        if any(source.given is other.given and not isinstance(source.given, str) for other in sources.values()):
            raise ConfigurationError(f"{source.name!r} was given to the server twice: give two objects.")
        name, number = source.name, 1
        while name in sources:
            number += 1
            name = f"{source.name}-{number}"
        sources[name] = replace(source, name=name)
    return sources


@veiled
def source_of(given: Any, *, name: str | None = None, waits: bool | None = None) -> Source:
    """What runs jobs, made from what a user gives. What is wrong with it is said at once.

    Args:
        given: a spec, as for :func:`~pennylane_qexec.executor`; an executor; a cluster; a function that makes an
            executor of a ``BackendMetadata``; or an object as the server of the prototype has them, see
            :class:`Primitives`. The spec ``"aer"`` has the noise of the backend that a job names (``{"type": "aer",
            "noise": False}``: none); an executor that was built already runs as it is.
        name: of it in the names of backends, behind the ``@``; default: its own.
        waits: whether its jobs wait for others; see :class:`Source`. Default: whether an executor does, and that
            functions and objects do not.

    Raises:
        ConfigurationError: it is none of these, cannot be built, or cannot be sent to a worker process.
    """
    if isinstance(given, Source):
        source = given
    elif isinstance(given, str | Mapping):
        source = _of_spec(given)
    else:
        source = _of_object(given)
    source = replace(source, name=_name(name or source.name), waits=source.waits if waits is None else waits)
    _check_portable(source)
    return source


def _of_object(given: Any) -> Source:
    from pennylane.devices import Device, LegacyDevice

    from pennylane_qexec.cluster import QCluster
    from pennylane_qexec.executors import Executor, executor

    if isinstance(given, Device | LegacyDevice):
        given = executor(given)
    if isinstance(given, QCluster):
        return Source("cluster", Kind.EXECUTOR, given, waits=True)
    if isinstance(given, Executor):
        return Source(given.name, Kind.EXECUTOR, given, waits=not given.local)
    if not isinstance(given, type) and isinstance(given, Primitives):
        return Source(str(given.name), Kind.PRIMITIVES, given)
    if callable(given) and not (isinstance(given, type) and issubclass(given, Executor | QCluster)):
        return Source(getattr(given, "__name__", type(given).__name__), Kind.FACTORY, given)
    raise ConfigurationError(f"{given!r} cannot run the circuits of a server: {_WHAT}.")


def _of_spec(spec: str | Mapping[str, Any]) -> Source:
    options = {"type": spec.strip()} if isinstance(spec, str) else dict(spec)
    if options.get("type") == "aer" and not options.keys() & _OF_OTHERS:
        return _of_aer(options)
    from pennylane_qexec.executors import executor

    with closing(executor(options)) as built:
        return Source(built.name, Kind.EXECUTOR, options, waits=not built.local)


def _of_aer(options: dict[str, Any]) -> Source:
    name, noise = options.pop("name", None), options.pop("noise", True)
    if not isinstance(noise, bool):
        raise ConfigurationError(f"noise={noise!r} must be True, for that of the backend of a job, or False.")
    own = {key: value for key, value in options.items() if key != "type"}
    if own:  # Aer takes a second to import, and has nothing to say against no options
        from pennylane_qexec.executors import executor

        executor(options).close()
    return Source(name or DEFAULT, Kind.AER, options, options=own, noise=noise)


def _name(name: str) -> str:
    """A name as a part of a URL, without the ``@`` that stands before it."""
    return re.sub(r"[^A-Za-z0-9_.:+-]+", "-", scrub(name)).strip("-") or "executor"


def _check_portable(source: Source) -> None:
    try:
        cloudpickle.dumps(source)
    except Exception as error:
        raise ConfigurationError(
            f"{source.name!r} cannot be sent to the processes that run the server's jobs ({type(error).__name__}: "
            f"{error}): give a spec, or a function (BackendMetadata) -> Executor that makes it there."
        ) from error
