"""Circuits from files."""

from __future__ import annotations

import sys
from pathlib import Path

from pennylane_qexec.errors import ConfigurationError

STANDARD_INPUT = "-"


def texts_of(files: list[str]) -> list[str]:
    """The texts of files, without a look at what they say, which takes importing PennyLane.

    Args:
        files: paths; ``"-"`` for standard input.

    Raises:
        ConfigurationError: a file cannot be read, or cannot be OpenQASM.
    """
    if files.count(STANDARD_INPUT) > 1:
        raise ConfigurationError("standard input ('-') can be read only once: name it once.")
    return [_text(file, _name(file)) for file in files]


def check_circuits(files: list[str], texts: list[str]) -> None:
    """See that texts are circuits.

    Args:
        files: where they are from.
        texts: what :func:`texts_of` has read there.

    Raises:
        ConfigurationError: one is no OpenQASM, or a circuit that cannot be run.
    """
    from pennylane_qexec import programs

    for file, text in zip(files, texts, strict=True):
        try:
            programs.read(text)
        except ConfigurationError as error:
            raise ConfigurationError(f"{_name(file)}: {error}") from error


def _name(file: str) -> str:
    return "standard input" if file == STANDARD_INPUT else file


def _text(file: str, name: str) -> str:
    try:
        source = sys.stdin.buffer.read() if file == STANDARD_INPUT else Path(file).read_bytes()
        text = source.decode("utf-8-sig")  # some editors begin a file with a mark
    except OSError as error:
        raise ConfigurationError(f"{name} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{name} is no text, and so no OpenQASM.") from error
    if ";" not in text:
        raise ConfigurationError(f"{name} is no OpenQASM: its first line should be 'OPENQASM 2.0;' or 'OPENQASM 3.0;'.")
    return text
