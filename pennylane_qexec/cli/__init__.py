"""The ``qexec`` command. PennyLane is imported only by the commands that need it."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import Annotated

import typer

from pennylane_qexec.cli.backends import list_backends, list_executors
from pennylane_qexec.cli.demo import demo
from pennylane_qexec.cli.jobs import cancel_jobs, list_jobs, show_job
from pennylane_qexec.cli.run import run
from pennylane_qexec.cli.runs import caches, runs, show_run
from pennylane_qexec.cli.server import dashboard, env, serve, server_tokens
from pennylane_qexec.cli.tokens import tokens

app = typer.Typer(
    help="Run quantum circuits on many simulators and QPUs as one.",
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,  # tokens may be among them
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pennylane-qexec {version('pennylane-qexec')}")
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[bool, typer.Option("--version", callback=_print_version, help="Print the version.")] = False,
) -> None:
    """Run quantum circuits on many simulators and QPUs as one."""
    warnings.simplefilter("ignore")


app.command()(demo)
app.command(name="executors")(list_executors)
app.command(name="backends")(list_backends)
app.command()(run)
app.command(name="run-info")(show_run)
app.command()(serve)
app.command()(dashboard)
app.command(name="jobs")(list_jobs)
app.command(name="show")(show_job)
app.command(name="cancel")(cancel_jobs)
app.command()(env)
app.add_typer(runs, name="runs")
app.add_typer(server_tokens, name="server-token")
app.add_typer(tokens, name="token")
app.add_typer(caches, name="cache")
