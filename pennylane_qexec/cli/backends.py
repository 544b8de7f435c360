"""``qexec backends`` lists what circuits can be sent to, ``qexec executors`` what can be used on this machine."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pennylane_qexec.cli.console import JSON, aligned, escape, mistakes, remarks, results

if TYPE_CHECKING:
    from collections.abc import Mapping


def list_backends(
    provider: Annotated[list[str] | None, typer.Option(help="Only this provider. May be given several times.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Try all providers, also those without credentials.")] = False,
    online: Annotated[bool, typer.Option("--online", help="Only backends that take jobs now.")] = False,
    as_json: JSON = False,
) -> None:
    """List backends: those of the local providers, and of the providers that have credentials."""
    logging.getLogger("pennylane_qexec").addHandler(logging.NullHandler())  # what does not load is listed below
    with mistakes(remarks(), as_json), remarks().status("Asking the providers ..."):
        from pennylane_qexec.providers import VirtualProvider

        asked = VirtualProvider(providers=_names(provider, every))
        rows = _rows(asked.get_backends(), asked.get_backends(online=True))
        errors = dict(asked.errors)
    rows = [row for row in rows if row["online"] or not online]
    if as_json:
        typer.echo(json.dumps({"backends": rows, "errors": errors}, indent=2))
    else:
        _print(rows, errors)
    if provider and errors:
        raise typer.Exit(1)


def _names(providers: list[str] | None, every: bool) -> list[str] | None:
    """The providers to ask; ``None`` for those that need no credentials or have them."""
    if providers:
        return list(dict.fromkeys(providers))
    if not every:
        return None
    from pennylane_qexec.credentials import SERVER, VARIABLES
    from pennylane_qexec.providers import LOCAL

    return [*LOCAL, *sorted(VARIABLES.keys() - LOCAL.keys() - {SERVER})]


def _rows(
    backends: Mapping[str, Mapping[str, Any]], online: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, str | int | bool | None]]:
    return [
        {
            "provider": provider,
            "backend": name,
            "kind": backend.kind,
            "qubits": backend.num_qubits,
            "online": name in online.get(provider, {}),
        }
        for provider, named in backends.items()
        for name, backend in named.items()
    ]


def _print(rows: list[dict[str, str | int | bool | None]], errors: Mapping[str, str]) -> None:
    console = results()
    table = Table("provider", "backend", "kind", "qubits", "online")
    for row in rows:
        qubits = "any" if row["qubits"] is None else str(row["qubits"])
        state = "[green]yes[/]" if row["online"] else "[red]no[/]"
        names = [escape(str(row[name])) for name in ("provider", "backend", "kind")]
        table.add_row(*names, qubits, state)
    console.print(aligned(table, (3,)) if rows else "No backends.")
    for provider, reason in errors.items():
        console.print(f"[red]{escape(provider)}[/] cannot be used: {escape(reason)}", highlight=False)


def list_executors(as_json: JSON = False) -> None:
    """List the executors that can be used here."""
    console = Console()
    with console.status("Trying every installed device ..."):
        from pennylane_qexec.executors.specs import survey

        found = survey()
    if as_json:
        typer.echo(json.dumps([one._asdict() for one in found], indent=2))
        return
    table = Table("spec", "kind", "shots", "usable here")
    for one in found:
        usable = "[green]yes[/]" if one.usable else f"[red]no[/]: {escape(one.reason)}"
        table.add_row(escape(one.spec), escape(one.kind), escape(one.shots), usable)
    console.print(table)
