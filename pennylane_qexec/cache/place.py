"""Where results are kept if nothing else is said."""

from __future__ import annotations

import os

from platformdirs import user_cache_path

VARIABLE = "QEXEC_CACHE"
"""The environment variable that names the store of caches that are not given one."""


def default_url() -> str:
    """What the environment names, else a file in the user's cache folder, which is made if it is not there.

    Raises:
        OSError: the folder cannot be made.
    """
    named = os.environ.get(VARIABLE)
    if named:
        return named
    folder = user_cache_path("pennylane_qexec")
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder / "results.db")
