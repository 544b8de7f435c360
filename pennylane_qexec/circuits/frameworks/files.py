"""Texts of circuits from files: no special ones, no endless ones, and no other files than those that were given."""

from __future__ import annotations

from pathlib import Path

from pennylane_qexec.circuits.frameworks.limits import includes, outline_of
from pennylane_qexec.concurrency.files import MOST_OF_CIRCUIT, content_of
from pennylane_qexec.errors import ConfigurationError

STANDARD = ("qelib1.inc", "stdgates.inc")
"""What every reader of OpenQASM has."""

_DEEPEST = 20


def text_of(path: Path) -> str:
    """The OpenQASM in a file, with the files below its folder that it includes.

    Raises:
        ConfigurationError: a file cannot be read, is none of that kind, or is not below the folder.
    """
    return with_includes(_read(path), path.parent)


def with_includes(text: str, folder: Path | None) -> str:
    """A text, with the content of the files that it includes in place of that.

    Args:
        text: OpenQASM.
        folder: where the files are, or folders with them; ``None`` if none may be read.

    Raises:
        ConfigurationError: it includes what may not be read, or cannot be.
    """
    return _joined(text, folder, folder, [])


def _joined(text: str, top: Path | None, here: Path | None, around: list[Path]) -> str:
    parts, start = [], 0
    for name, begin, end in includes(outline_of(text)):
        if name in STANDARD:
            continue
        if top is None or here is None:
            raise ConfigurationError(
                f"the circuit includes {name!r}: no file is read for a text. Give the file as pathlib.Path(...), or "
                "write what is in there into the circuit."
            )
        path = _below(top, here, name)
        if path in around or len(around) >= _DEEPEST:
            raise ConfigurationError(f"include {name!r}: the file includes itself. Take that out.")
        parts += [text[start:begin], _joined(_read(path), top, path.parent, [*around, path])]
        start = end
        if sum(map(len, parts)) > MOST_OF_CIRCUIT:
            raise ConfigurationError(
                f"a circuit with includes of more than {MOST_OF_CIRCUIT:,} characters: give parts."
            )
    return "".join([*parts, text[start:]])


def _below(top: Path, here: Path, name: str) -> Path:
    """A file by its name, if that leads to one below a folder, links followed."""
    try:
        path = (here / name).resolve()
        if path.is_relative_to(top.resolve()):
            return path
    except (OSError, ValueError, RuntimeError):
        pass
    raise ConfigurationError(
        f"include {name!r}: only the standard libraries and files below the folder of the circuit's file are read."
    )


def _read(path: Path) -> str:
    try:
        return content_of(path, MOST_OF_CIRCUIT).decode("utf-8-sig")  # some editors begin a file with a mark
    except OSError as error:
        raise ConfigurationError(
            f"{str(path)!r} cannot be read: {error.strerror or error}. Give a file of OpenQASM."
        ) from None
    except UnicodeDecodeError:  # whose words quote the file
        raise ConfigurationError(f"{str(path)!r} cannot be read: it is no text. Give a file of OpenQASM.") from None
