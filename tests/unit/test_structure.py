"""The package keeps its structure: few subpackages, files of one idea, no import cycle, plain names."""

from __future__ import annotations

import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import grimp
import pytest

import pennylane_qexec

PACKAGE = Path(pennylane_qexec.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
LINES = {str(file.relative_to(PACKAGE)): file.read_text().count("\n") for file in FILES}
TESTS = Path(__file__).parent

PRIVATE_WORDS = (
    *(
        "airlock",
        "choosing",
        "closing",
        "contest",
        "desk",
        "errand",
        "flight",
        "gathering",
        "heart",
        "hidden",
        "keeper",
    ),
    *("kept", "letter", "mould", "numeral", "parcel", "quirk", "reopening", "shelf", "shipping", "sketch", "staged"),
    *("tally", "ticket", "twin", "unwrapping", "venue", "withdrawal", "workshop", "utils", "helpers"),
)


def subpackages(folder: Path) -> set[str]:
    """The folders below that have Python files in them, or below them."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_dir() and any(path.rglob("*.py"))}


def imports() -> dict[str, set[str]]:
    """Which modules each module imports, for type checking too; without what subpackages re-export."""
    graph = grimp.build_graph("pennylane_qexec", exclude_type_checking_imports=False, cache_dir=None)
    # What a package re-exports would tie all that is below it together.
    reexporting = {
        ".".join(("pennylane_qexec", *file.relative_to(PACKAGE).parent.parts))
        for file in FILES
        if file.name == "__init__.py"
    }
    modules = graph.modules - reexporting
    return {module: graph.find_modules_directly_imported_by(module) & modules for module in modules}


def test_there_is_no_import_cycle_and_no_long_chain_of_imports() -> None:
    imported = imports()
    try:
        order = list(TopologicalSorter(imported).static_order())
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))
    height: dict[str, int] = {}
    for module in order:
        height[module] = 1 + max((height[one] for one in imported[module]), default=0)
    longest = max(height, key=lambda module: height[module])
    assert height[longest] <= 10, longest


def test_the_package_root_has_few_entries() -> None:
    entries = {Path(name).parts[0] for name in LINES} - {"__init__.py"}
    assert len(entries) <= 17, sorted(entries)


def test_few_files_are_long_and_few_are_short() -> None:
    short = [
        name
        for name, lines in LINES.items()
        if lines < 30 and not name.endswith("__init__.py") and "migrations" not in name
    ]
    assert sum(lines > 450 for lines in LINES.values()) <= 3, {name: n for name, n in LINES.items() if n > 450}
    assert len(short) <= 6, short


def test_no_file_has_a_private_word_for_a_name() -> None:
    pattern = re.compile(rf"(^|_)({'|'.join(PRIVATE_WORDS)})s?($|_)")
    assert [str(file.relative_to(PACKAGE)) for file in FILES if pattern.search(file.stem)] == []


def test_the_folders_of_unit_tests_are_those_of_the_package() -> None:
    tested, there = subpackages(TESTS), subpackages(PACKAGE)
    assert tested <= there, tested - there
    untested = {name for name in there if "/" not in name} - tested - {"errors"}  # which all others test
    assert not untested, untested


def test_the_architecture_page_names_functions_that_exist_and_all_subpackages() -> None:
    page = (TESTS.parents[1] / "docs" / "architecture.md").read_text()
    way = page[page.index("QNode(x)") : page.index("<- the result of the QNode")]
    stations = re.findall(r"^ ?\d+ ([\w.]+)", way, re.MULTILINE)
    assert 0 < len(stations) <= 12
    for station in stations:
        parts = [rf"\b(class|def) {part}\b" for part in station.split(".")]
        assert any(all(re.search(part, file.read_text()) for part in parts) for file in FILES), station
    entries = {Path(name).parts[0].removesuffix(".py") for name in LINES} - {"__init__"}
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == entries


def test_engine_queued_executors_and_rehearsals_ask_no_clock_but_their_own() -> None:
    direct = r"^import time|^from time|asyncio\.sleep|loop\(\)\.call_(later|at)|loop\.(time|call_later)|datetime\.now"
    files = {
        *(PACKAGE / "engine").glob("*.py"),
        *(PACKAGE / "executors" / "rehearsal").glob("*.py"),
        PACKAGE / "executors" / "queued.py",
    }
    measuring = PACKAGE / "engine" / "worker.py"  # how long a simulator computes, where it does
    assert [file.name for file in sorted(files - {measuring}) if re.search(direct, file.read_text(), re.M)] == []
