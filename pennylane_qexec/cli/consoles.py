"""Where the commands write: results to standard output, everything else to standard error."""

from __future__ import annotations

from rich import markup
from rich.console import Console

from pennylane_qexec.shown import printable

_WIDTH_OF_FILES = 160


def results() -> Console:
    """Standard output. What does not go to a terminal is written wide, so that names stay in one piece."""
    console = Console()
    return console if console.is_terminal else Console(width=_WIDTH_OF_FILES)


def remarks() -> Console:
    """Standard error."""
    return Console(stderr=True)


def escape(text: str) -> str:
    """A text from elsewhere, such as a name or an error, as it is: neither markup nor orders to the terminal."""
    return markup.escape(printable(text))
