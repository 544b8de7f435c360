"""Files that others have given: ordinary ones, and no more of them than there may be."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pennylane_qexec.errors import ConfigurationError

MOST_OF_CIRCUIT = 10_000_000
"""The most bytes of a circuit's text."""


def content_of(path: Path, most: int | None = None) -> bytes:
    """What is in an ordinary file: no device, pipe or folder, which could be endless, or make one wait.

    Args:
        path: the file; links are followed.
        most: the most bytes that it may have; ``None`` for any number.

    Raises:
        OSError: it cannot be read.
        ConfigurationError: it is no ordinary file, or too large.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ConfigurationError(f"{str(path)!r} is no ordinary file. Give one that is.")
        found = file.read() if most is None else file.read(most + 1)
    if most is not None and len(found) > most:
        raise ConfigurationError(f"{str(path)!r} has more than {most:,} bytes: that is too much. Give it in parts.")
    return found
