"""``qexec executors``: what can be used here."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from pennylane_qexec.cli.consoles import escape


def list_executors(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")] = False,
) -> None:
    """List the executors that can be used here."""
    console = Console()
    with console.status("Trying every installed device ..."):
        from pennylane_qexec.executors.survey import survey

        found = survey()
    if as_json:
        typer.echo(json.dumps([one._asdict() for one in found], indent=2))
        return
    table = Table("spec", "kind", "shots", "usable here")
    for one in found:
        usable = "[green]yes[/]" if one.usable else f"[red]no[/]: {escape(one.reason)}"
        table.add_row(escape(one.spec), escape(one.kind), escape(one.shots), usable)
    console.print(table)
