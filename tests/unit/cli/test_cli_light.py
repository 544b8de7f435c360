"""What needs no circuit does not wait for PennyLane."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from pennylane_qexec.cli import app

SCRIPT = """
import sys
from pennylane_qexec.cli import app
try:
    app(sys.argv[1:])
finally:
    heavy = {"pennylane", "numpy", "qiskit", "qbraid", "cirq", "matplotlib", "pandas"} & set(sys.modules)
    print("imported:", *sorted(heavy), file=sys.stderr)
"""
PAGE = Path(__file__).parents[3] / "docs" / "reference" / "command-line.md"


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [["--help"], ["run", "--help"], ["token", "list", "--json"], ["cache", "info", "--json"]]
)
def test_help_tokens_and_caches_import_neither_pennylane_nor_numpy(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1].strip() == "imported:"


def test_every_command_and_option_is_in_the_reference() -> None:
    page = PAGE.read_text()
    group = get_command(app)
    missing = []
    nested = {
        f"{name} {inner}": command
        for name in ("token", "cache", "server-token")
        for inner, command in group.commands[name].commands.items()
    }
    for name, command in {**group.commands, **nested}.items():
        missing += [name] if f"{name}" not in page else []
        options = [option for one in command.params for option in one.opts if option.startswith("--")]
        missing += [f"{name} {option}" for option in options if f"`{option}" not in page and option != "--help"]
    assert missing == []


def test_tracebacks_never_show_local_variables_since_tokens_may_be_among_them() -> None:
    assert isinstance(app, typer.Typer)
    assert app.pretty_exceptions_show_locals is False
