"""Numbers of bytes, as people write them."""

from __future__ import annotations

import re
from typing import Any

from pennylane_qexec.errors import ConfigurationError

_FORM = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kKMGT]?i?)B\s*")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


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
