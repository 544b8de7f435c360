"""``qexec cache``: what is cached, and forgetting it."""

from __future__ import annotations

import json
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pennylane_qexec.cli.console import escape, mistakes, remarks, results

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennylane_qexec.persistence.store import Store

caches = typer.Typer(help="Look at cached results, or forget them.", no_args_is_help=True)

_URL = Annotated[
    str | None, typer.Argument(metavar="[URL]", help="A file or a database. Default: QEXEC_CACHE, or the user's cache.")
]
_JSON = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@caches.command()
def info(url: _URL = None, as_json: _JSON = False) -> None:
    """Show how much is cached, and where."""
    from pennylane_qexec.persistence.cache.location import in_words

    with mistakes(remarks(), as_json), _store(url) as store:
        found, where = store.cache_info(), store.url
    oldest = datetime.fromtimestamp(found.oldest, UTC).isoformat(timespec="seconds") if found.entries else None
    if as_json:
        typer.echo(json.dumps({**found._asdict(), "oldest": oldest, "url": where}, indent=2))
        return
    table = Table("results", "size", "used", "oldest", "where")
    table.add_row(f"{found.entries:,}", in_words(found.bytes), f"{found.uses:,}", oldest or "", escape(where))
    results().print(table)


@caches.command()
def clear(url: _URL = None, as_json: _JSON = False) -> None:
    """Forget all cached results."""
    with mistakes(remarks(), as_json), _store(url) as store:
        forgotten, where = store.cache_clear(), store.url
    if as_json:
        typer.echo(json.dumps({"forgotten": forgotten, "url": where}, indent=2))
    else:
        results().print(f"{forgotten} results are forgotten: {escape(where)}", highlight=False)


@contextmanager
def _store(url: str | None) -> Iterator[Store]:
    """The store of a cache; a file that was named must be there."""
    from pennylane_qexec.errors import ConfigurationError
    from pennylane_qexec.persistence.cache.location import default_url
    from pennylane_qexec.persistence.store import open_store

    if url is not None and "://" not in url and not Path(url).expanduser().exists():
        raise ConfigurationError(f"there is no file {url!r}: give the file of a cache, or its URL.")
    with open_store(default_url() if url is None else url) as store:
        yield store
