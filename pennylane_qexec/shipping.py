"""What PennyLane's objects lack to be sent to other processes."""

from __future__ import annotations

import copyreg
import importlib
from collections.abc import Callable
from typing import Any

import cloudpickle
from pennylane.transforms.core import Transform

_BUILT_AGAIN = ("_apply_transform", "_plxpr_transform")


def make_transforms_picklable() -> None:
    """Let transforms be pickled: those of a module by name, others by what they were made of, as cloudpickle does.

    As they come they cannot be, since each keeps a registry with weak references.
    """
    copyreg.pickle(Transform, _reduced)


def _reduced(transform: Transform) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    try:
        named = getattr(importlib.import_module(transform.__module__), transform.__qualname__)
    except (ImportError, AttributeError):
        named = None
    by_value = {"__main__", *cloudpickle.list_registry_pickle_by_value()}
    if named is transform and transform.__module__ not in by_value:
        return _named, (transform.__module__, transform.__qualname__)
    settings = {name: value for name, value in vars(transform).items() if name not in _BUILT_AGAIN}
    return _made, (transform.tape_transform, transform.pass_name, settings)


def _named(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def _made(tape_transform: Any, pass_name: Any, settings: dict[str, Any]) -> Transform:
    transform = Transform(tape_transform, pass_name)
    vars(transform).update(settings)
    return transform
