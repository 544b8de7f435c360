"""Over a thousand hostile inputs in a process of their own: no traceback, crash, hang, or file that was not given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("child.py")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of processes are those of POSIX")
def test_over_a_thousand_hostile_inputs_end_in_results_or_in_sentences(tmp_path: Path) -> None:
    inputs = 0
    command = [sys.executable, str(CHILD), str(tmp_path), "0", "2", "100"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    ended = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=500, env=environment)
    under_way = (tmp_path / "under way").read_text() if (tmp_path / "under way").exists() else ""
    assert ended.returncode == 0, f"{ended.stderr[-6000:]}\nunder way: {under_way[:2000]}"
    for line in ended.stdout.splitlines():
        inputs += json.loads(line)["inputs"]
    assert inputs == 1200


def test_a_target_that_fails_is_told_with_its_input(tmp_path: Path) -> None:
    command = [sys.executable, str(CHILD), str(tmp_path), "0", "1", "2", "nobody"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 1
    assert "KeyError: 'nobody'" in ended.stderr
