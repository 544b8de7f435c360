"""Providers: which backends there are, here and elsewhere, by provider and name."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pennylane_qexec.providers.backend import Backend, Kind, Provider
    from pennylane_qexec.providers.virtual import LOCAL, VirtualProvider

__all__ = ["LOCAL", "Backend", "Kind", "Provider", "VirtualProvider"]

_LATER = {
    "LOCAL": "virtual",
    "VirtualProvider": "virtual",
    "Backend": "backend",
    "Kind": "backend",
    "Provider": "backend",
}


def __getattr__(name: str) -> Any:
    """What is imported when it is used: a server reads the files of fake backends without PennyLane."""
    if name in _LATER:
        return getattr(importlib.import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
