"""Circuits from files."""

from __future__ import annotations

import sys
from pathlib import Path

from pennylane_qexec.concurrency.files import MOST_OF_CIRCUIT, content_of
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


def check_circuits(files: list[str], texts: list[str]) -> list[str]:
    """See that texts are circuits.

    Args:
        files: where they are from.
        texts: what :func:`texts_of` has read there.

    Returns:
        The texts, with what they include from below their files' folders.

    Raises:
        ConfigurationError: one is no OpenQASM, or a circuit that cannot be run.
    """
    from pennylane_qexec.circuits import frameworks

    complete = []
    for file, text in zip(files, texts, strict=True):
        try:
            complete.append(frameworks.with_includes(text, None if file == STANDARD_INPUT else Path(file).parent))
            frameworks.read(complete[-1])
        except ConfigurationError as error:
            raise ConfigurationError(f"{_name(file)}: {error}") from error
    return complete


def _name(file: str) -> str:
    return "standard input" if file == STANDARD_INPUT else file


def _text(file: str, name: str) -> str:
    try:
        if file == STANDARD_INPUT:
            source = sys.stdin.buffer.read(MOST_OF_CIRCUIT + 1)
        else:
            source = content_of(Path(file), MOST_OF_CIRCUIT)
        if len(source) > MOST_OF_CIRCUIT:
            raise ConfigurationError(f"{name} has more than {MOST_OF_CIRCUIT:,} bytes: give the circuit in parts.")
        text = source.decode("utf-8-sig")  # some editors begin a file with a mark
    except ConfigurationError:
        raise
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{name} is no text, and so no OpenQASM.") from error
    except (OSError, ValueError) as error:  # a name with a zero in it is the latter
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigurationError(f"{name} cannot be read: {why}.") from error
    if ";" not in text:
        raise ConfigurationError(f"{name} is no OpenQASM: its first line should be 'OPENQASM 2.0;' or 'OPENQASM 3.0;'.")
    return text
