"""``qexec token``: the tokens of providers, in the system's keyring."""

from __future__ import annotations

import json
import os
import sys
from typing import Annotated, Any

import typer
from rich.table import Table

from pennylane_qexec.cli.console import JSON, WRONG_USE, escape, mistakes, remarks, results, show

tokens = typer.Typer(help="Keep the tokens of providers in the system's keyring.", no_args_is_help=True)

_PROVIDER = Annotated[str, typer.Argument(metavar="PROVIDER", help="The provider, such as ibm or ionq.")]


@tokens.command(name="set")
def set_token(provider: _PROVIDER) -> None:
    """Store a token. It is asked for without showing it, or read from standard input: never given as an argument."""
    console = remarks()
    with mistakes(console):
        from pennylane_qexec import credentials

        names = credentials.argument_names(provider)
        if not names:
            show(console, f"{provider} has no token", credentials.advice(provider))
            raise typer.Exit(WRONG_USE)
        if credentials.canonical(provider) not in credentials.VARIABLES:
            known = ", ".join(sorted(credentials.VARIABLES))
            show(console, "Note", f"{provider} is none of the providers that are known ({known}): one of your own?")
        credentials.store(provider, _asked(provider, names) if sys.stdin.isatty() else _piped(names))
    typer.echo(f"The token of {credentials.canonical(provider)} is in the system's keyring.")


@tokens.command(name="list")
def list_tokens(as_json: JSON = False) -> None:
    """List the providers, and where the token of each comes from. Tokens themselves are never shown."""
    with mistakes(remarks(), as_json):
        from pennylane_qexec import credentials
        from pennylane_qexec.credentials.table import described

        found: list[dict[str, Any]] = [
            {"provider": one, "source": credentials.source(one), "variables": [arg.variable for arg in described(one)]}
            for one in sorted({*credentials.VARIABLES, *credentials.stored()})
        ]
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    table = Table("provider", "token from", "environment variables")
    for one in found:
        variables = one["variables"]
        present = [name for name in variables if name in os.environ] if one["source"] == "environment" else []
        source = f"[green]{' '.join([one['source'], *present])}[/]" if one["source"] else "[dim]none[/]"
        table.add_row(escape(one["provider"]), source, " ".join(variables))
    results().print(table)


@tokens.command(name="remove")
def remove_token(provider: _PROVIDER) -> None:
    """Remove a provider's token from the keyring."""
    with mistakes(remarks()):
        from pennylane_qexec import credentials

        credentials.remove(provider)
    typer.echo(f"The token of {credentials.canonical(provider)} is no longer in the system's keyring.")


def _asked(provider: str, names: tuple[str, ...]) -> dict[str, str]:
    """What is typed for the arguments of a provider; all but the first may be left out."""
    found = {}
    for number, name in enumerate(names):
        skipping = ", or Enter" if number else ""
        text = f"{name} of {provider} (not shown{skipping})"
        value = str(typer.prompt(text, hide_input=True, err=True, default="" if number else None, show_default=False))
        if value.strip():
            found[name] = value.strip()
    return found


def _piped(names: tuple[str, ...]) -> dict[str, str]:
    """The lines of standard input: ``name=value`` for an argument of the provider; any other is the token itself."""
    found = {}
    for line in filter(None, map(str.strip, sys.stdin)):
        name, is_named, value = line.partition("=")
        if is_named and name in names:
            found[name] = value
        else:
            found[names[0]] = line
    return found
