"""Dashboards of a store with runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from pennylane_qexec.persistence.store import Store, open_store
from pennylane_qexec.server.dashboard import create_dashboard
from tests.fakes.dashboard_pages import Pages


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "configuration"))
    with open_store(tmp_path / "runs.db") as opened:
        yield opened


@pytest.fixture
def open_pages(tmp_path: Path) -> Iterator[Callable[[], Pages]]:
    """A function that starts a dashboard of the store of the test, and a new browser."""
    with ExitStack() as stack:
        yield lambda: Pages(stack.enter_context(TestClient(create_dashboard(str(tmp_path / "runs.db")))))


@pytest.fixture
def pages(store: Store, open_pages: Callable[[], Pages]) -> Pages:
    return open_pages()
