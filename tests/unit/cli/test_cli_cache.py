"""qexec cache: how much is cached, and forgetting it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pennylane_qexec.cli import app
from pennylane_qexec.persistence.store import Cached, open_store


def _cache(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["cache", *arguments])


@pytest.fixture
def filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a cache with two results, which is the user's own."""
    path = tmp_path / "mine.db"
    with open_store(path, clock=lambda: 1.0) as store:
        store.cache_put([Cached("a", "12345"), Cached("b", "1")], 1000)
        store.cache_get(["a"])
    monkeypatch.setenv("QEXEC_CACHE", str(path))
    return path


def test_it_says_how_much_is_cached_and_where(filled: Path) -> None:
    found = json.loads(_cache("info", "--json").stdout)
    assert filled.name in found.pop("url")
    assert found == {"entries": 2, "bytes": 8, "uses": 1, "oldest": "1970-01-01T00:00:01+00:00"}


def test_people_get_a_table(filled: Path) -> None:
    result = _cache("info", str(filled))
    assert result.exit_code == 0, result.output
    assert "8 B" in result.stdout
    assert "1970-01-01" in result.stdout


def test_results_are_forgotten(filled: Path) -> None:
    assert "2 results are forgotten" in _cache("clear").stdout
    assert json.loads(_cache("info", "--json").stdout)["oldest"] is None
    assert json.loads(_cache("clear", "--json").stdout)["forgotten"] == 0


@pytest.mark.parametrize("command", ["info", "clear"])
def test_a_file_that_is_not_there_is_not_made(tmp_path: Path, command: str) -> None:
    result = _cache(command, str(tmp_path / "other.db"), "--json")
    assert result.exit_code == 2
    assert "there is no file" in json.loads(result.stdout)["error"]
    assert not (tmp_path / "other.db").exists()
