"""Where the commands write: results to standard output, everything else to standard error."""

from __future__ import annotations

from rich.console import Console

_WIDTH_OF_FILES = 160


def results() -> Console:
    """Standard output. What does not go to a terminal is written wide, so that names stay in one piece."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH_OF_FILES)


def remarks() -> Console:
    """Standard error."""
    return Console(stderr=True)
