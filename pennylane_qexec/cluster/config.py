"""Clusters described in TOML files."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from platformdirs import user_config_path

from pennylane_qexec.errors import ConfigurationError, unknown

FILE = "qexec.toml"


def cluster_options_of(config: str) -> dict[str, Any]:
    """The options of a cluster described in a TOML file.

    Args:
        config: path of a TOML file whose top level is the options of :class:`QCluster`, or the name of a cluster in
            ``qexec.toml``, as a table ``[clusters.NAME]``. ``qexec.toml`` is looked for in the working folder, then in
            the user's configuration folder.

    Returns:
        The options, ``executors`` among them.

    Raises:
        ConfigurationError: there is no such file or cluster, or the file is no TOML.
    """
    if config.endswith(".toml"):
        return _read(Path(config))
    clusters: dict[str, Any] = {}
    files = [path for path in (Path(FILE), user_config_path("qexec") / FILE) if path.is_file()]
    for path in reversed(files):
        clusters.update(_read(path).get("clusters", {}))
    if config not in clusters:
        where = " or ".join(map(str, files)) or f"{FILE}, here or in {user_config_path('qexec')}"
        raise ConfigurationError(unknown("cluster", config, clusters, f"Add [clusters.{config}] to {where}."))
    return dict(clusters[config])


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}): give the path of a TOML file.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is no TOML: {error}.") from error
