"""Where results are kept if nothing else is said, and how much space they may take."""

from __future__ import annotations

import os
import re
from typing import Any

from platformdirs import user_cache_path

from pennylane_qexec.errors import ConfigurationError

VARIABLE = "QEXEC_CACHE"
"""The environment variable that names the store of caches that are not given one."""

_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kKMGT]?i?)B\s*")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


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


def bytes_of(size: Any) -> int:
    """A number of bytes.

    Args:
        size: the number, or a text such as ``"500 MB"`` or ``"1.5 GiB"``.

    Raises:
        ConfigurationError: it is none, or below 1.
    """
    number = size
    if isinstance(size, str):
        found = _FORM.fullmatch(size)
        number = int(float(found[1]) * _UNITS.get(found[2].upper().replace("I", "i"), 0)) if found else 0
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ConfigurationError(f"size={size!r} is no size: give a number of bytes, or a text such as '500 MB'.")
    return number


def in_words(number: int) -> str:
    """A number of bytes for people to read."""
    amount = float(number)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:.3g} TB"
