"""The options that every executor takes by name, for constructors that pass them on."""

from __future__ import annotations

import concurrent.futures
import inspect
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict, TypeVar

from pennylane.wires import Wires

from pennylane_qexec.job import Cost

Parallel = Literal["auto", "thread", "process"] | concurrent.futures.Executor

PARALLEL = ("auto", "process", "thread")

F = TypeVar("F", bound=Callable[..., None])

_DEFAULTS: Mapping[str, Any] = {"parallel": "auto", "batch_window": 0.0}


class QueueOptions(TypedDict, total=False):
    """What every executor takes by name; see :class:`Executor`."""

    name: str | None
    workers: int | None
    max_circuits: int | None
    max_shots: int | None
    batch_window: float
    cost: Cost | Mapping[str, float] | None


class ExecutorOptions(QueueOptions, total=False):
    """The same, with what only executors take that do not leave their work to a queue; see :class:`Executor`."""

    parallel: Parallel


def lists_options(kind: type[QueueOptions]) -> Callable[[F], F]:
    """Let help, documentation and :func:`inspect.signature` list the options that a constructor passes on.

    Args:
        kind: which options these are.
    """
    by_name, rest = inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD

    def listing(constructor: F) -> F:
        signature = inspect.signature(constructor)
        own = [one for one in signature.parameters.values() if one.kind is not rest]
        passed = [
            inspect.Parameter(name, by_name, default=_DEFAULTS.get(name), annotation=annotation.__forward_arg__)
            for name, annotation in kind.__annotations__.items()
            if name not in signature.parameters
        ]
        # What does not say which options it takes takes others besides, for somebody else.
        others = [one for one in signature.parameters.values() if one.kind is rest and "Unpack" not in one.annotation]
        vars(constructor)["__signature__"] = signature.replace(parameters=[*own, *passed, *others])
        return constructor

    return listing


def check_options(executor: object, options: Mapping[str, Any], kind: type[QueueOptions]) -> None:
    """Refuse options that there are not, as Python does, by the name of the class that the user has called.

    Raises:
        TypeError: there is such an option.
    """
    for option in options:
        if option not in kind.__annotations__:
            raise TypeError(f"{type(executor).__name__}.__init__() got an unexpected keyword argument {option!r}")


def pop_executor_options(options: dict[str, Any]) -> ExecutorOptions:
    """Take the options of executors out of those that a constructor was given for somebody else as well."""
    taken: Any = {name: options.pop(name) for name in ExecutorOptions.__annotations__ if name in options}
    return taken  # type: ignore[no-any-return]


def wires_from(wires: Any) -> Wires | None:
    """The wires that a user's value means: a number, labels, or ``None`` for whatever wires a circuit has."""
    return None if wires is None else Wires(range(wires) if isinstance(wires, int) else wires)
