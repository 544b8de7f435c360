"""Modules work under the short names of the package's own, and under their names of version 0.1."""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

import pennylane_qexec

MOVED = {
    "budget": "policies.budgets",
    "estimates": "cluster.estimates",
    "isolation": "concurrency.isolation",
    "written": "circuits.serialization",
}
SHORT = {"fingerprint": "circuits.fingerprint", "programs": "circuits.frameworks", "store": "persistence.store"}


@pytest.fixture(autouse=True)
def not_imported_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith(tuple(f"pennylane_qexec.{old}" for old in (*MOVED, *SHORT))):
            monkeypatch.delitem(sys.modules, name)
    for old in (*MOVED, *SHORT):
        monkeypatch.delitem(vars(pennylane_qexec), old, raising=False)


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_a_module_that_moved_is_imported_by_its_old_name_with_one_warning_that_names_the_new(
    old: str, new: str
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(f"import pennylane_qexec.{old}")
        exec(f"from pennylane_qexec import {old}")
    assert [str(warning.message) for warning in caught] == [f"pennylane_qexec.{old} is now pennylane_qexec.{new}."]
    assert caught[0].category is DeprecationWarning
    module = importlib.import_module(f"pennylane_qexec.{new}")
    assert sys.modules[f"pennylane_qexec.{old}"] is getattr(pennylane_qexec, old) is module
    assert module.__name__ == module.__spec__.name == f"pennylane_qexec.{new}"


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_a_module_that_moved_is_an_attribute_by_its_old_name_with_one_warning_that_names_the_new(
    old: str, new: str
) -> None:
    with pytest.warns(DeprecationWarning, match=rf"^pennylane_qexec\.{old} is now pennylane_qexec\.{new}\.$") as caught:
        exec(f"from pennylane_qexec import {old} as module")
    assert [Path(warning.filename).name for warning in caught] == ["<string>"]  # the line that has the old name
    assert getattr(pennylane_qexec, old) is importlib.import_module(f"pennylane_qexec.{new}")


@pytest.mark.parametrize(("short", "full"), SHORT.items())
def test_a_short_name_is_the_module_itself_and_no_warning_comes(short: str, full: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exec(f"import pennylane_qexec.{short}")
        exec(f"from pennylane_qexec import {short}")
    assert getattr(pennylane_qexec, short) is importlib.import_module(f"pennylane_qexec.{full}")


def test_what_is_within_such_a_module_is_imported_by_both_names_as_one() -> None:
    names: dict[str, Any] = {}
    exec("import pennylane_qexec.store.base\nfrom pennylane_qexec.store import open_store", names)
    base = importlib.import_module("pennylane_qexec.persistence.store.base")
    assert names["pennylane_qexec"].store.base is sys.modules["pennylane_qexec.store.base"] is base
    assert names["open_store"].__module__ == "pennylane_qexec.persistence.store.sql"
    with pytest.warns(DeprecationWarning, match=r"^pennylane_qexec\.written is now") as caught:
        values = importlib.import_module("pennylane_qexec.written.values")
    assert len(caught) == 1
    assert values is importlib.import_module("pennylane_qexec.circuits.serialization.values")


def test_a_folder_of_an_old_name_with_nothing_but_bytecode_left_is_not_taken_for_the_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store" / "__pycache__").mkdir(parents=True)
    monkeypatch.setattr(pennylane_qexec, "__path__", [*pennylane_qexec.__path__, str(tmp_path)])
    assert importlib.import_module("pennylane_qexec.store").__name__ == "pennylane_qexec.persistence.store"


def test_a_name_that_never_was_a_module_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("pennylane_qexec.never_was")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("pennylane_qexec.store.never_was")
