"""The README and every page of the documentation do what they say: their code blocks run, in order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from sybil import Example, Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown import CodeBlockParser

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
SLOW = {
    "docs/experiments.md",
    "docs/howto/from-quantum-executor.md",
    "docs/howto/long-runs.md",
    "docs/howto/run-in-parallel.md",
    "docs/howto/run-on-ibm.md",
    "docs/howto/write-a-policy.md",
    "docs/howto/write-an-executor.md",
    "docs/tutorial.md",
}

_run = PythonEvaluator()


def _save(example: Example) -> None:
    """Add a block whose first line names a file to that file of the working folder."""
    first, _, _ = example.parsed.partition("\n")
    if first.startswith("# ") and first.endswith((".py", ".toml")):
        with Path(first.removeprefix("# ")).open("a") as file:
            file.write(example.parsed)


def _save_and_run(example: Example) -> None:
    _save(example)
    _run(example)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    with mpl.rc_context({"backend": "Agg"}):
        yield
    plt.close("all")


def _cases() -> Iterator[Any]:
    for page in PAGES:
        name = str(page.relative_to(ROOT))
        yield pytest.param(page, marks=[pytest.mark.slow] if name in SLOW else [], id=name)


@pytest.mark.parametrize("page", _cases())
def test_every_code_block_of_a_page_runs(page: Path) -> None:
    parsers = [CodeBlockParser("python", _save_and_run), CodeBlockParser("toml", _save)]
    for example in Sybil(parsers, pattern="*.md").parse(page).examples():
        example.evaluate()


def test_every_page_is_in_the_table_of_contents() -> None:
    contents = (ROOT / "docs" / "index.md").read_text()
    names = [
        page.relative_to(ROOT / "docs").with_suffix("") for page in PAGES if page.name not in ("README.md", "index.md")
    ]
    assert [str(name) for name in names if str(name) not in contents] == []
