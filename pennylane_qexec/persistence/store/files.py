"""The files of a SQLite database: whether those that are open are still where the next program will look for them.

SQLite goes on writing into a file that was deleted, moved or replaced. Whatever is written there is gone when the last
program lets go of it, without a word.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import final

_BESIDE = ("-wal", "-shm")
_MAGIC = b"SQLite format 3\x00"
_HEADER = 100
_COUNTER = slice(24, 28)  # https://www.sqlite.org/fileformat2.html: the file change counter
_DESCRIPTORS = "/dev/fd"
_MODE = 0o600

_Identity = tuple[int, int]


@final
class OpenFiles:
    """The files that a connection has open.

    Args:
        given: the path of the database, as it was given: it may be a link.
        path: the path of the file itself, beside which SQLite has its other files.

    Attributes:
        path: the same.
    """

    def __init__(self, given: str, path: str) -> None:
        self.path = path
        paths = (given, *(path + end for end in _BESIDE))
        self._open = {each: found for each in paths if (found := _identity(each)) is not None}
        self._given = given
        self._descriptor = _descriptor(self._open.get(given))
        self._counter = 0

    def what_happened(self) -> str | None:
        """What has become of the files, as part of a sentence about the store; ``None`` if nothing has."""
        for path, identity in self._open.items():
            try:
                now = _identity(path)
            except OSError:
                return None  # nobody may look now: what cannot be reached is not replaced by a new store
            if now == identity:
                continue
            if path != self._given:
                return f"has lost its file {path!r}, which was deleted or replaced"
            return "was deleted or moved" if now is None else "was replaced by another file"
        return "was overwritten by another file, such as a backup" if self._was_overwritten() else None

    def _was_overwritten(self) -> bool:
        """Whether the file is the same, but not what is in it: it counts its changes, and never backwards.

        It is read by SQLite's own descriptor, as a process that opens and closes it another time loses its locks.
        """
        if self._descriptor is None or _identity_of(self._descriptor) != self._open[self._given]:
            return False
        header = os.pread(self._descriptor, _HEADER, 0)
        if not header.startswith(_MAGIC):
            return True
        before, self._counter = self._counter, int.from_bytes(header[_COUNTER], "big")
        return self._counter < before


def new_file(path: str) -> Path:
    """An empty file for a copy of another one, beside it, which only its owner may read.

    If the folder is gone too, it is in a new one among the temporary files.
    """
    beside = Path(path)
    folder = beside.parent if beside.parent.is_dir() else Path(tempfile.mkdtemp(prefix="qexec-"))
    for number in itertools.count(1):
        copy = folder / f"{beside.name}.saved-{number}"
        with suppress(FileExistsError):
            os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, _MODE))
            break
    return copy


def _identity(path: str) -> _Identity | None:
    """What tells a file from others; ``None`` if there is none at this path."""
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def _identity_of(descriptor: int) -> _Identity | None:
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _descriptor(identity: _Identity | None) -> int | None:
    """The number under which this process has a file open; ``None`` where that cannot be seen."""
    try:
        numbers = [int(name) for name in os.listdir(_DESCRIPTORS)]
    except OSError:
        return None
    return next((number for number in numbers if _identity_of(number) == identity), None)
