"""Thousands of hostile inputs in a process of their own: no traceback, crash, hang, or file that was not given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("child.py")

INPUTS = {
    "circuits": 600,
    "saved_experiments": 400,
    "dispatches": 400,
    "files_run": 250,
    "command_line": 250,
    "stores": 100,  # each takes ten times as long as others
}


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits of processes are those of POSIX")
def test_two_thousand_hostile_inputs_end_in_results_or_in_sentences(tmp_path: Path) -> None:
    targets = [f"{name}={inputs}" for name, inputs in INPUTS.items()]
    command = [sys.executable, str(CHILD), str(tmp_path), "0", "1", *targets]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=500, env=environment)
    under_way = (tmp_path / "under way").read_text() if (tmp_path / "under way").exists() else ""
    assert ended.returncode == 0, f"{ended.stderr[-6000:]}\nunder way: {under_way[:2000]}"
    done = {line["target"]: line["inputs"] for line in map(json.loads, ended.stdout.splitlines())}
    assert done == INPUTS
    assert sum(done.values()) == 2000


def test_a_target_that_fails_is_told_with_its_input(tmp_path: Path) -> None:
    command = [sys.executable, str(CHILD), str(tmp_path), "0", "1", "nobody=2"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 1
    assert "KeyError: 'nobody'" in ended.stderr


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="ru_maxrss of other systems begins at 0")
def test_the_memory_of_whoever_starts_the_process_is_not_counted_as_its_own() -> None:
    large = bytearray(b"x") * 400 * 2**20
    program = "from child import most_memory; print(most_memory())"
    measured = subprocess.check_output([sys.executable, "-c", program], cwd=CHILD.parent, timeout=300)
    assert 10 * 2**20 < int(measured) < len(large)
