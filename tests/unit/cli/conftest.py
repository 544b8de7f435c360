"""The keyring, the cache and the environment of whoever runs the tests are left alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keyring
import pytest
from fakes.keyring_backend import MemoryKeyring

from pennylane_qexec import credentials


@pytest.fixture(autouse=True)
def _no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for names in credentials.VARIABLES.values():
        for name in names:
            monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("QEXEC_CACHE", str(tmp_path / "cache.db"))
    monkeypatch.chdir(tmp_path)
    before = keyring.get_keyring()
    keyring.set_keyring(MemoryKeyring())
    credentials.forget()
    yield
    keyring.set_keyring(before)
    credentials.forget()
