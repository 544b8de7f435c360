"""A keyring in memory, written by hand, for tests that store and read tokens."""

from __future__ import annotations

from keyring.backend import KeyringBackend
from keyring.errors import KeyringLocked, PasswordDeleteError


class MemoryKeyring(KeyringBackend):
    """Keeps what it is given.

    Attributes:
        kept: the entries, by service and user.
        asked: the users whose entries were asked for, in order.
        locked: whether nobody may read or write.
    """

    priority = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], str] = {}
        self.asked: list[str] = []
        self.locked = False

    def get_password(self, service: str, username: str) -> str | None:
        self.asked.append(username)
        self._check()
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._check(password)
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        self._check()
        if self.kept.pop((service, username), None) is None:
            raise PasswordDeleteError("there is none")

    def _check(self, text: str = "") -> None:
        if self.locked:
            raise KeyringLocked(f"the keyring is locked {text}")
