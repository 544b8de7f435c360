"""The files ``qexec.toml``: shown, checked as clusters and servers would check them, and written."""

from __future__ import annotations

import hashlib
import os
import tempfile
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platformdirs import user_config_path

from pennylane_qexec.errors import ConfigurationError, refuse_unknown
from pennylane_qexec.redaction import scrub
from pennylane_qexec.server.settings import FILE, load_settings

MOST = 200_000
"""Characters of a file that is shown and written here."""

_TABLES = ("clusters", "server")
_MODE = 0o600
_NOT_BUILT = frozenset({"store", "cache"})  # they would make files


@dataclass(frozen=True)
class ConfigurationFile:
    """A file of settings.

    Attributes:
        key: ``"folder"`` for that of the working folder, ``"user"`` for that of the user's configuration folder.
        path: where it is.
        text: what is in it; an empty text if there is no file.
        version: of the text: another text has another one.
        exists: whether there is a file.
        has_secrets: whether the text has secrets in it, which are not shown.
    """

    key: str
    path: Path
    text: str
    version: str
    exists: bool
    has_secrets: bool


def files() -> list[ConfigurationFile]:
    """Both files, that of the working folder first: it counts where both say something."""
    return [read(key) for key in ("folder", "user")]


def read(key: str) -> ConfigurationFile:
    """A file.

    Raises:
        ConfigurationError: there is no such file, or it cannot be read.
    """
    path = _path(key)
    try:
        text, exists = path.read_text(encoding="utf-8"), True
    except FileNotFoundError:
        text, exists = "", False
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}. Correct it, or move it away.") from error
    if len(text) > MOST:
        raise ConfigurationError(f"{path} has {len(text):,} characters, and is not shown here.")
    return ConfigurationFile(key, path, text, _version(text), exists, scrub(text) != text)


def _path(key: str) -> Path:
    paths = {"folder": Path(FILE).absolute(), "user": user_config_path("qexec") / FILE}
    if key not in paths:
        raise ConfigurationError(f"{key!r} is none of the files: give 'folder' or 'user'.")
    return paths[key]


def _version(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def parsed(text: str) -> dict[str, Any]:
    """What a text says, as far as can be seen without making clusters.

    Raises:
        ConfigurationError: it is no TOML, has tables that nobody reads, or settings that no server has.
    """
    if scrub(text) != text:
        raise ConfigurationError(
            "there is a secret in this: leave it out, and set the token of its provider below. It is then in the "
            "system's keyring, and in no file."
        )
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"this is no TOML: {error}.") from None
    refuse_unknown("table", tables, _TABLES)
    clusters = tables.get("clusters", {})
    if not isinstance(clusters, Mapping) or not all(isinstance(one, Mapping) for one in clusters.values()):
        raise ConfigurationError("a cluster is a table with a name, such as [clusters.night].")
    server = tables.get("server", {})
    if not isinstance(server, Mapping):
        raise ConfigurationError("the settings of a server are a table, [server].")
    load_settings(**server)
    return tables


def check_clusters(clusters: Mapping[str, Mapping[str, Any]]) -> None:
    """Make the clusters that a file describes, and let them go; for the inspector's process.

    Raises:
        ConfigurationError: one of them cannot be made: which, and why.
    """
    from pennylane_qexec.cluster import QCluster

    for name, options in clusters.items():
        try:
            QCluster(**{key: value for key, value in options.items() if key not in _NOT_BUILT}).close()
        except (ConfigurationError, TypeError) as error:
            raise ConfigurationError(f"[clusters.{name}]: {error}") from None


def write(key: str, text: str, version: str) -> None:
    """Write a file, whole or not at all.

    Args:
        key: of the file.
        text: what it is to say.
        version: of the text that was there when somebody began to change it.

    Raises:
        ConfigurationError: somebody else has changed it since, or it cannot be written.
    """
    path = _path(key)
    if read(key).version != version:
        raise ConfigurationError(
            f"{path} was changed meanwhile. Load this page again, and make your changes once more."
        )
    normal = text.replace("\r\n", "\n")
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8", newline="\n") as file:
            temporary = file.name
            file.write(normal)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, path.stat().st_mode if path.exists() else _MODE)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            if temporary is not None:
                os.unlink(temporary)
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}.") from None
