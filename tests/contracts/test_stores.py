"""Both databases keep to the contract of stores."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.postgresql import PostgresServer

from pennylane_qexec.persistence.store import Store, open_store
from pennylane_qexec.testing import StoreContract


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer() as running:
        yield running


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new store, to be copied: it takes a while to make one."""
    path = tmp_path_factory.mktemp("stores") / "empty.db"
    open_store(path).close()
    return path


class TestSqlite(StoreContract):
    @pytest.fixture(autouse=True)
    def _place(self, empty: Path, tmp_path: Path) -> None:
        self.path = shutil.copy(empty, tmp_path / "store.db")

    def make(self, clock: Any, monotonic: Any) -> Store:
        return open_store(self.path, clock=clock, monotonic=monotonic)


@pytest.mark.integration
class TestPostgresql(StoreContract):
    @pytest.fixture(autouse=True)
    def _place(self, server: PostgresServer) -> None:
        self.url = server.new_place()

    def make(self, clock: Any, monotonic: Any) -> Store:
        return open_store(self.url, clock=clock, monotonic=monotonic)
