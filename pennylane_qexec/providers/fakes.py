"""The fake backends of the installed IBM client, read off the files that describe them.

Importing the descriptions takes a second, building the machines takes a minute, and reading files takes neither.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_CLASS = re.compile(r"^class (\w+)\(.*?(?=^class |\Z)", re.MULTILINE | re.DOTALL)
_ATTRIBUTE = re.compile(r"""^    (\w+) = ["']?([\w.]+)["']?$""", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class FakeFiles:
    """Where a fake backend is described.

    Attributes:
        configuration: JSON of what the machine is: qubits, gates, coupling.
        properties: JSON of its calibration.
        physical_qubits: how many qubits and couplers the chip has, where the client says so.
    """

    configuration: Path
    properties: Path
    physical_qubits: int | None = None


@cache
def fake_files() -> Mapping[str, FakeFiles]:
    """The files of each fake backend that is installed, by name, sorted; nothing without IBM's client."""
    spec = find_spec("qiskit_ibm_runtime")
    if spec is None or spec.origin is None:
        return {}
    folder = Path(spec.origin).parent / "fake_provider" / "backends"
    try:
        exported = set(re.findall(r"\w+", (folder / "__init__.py").read_text(encoding="utf-8")))
        found = [one for source in folder.glob("*/fake_*.py") for one in _described(source, exported)]
    except OSError:
        found = []  # this client keeps them elsewhere
    return dict(sorted(found or _imported()))


@cache
def qubits(name: str) -> int:
    """How many qubits a fake backend has."""
    return int(json.loads(fake_files()[name].configuration.read_bytes())["n_qubits"])


def _described(source: Path, exported: set[str]) -> list[tuple[str, FakeFiles]]:
    """The names and files of the exported classes of a module."""
    found = []
    for match in _CLASS.finditer(source.read_text(encoding="utf-8")):
        said = dict(_ATTRIBUTE.findall(match[0]))
        if match[1] in exported and {"backend_name", "conf_filename", "props_filename"} <= said.keys():
            physical = said.get("_physical_qubits")
            files = (source.parent / said["conf_filename"], source.parent / said["props_filename"])
            found.append((said["backend_name"], FakeFiles(*files, int(physical) if physical else None)))
    return found


def _imported() -> list[tuple[str, FakeFiles]]:
    """The same of the classes themselves, which takes Qiskit."""
    from pennylane_qexec.circuits.qiskit.noise import fake_machines

    return [
        (name, FakeFiles(Path(kind.dirname or "", kind.conf_filename), Path(kind.dirname or "", kind.props_filename)))
        for name, kind in fake_machines().items()
        if kind.conf_filename and kind.props_filename
    ]
