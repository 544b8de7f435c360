"""The store that commands about durable runs look at."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennylane_qexec.store import Store

VARIABLE = "QEXEC_STORE"

STORE = Annotated[
    str | None,
    typer.Option("--store", help=f"The file or URL of the store. Default: the environment variable {VARIABLE}."),
]
JSON = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@contextmanager
def opened(given: str | None) -> Iterator[Store]:
    """The store that was named, or that of the environment variable, to be read; one in a file must be there.

    Raises:
        ConfigurationError: none was named, or there is no such file.
    """
    from pennylane_qexec.errors import ConfigurationError
    from pennylane_qexec.store.opening import open_to_read

    url = given or os.environ.get(VARIABLE)
    if not url:
        raise ConfigurationError(
            f"no store is named: give its file or URL with --store, or in the environment variable {VARIABLE}."
        )
    file = _file(url)
    if file is not None and not Path(file).expanduser().exists():
        raise ConfigurationError(f"there is no file {file!r}: give the file or URL of the store of a durable run.")
    with open_to_read(url) as store:
        yield store


def _file(url: str) -> str | None:
    """The file in which a store is; ``None`` if it is in none."""
    scheme, is_url, rest = url.partition("://")
    if not is_url:
        return url
    return rest.removeprefix("/").partition("?")[0] if scheme.startswith("sqlite") else None
