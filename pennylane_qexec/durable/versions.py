"""With what a run was begun."""

from __future__ import annotations

import logging
import platform
from importlib.metadata import version

from pennylane_qexec.shown import printable

logger = logging.getLogger("pennylane_qexec")

_PACKAGES = ("pennylane-qexec", "pennylane", "pennylane-lightning", "qiskit", "qiskit-aer", "numpy")

_SHOWN = 400


def versions() -> str:
    """The versions of Python and of the packages that results depend on most, as text."""
    return ", ".join([f"python {platform.python_version()}", *(f"{name} {version(name)}" for name in _PACKAGES)])


def warn_of_other(run: str, then: str, now: str) -> None:
    """Say that a run goes on with other versions than it was begun with."""
    changed = sorted(set(then.split(", ")) - set(now.split(", ")))
    if then and changed:
        logger.warning(
            "the durable run %r was begun with %s; now it is %s: results may differ in the last digits",
            run,
            printable(", ".join(changed)[:_SHOWN]),
            ", ".join(sorted(set(now.split(", ")) - set(then.split(", ")))),
        )
