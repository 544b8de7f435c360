"""Does any of 50,000 hostile inputs end in anything but a result or a sentence?

    python benchmarks/fuzz.py [--inputs 50000] [--seconds 3600] [--folder FOLDER] [--target NAME ...]

Inputs run in chunks of 100 per target, in a child process that is started anew every 20 chunks (see
``tests/fuzz/child.py``). FOLDER keeps which chunks are done, so that a run which was ended goes on where it was; what
was found is kept there too, and does not end the run. Prints one line for each process and a table at the end; the exit
status is 1 if something was found.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

CHILD = Path(__file__).parent.parent / "tests" / "fuzz" / "child.py"
TARGETS = ("circuits", "saved_experiments", "dispatches", "files_run", "command_line", "stores")
SIZE = 100
CHUNKS = 20
LONGEST = 1800.0


def run(folder: Path, target: str, first: int, last: int) -> tuple[list[dict[str, float]], str]:
    """Run chunks of a target: what its lines say, and what went wrong, if something did."""
    command = [sys.executable, str(CHILD), str(folder), str(first), str(last), f"{target}={SIZE}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=LONGEST, env=environment
        )
        out, wrong = ended.stdout, "" if ended.returncode == 0 else f"status {ended.returncode}\n{ended.stderr[-8000:]}"
    except subprocess.TimeoutExpired as error:
        out, wrong = str(error.stdout or ""), f"no end within {LONGEST:.0f} s"
    if wrong:
        wrong += "\nunder way: " + (folder / "under way").read_text(errors="replace")[:4000]
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")], wrong


def main() -> int:
    """Run what is not done yet, within the time there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=50_000)
    parser.add_argument("--seconds", type=float, default=3600.0)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "qexec-fuzz")
    parser.add_argument("--target", action="append", choices=TARGETS)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    notes = options.folder / "done.json"
    done: dict[str, int] = json.loads(notes.read_text()) if notes.exists() else {}
    targets = options.target or TARGETS
    wanted = -(-options.inputs // (SIZE * len(targets)))
    began, slowest, found = time.monotonic(), Counter[str](), 0
    peak = 0.0
    while time.monotonic() - began < options.seconds:
        left = [target for target in targets if done.get(target, 0) < wanted]
        if not left:
            break
        target = min(left, key=lambda name: done.get(name, 0))
        first = done.get(target, 0)
        last = min(first + CHUNKS, wanted)
        lines, wrong = run(options.folder, target, first, last)
        for line in lines:
            slowest[target] = max(slowest[target], line["slowest"])
            peak = max(peak, line["peak"])
        if wrong:
            found += 1
            place = options.folder / f"found-{target}-{first + len(lines)}.txt"
            place.write_text(wrong, encoding="utf-8", errors="backslashreplace")
            print(f"{target}: chunk {first + len(lines)} is told of in {place}", flush=True)
            last = first + len(lines) + 1
        done[target] = last
        notes.write_text(json.dumps(done))
        print(f"{target}: {last} of {wanted} chunks, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{'target':<20} {'inputs':>8} {'slowest, s of computing':>24}")
    for target in targets:
        print(f"{target:<20} {done.get(target, 0) * SIZE:>8,} {slowest[target]:>24.2f}")
    print(f"at most {peak / 2**20:,.0f} MB in one process; {found} found")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main())
