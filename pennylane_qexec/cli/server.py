"""``qexec serve`` runs a server, ``qexec server-token`` makes its tokens, and ``qexec env`` leads clients to it."""

from __future__ import annotations

import json
import shlex
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pennylane_qexec.cli.console import JSON, WRONG_USE, aligned, escape, mistakes, remarks, results, show
from pennylane_qexec.cli.runs import file_of, moment
from pennylane_qexec.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennylane_qexec.server.records import Records

# The server


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen at. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Default: 8000.")] = None,
    store: Annotated[
        str | None, typer.Option(help="File or URL of the store of jobs, sessions and tokens. Default: qexec.db.")
    ] = None,
    executor: Annotated[
        list[str] | None, typer.Option(help="What runs circuits, the default one first; several times. Default: aer.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes. Default: one for each core but one.")] = None,
) -> None:
    """Run a server that speaks IBM Qiskit Runtime's REST API. What is not given comes from QEXEC_* and qexec.toml."""
    with mistakes(remarks()):
        from pennylane_qexec.server import load_settings
        from pennylane_qexec.server import serve as run_server

        run_server(load_settings(host=host, port=port, store=store, executors=executor or None, workers=workers))


def dashboard(
    store: STORE = None,
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at.")] = 8100,
) -> None:
    """Show the runs, circuits and experiments of a store in a browser, live."""
    with mistakes(remarks()):
        from pennylane_qexec.cli.runs import named_store
        from pennylane_qexec.server import serve_dashboard

        where = named_store(store)
        said = f"http://{host}:{port} shows what is in {escape(where)}. Ctrl-C ends it."
        serve_dashboard(where, host, port, lambda: remarks().print(said, highlight=False))


# Tokens

server_tokens = typer.Typer(help="Make, list and revoke the tokens of a server's users.", no_args_is_help=True)


STORE = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="File or URL of the server's store. Default: by QEXEC_STORE or qexec.toml, or qexec.db.",
    ),
]


@contextmanager
def opened_records(store: str | None, new: bool = False) -> Iterator[Records]:
    """The records of servers in a store that was named, or in that of the settings.

    Args:
        store: file or URL.
        new: whether a file is made that is not there.

    Raises:
        ConfigurationError: there is no such file.
    """
    from pennylane_qexec.server import load_settings
    from pennylane_qexec.server.records import open_records

    url = load_settings(store=store).store
    file = file_of(url)
    if not new and file is not None and not Path(file).expanduser().exists():
        raise ConfigurationError(
            f"there is no store {file!r} here: go to the folder of the server, or name its store with --store."
        )
    with open_records(url) as records:
        yield records


@server_tokens.command()
def add(
    user: Annotated[str, typer.Argument(help="Whose it is: a name of your choice.")],
    admin: Annotated[bool, typer.Option("--admin", help="Of somebody who sees and cancels everybody's jobs.")] = False,
    store: STORE = None,
) -> None:
    """Make a token, and print it: it is stored nowhere, and shown this once. From the first on, servers want one."""
    with mistakes(remarks()), opened_records(store, new=True) as records:
        token = records.add_token(user, admin)
        where = records.url
    remarks().print(f"A token of {escape(user)} for servers of the store {escape(where)}:", highlight=False)
    typer.echo(token)


@server_tokens.command(name="list")
def list_server_tokens(store: STORE = None, as_json: JSON = False) -> None:
    """List the tokens that were made: their numbers and users."""
    with mistakes(remarks(), as_json), opened_records(store) as records:
        found = records.tokens()
    if as_json:
        names = ("id", "user", "admin", "created", "revoked")
        typer.echo(json.dumps([{name: getattr(one, name) for name in names} for one in found], indent=2))
        return
    table = Table("number", "user", "admin", "made (UTC)", "state")
    for one in found:
        state = "valid" if one.revoked is None else f"revoked {moment(one.revoked)}"
        table.add_row(str(one.id), escape(one.user), "yes" if one.admin else "no", moment(one.created), state)
    results().print(aligned(table, (0,)) if found else "No tokens: the server takes requests from this machine only.")


@server_tokens.command()
def revoke(
    number: Annotated[int, typer.Argument(help="Of the token, as the list has it.")], store: STORE = None
) -> None:
    """Revoke a token: it is refused from the next request on."""
    with mistakes(remarks()), opened_records(store) as records:
        if not records.revoke(number):
            show(remarks(), f"There is no token {number}", "`qexec server-token list` has their numbers.")
            raise typer.Exit(WRONG_USE)
    typer.echo(f"Token {number} is revoked.")


# Clients


def env(
    url: Annotated[str, typer.Argument(help="Of the server.")] = "http://127.0.0.1:8000",
    token: Annotated[
        str | None, typer.Option(help="Of the user. Default: that of the provider qexec, as `qexec token` has it.")
    ] = None,
) -> None:
    """Print the variables that lead IBM's client, from version 0.49 on, to a server: eval "$(qexec env URL)"."""
    with mistakes(remarks()):
        from pennylane_qexec import credentials
        from pennylane_qexec.server.environment import environment

        found = credentials.arguments(credentials.SERVER, {"token": token}).get("token") or "local"
        for name, value in environment(url, str(found)).items():
            typer.echo(f"export {name}={shlex.quote(value)}")
