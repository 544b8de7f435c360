"""Circuits from files."""

from __future__ import annotations

import sys
from pathlib import Path

from pennylane_qexec.errors import ConfigurationError

STANDARD_INPUT = "-"


def read_circuits(files: list[str]) -> list[str]:
    """The texts of files, all of them OpenQASM.

    Args:
        files: paths; ``"-"`` for standard input.

    Raises:
        ConfigurationError: a file cannot be read, or is no OpenQASM.
    """
    if files.count(STANDARD_INPUT) > 1:
        raise ConfigurationError("standard input ('-') can be read only once: name it once.")
    return [_read(file) for file in files]


def _read(file: str) -> str:
    from pennylane_qexec import programs

    name = "standard input" if file == STANDARD_INPUT else file
    text = _text(file, name)
    try:
        programs.read(text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{name}: {error}") from error
    return text


def _text(file: str, name: str) -> str:
    try:
        source = sys.stdin.buffer.read() if file == STANDARD_INPUT else Path(file).read_bytes()
        text = source.decode("utf-8-sig")  # some editors begin a file with a mark
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{name} is no text, and so no OpenQASM.") from error
    if "OPENQASM" not in text:
        raise ConfigurationError(f"{name} is no OpenQASM: its first line should be 'OPENQASM 2.0;' or 'OPENQASM 3.0;'.")
    return text
