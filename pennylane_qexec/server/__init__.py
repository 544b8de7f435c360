"""A server of one's own that speaks IBM Qiskit Runtime's REST API, over executors and clusters."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pennylane_qexec.errors import ConfigurationError

if TYPE_CHECKING:
    from pennylane_qexec.server.app import create_app as create_app
    from pennylane_qexec.server.app import serve as serve
    from pennylane_qexec.server.dashboard import create_dashboard as create_dashboard
    from pennylane_qexec.server.dashboard import serve_dashboard as serve_dashboard
    from pennylane_qexec.server.settings import Settings as Settings
    from pennylane_qexec.server.settings import load_settings as load_settings

_HOME = {
    "Settings": "settings",
    "create_app": "app",
    "create_dashboard": "dashboard",
    "load_settings": "settings",
    "serve": "app",
    "serve_dashboard": "dashboard",
}


def __getattr__(name: str) -> Any:
    """What makes servers, imported when it is first used: it needs the packages of the extra ``server``."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("pennylane_qexec"):
            raise
        raise ConfigurationError(
            f"a server needs the package {error.name!r}: pip install 'pennylane-qexec[server]'."
        ) from error


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
