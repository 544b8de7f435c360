"""Runs many hostile inputs in one process, which is to end well.

    python tests/fuzz/child.py FOLDER FIRST LAST TARGET=SIZE ...

runs chunks FIRST to LAST (without that) of SIZE inputs for each target, and prints a line of JSON for each chunk. It
ends with 1, and says on standard error for which input, if an error comes out that is not the package's own, an input
takes more than 10 s of computing, a file is read that was not given, or its content comes out. FOLDER has the
input under way, for whoever finds that the process was killed. What is true of the whole process (its memory, and that
it lives) is for the caller to look at.

A new target is a function with the ``target`` decorator, named in ``test_hostile_input.py`` and ``benchmarks/fuzz.py``:
given the folder and a file that nobody may read, it returns
the strategy of its inputs, and what is done with one.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import resource
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import closing, redirect_stderr, redirect_stdout, suppress
from functools import cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from inputs import SECRET, command_lines, files, openqasm, saved, store_changes

SECONDS = 10.0
"""The most seconds of computing for one input."""

HANGS = 120.0
"""The seconds after which an input hangs, whatever else this machine does."""

MOST_MEMORY = 2**30
"""The most memory of the process."""

_ADDRESSES = 8 * 2**30

Target = Callable[[Path, Path], tuple[st.SearchStrategy[Any], Callable[[Any], str]]]

TARGETS: dict[str, Target] = {}


def target(function: Target) -> Target:
    """Note a target by its name."""
    TARGETS[function.__name__] = function
    return function


@target
def circuits(folder: Path, secret: Path) -> tuple[st.SearchStrategy[Any], Callable[[Any], str]]:
    """Texts of circuits, read."""
    from pennylane_qexec.circuits import frameworks
    from pennylane_qexec.errors import QExecError

    def read(text: str) -> str:
        try:
            return repr(frameworks.read(text).bits)
        except QExecError as error:
            return str(error)

    return openqasm(secret), read


@target
def saved_experiments(folder: Path, secret: Path) -> tuple[st.SearchStrategy[Any], Callable[[Any], str]]:
    """Files of saved experiments, loaded, and asked for their results."""
    from pennylane_qexec.errors import QExecError
    from pennylane_qexec.experiment import ResultCollector

    def load(text: str) -> str:
        path = folder / "saved.json"
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        try:
            collector = ResultCollector.load(path)
        except QExecError as error:
            return str(error)
        return repr(collector.records)

    return saved(secret), load


@target
def dispatches(folder: Path, secret: Path) -> tuple[st.SearchStrategy[Any], Callable[[Any], str]]:
    """Dispatches as JSON."""
    from pennylane_qexec import Dispatch
    from pennylane_qexec.errors import QExecError

    def read(text: str) -> str:
        try:
            document = json.loads(text)
            text = json.dumps(document["dispatch"])
        except (ValueError, KeyError, TypeError, RecursionError):
            pass
        try:
            return str(Dispatch.from_json(text))
        except QExecError as error:
            return str(error)

    return saved(secret), read


@target
def files_run(folder: Path, secret: Path) -> tuple[st.SearchStrategy[Any], Callable[[Any], str]]:
    """``qexec run`` on files."""
    path = folder / "given.qasm"

    def run(content: bytes) -> str:
        path.write_bytes(content)
        return _command("run", str(path), "--shots=7")

    return files(secret), run


@target
def command_line(folder: Path, secret: Path) -> tuple[st.SearchStrategy[Any], Callable[[Any], str]]:
    """``qexec run`` with any options."""
    path = folder / "bell.qasm"
    path.write_text('OPENQASM 2.0; include "qelib1.inc"; qreg q[2]; h q[0]; cx q[0],q[1];')
    pipe = folder / "pipe"
    if not pipe.exists():
        os.mkfifo(pipe)
    names = [str(path), str(path), str(folder / "none.qasm"), str(folder), "/dev/zero", str(pipe), "\0", "x" * 5000]
    return command_lines(names), lambda arguments: _command("run", *arguments)


@target
def stores(folder: Path, secret: Path) -> tuple[st.SearchStrategy[Any], Callable[[Any], str]]:
    """Stores in which rows were changed: shown, and a durable run that goes on with them."""
    from pennylane_qexec import QCluster, QExecError, durable_run
    from pennylane_qexec.testing import flip

    whole, changed = folder / "whole.db", folder / "changed.db"
    circuits = [flip(angle, 20) for angle in (0.1, 0.2, 0.3)]

    def resume(path: Path) -> str:
        try:
            with QCluster(["default.qubit"], seed=7, cache=path) as cluster, durable_run("vqe", path, lease=1000):
                return repr(cluster.execute(circuits))
        except QExecError as error:
            return str(error)

    if not whole.exists():
        resume(whole)

    def change(changes: list[tuple[str, Any]]) -> str:
        shutil.copyfile(whole, changed)
        with closing(sqlite3.connect(changed)) as connection:
            for statement, value in changes:
                with suppress(sqlite3.Error):
                    connection.execute(statement, (value,) if "?" in statement else ())
            connection.commit()
        options = ("--store", str(changed))
        shown = [_command("runs", *options), _command("run-info", "vqe", "--json", *options), resume(changed)]
        for end in ("-wal", "-shm"):
            Path(f"{changed}{end}").unlink(missing_ok=True)
        assert "\x1b" not in "".join(shown[:2]), "orders to a terminal come out"
        assert not _is_open(changed), "the store is still open"
        return "".join(shown)

    return store_changes(), change


def _command(*arguments: str) -> str:
    """What the command prints.

    Raises:
        AssertionError: it ends in another way than commands do.
    """
    out, err, status = io.StringIO(), io.StringIO(), 0
    sys.stdin = io.TextIOWrapper(io.BytesIO(b"not a circuit"))
    with redirect_stdout(out), redirect_stderr(err):
        try:
            _qexec().main(list(arguments), prog_name="qexec", standalone_mode=True)
        except SystemExit as left:
            status = int(left.code or 0)
    shown = out.getvalue() + err.getvalue()
    if status not in (0, 1, 2) or "Traceback" in shown:
        raise AssertionError(f"status {status} of {arguments!r:.300}: {shown[-2000:]}")
    return shown


def _is_open(path: Path) -> bool:
    """Whether this process has a file open, where that can be seen."""
    here = Path("/proc/self/fd")
    return here.exists() and any(os.path.realpath(one) == str(path) for one in here.iterdir())


@cache
def _qexec() -> Any:
    from typer.main import get_command

    from pennylane_qexec.cli import app

    return get_command(app)


def most_memory() -> int:
    """The most memory that this process has had, in bytes.

    On Linux, ``ru_maxrss`` begins with what the process had before it was this program: the memory of whoever started
    it. What the kernel notes of the program itself is asked for first.
    """
    noted = Path("/proc/self/status")
    if noted.exists():
        line = next(line for line in noted.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def main(folder: Path, first: int, last: int, sizes: dict[str, int]) -> None:
    """Run chunks of targets, each of as many inputs as its name is given."""
    secret = folder / "elsewhere" / "secret.inc"
    secret.parent.mkdir(exist_ok=True)
    secret.write_text(f"gate {SECRET} a {{ }}\n{SECRET}\n")
    given_folder = folder / "given"
    given_folder.mkdir(exist_ok=True)
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESSES, _ADDRESSES))
    chosen = {name: TARGETS[name](given_folder, secret) for name in sizes}
    forbidden = (str(secret.parent), "/etc/passwd", "/dev/zero")
    read: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | os.PathLike):
            path = os.path.abspath(os.fspath(arguments[0])) if "\0" not in str(arguments[0]) else ""
            if path.startswith(forbidden[:2]):
                read.append(path)

    sys.addaudithook(watch)
    for number in range(first, last):
        for name, (strategy, work) in chosen.items():
            _chunk(name, number, sizes[name], strategy, work, folder / "under way", read)


def _chunk(
    name: str,
    number: int,
    size: int,
    strategy: st.SearchStrategy[Any],
    work: Callable[[Any], str],
    note: Path,
    read: list[str],
) -> None:
    slowest, inputs = [0.0], [0]
    began = time.process_time()

    @seed(number)
    @settings(
        max_examples=size,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def check(value: Any) -> None:
        inputs[0] += 1
        note.write_text(f"{name} {value!r}", encoding="utf-8", errors="backslashreplace")
        faulthandler.dump_traceback_later(HANGS, exit=True)
        computed = time.process_time()
        shown = work(value)
        slowest[0] = max(slowest[0], time.process_time() - computed)
        faulthandler.cancel_dump_traceback_later()
        assert time.process_time() - computed < SECONDS, f"{time.process_time() - computed:.1f} s of computing"
        assert SECRET not in shown, f"the content of a file that was not given came out: {shown[-2000:]}"
        assert not read, f"{read} was read, and not given"

    check()
    peak = most_memory()
    assert peak < MOST_MEMORY, f"{peak / 2**20:.0f} MB of memory"
    line = {"target": name, "chunk": number, "inputs": inputs[0], "seconds": round(time.process_time() - began, 2)}
    print(json.dumps(line | {"slowest": round(slowest[0], 2), "peak": peak}), flush=True)


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    faulthandler.enable()
    try:
        pairs = [argument.split("=") for argument in sys.argv[4:]]
        main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), {name: int(size) for name, size in pairs})
    except BaseException:
        traceback.print_exc()
        print((Path(sys.argv[1]) / "under way").read_text()[:3000], file=sys.stderr)
        sys.stderr.flush()
        os._exit(1)
    os._exit(0)
