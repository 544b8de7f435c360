"""IBM's machines that can be simulated, by name: read off the files that describe them.

Importing the descriptions takes a second, and building the machines takes a minute. Listing them takes neither.
"""

from __future__ import annotations

import importlib
import json
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_CLASS = re.compile(r"^class (\w+)\(.*?(?=^class |\Z)", re.MULTILINE | re.DOTALL)
_NAME = re.compile(r"""^    backend_name = ["'](\w+)["']""", re.MULTILINE)
_FILE = re.compile(r"""^    conf_filename = ["']([\w.]+)["']""", re.MULTILINE)


@cache
def fake_backends() -> tuple[str, ...]:
    """The names of the fake backends that are installed, sorted; those that ``AerExecutor`` takes."""
    return tuple(sorted(_files() or _machines()))


@cache
def qubits(name: str) -> int:
    """How many qubits a fake backend has."""
    file = _files().get(name)
    if file is None:
        return int(_machines()[name]().num_qubits)
    return int(json.loads(file.read_bytes())["n_qubits"])


@cache
def _files() -> dict[str, Path]:
    """The file with the configuration of each fake backend; nothing, if they are not where they used to be."""
    spec = find_spec("qiskit_ibm_runtime")
    if spec is None or spec.origin is None:
        return {}
    folder = Path(spec.origin).parent / "fake_provider" / "backends"
    try:
        exported = set(re.findall(r"\w+", (folder / "__init__.py").read_text(encoding="utf-8")))
        sources = sorted(folder.glob("*/fake_*.py"))
        return {name: file for source in sources for name, file in _described(source, exported)}
    except OSError:
        return {}


def _described(source: Path, exported: set[str]) -> list[tuple[str, Path]]:
    """The names and files of the exported classes of a module."""
    found = []
    for match in _CLASS.finditer(source.read_text(encoding="utf-8")):
        name, file = _NAME.search(match[0]), _FILE.search(match[0])
        if match[1] in exported and name and file:
            found.append((name[1], source.parent / file[1]))
    return found


def _machines() -> dict[str, type]:
    """The fake backends themselves, which takes Qiskit."""
    machines: dict[str, type] = importlib.import_module("pennylane_qexec.circuits.qiskit.fake_backends").fake_machines()
    return machines
