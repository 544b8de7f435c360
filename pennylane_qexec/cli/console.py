"""Where the commands write: results to standard output, everything else to standard error.

Errors that users can mend are shown in a few lines, without a traceback.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Annotated, Any

import typer
from rich import markup
from rich.console import Console
from rich.table import Table

from pennylane_qexec.errors import QExecError
from pennylane_qexec.redaction import scrub, without_secrets
from pennylane_qexec.redaction.display import printable

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


WRONG_USE = 2
"""The exit status where nothing was run, because something that was asked for makes no sense."""


JSON = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def aligned(table: Table, numbers: Collection[int], whole: Collection[int] = ()) -> Table:
    """A table with numbers to the right, no name cut short, and some columns in one piece.

    Args:
        table: the table, which is changed.
        numbers: the columns with numbers.
        whole: the columns that are never broken.
    """
    for place, column in enumerate(table.columns):
        column.overflow = "fold"
        column.no_wrap = place in whole
        column.justify = "right" if place in numbers else "left"
    return table


class mistakes:
    """Shows the package's own errors as one line, and leaves with the exit status 2.

    Args:
        console: where to show them.
        as_json: whether a program reads standard output, which is told there too: ``{"error": "..."}``.
    """

    def __init__(self, console: Console, as_json: bool = False) -> None:
        self._console = console
        self._as_json = as_json

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: Any) -> None:
        if error is None:
            return
        if isinstance(error, QExecError):
            show(self._console, f"{type(error).__name__}", str(error))
            if self._as_json:
                typer.echo(json.dumps({"error": f"{type(error).__name__}: {error}"}, indent=2))
            raise typer.Exit(WRONG_USE)
        if isinstance(error, Exception) and (safe := without_secrets(error)) is not error:
            raise safe from safe.__cause__


def show(console: Console, what: str, why: str) -> None:
    """Show what went wrong, in red, and why."""
    console.print(f"[red]{escape(scrub(what))}[/]: {escape(scrub(why))}", highlight=False)
