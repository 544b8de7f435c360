"""What runs inside a worker process: executors kept warm, and batches carried out as they come.

The parent starts ``python -c BOOTSTRAP`` and talks to it by pickles over standard input and output. The user's main
module is not imported, so scripts need no ``if __name__ == "__main__"``.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import time
import traceback
from typing import Any, BinaryIO

BOOTSTRAP = (
    "import pickle, sys; source = sys.stdin.buffer; number, sys.path = pickle.load(source); "
    "from pennylane_qexec.engine.worker import serve; serve(source, number)"
)

_KEPT_EXECUTORS = 16


def serve(source: BinaryIO, number: int) -> None:
    """Carry out batches until the parent closes the pipe.

    Args:
        source: where requests come from: ``(key, executor or None, work)``, the executor pickled, and only the first
            time that its key is used; ``work`` pickled.
        number: which of the pool's workers this is.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _isolate()
    executors: dict[str, Any] = {}
    while True:
        try:
            key, executor, work = pickle.load(source)
        except EOFError:
            return
        pickle.dump(_answer(executors, key, executor, work, number), sink)
        sink.flush()


def perform(executor: Any, work: Any) -> list[Any]:
    """Carry out a batch. What native code raises beside the rules (a panic of Rust, in Qiskit) becomes an error."""
    try:
        return list(executor.perform(work))
    except (Exception, KeyboardInterrupt, SystemExit, GeneratorExit):
        raise
    except BaseException as panic:
        raise RuntimeError(f"{type(panic).__name__}: {panic}") from panic


def _isolate() -> None:
    from pennylane_qexec import isolation

    isolation.install()


def _answer(executors: dict[str, Any], key: str, executor: bytes | None, work: bytes, number: int) -> bytes:
    try:
        if executor is not None:
            while len(executors) >= _KEPT_EXECUTORS:
                del executors[next(iter(executors))]
            executors[key] = pickle.loads(executor)
            executors[key].become_replica(number)
        if key not in executors:
            return pickle.dumps(("unknown", None, 0.0))
        batch = pickle.loads(work)
        start = time.perf_counter()
        results = perform(executors[key], batch)
        return pickle.dumps(("results", results, time.perf_counter() - start))
    except Exception as error:
        return pickle.dumps(("error", _portable(error), 0.0))


def _portable(error: Exception) -> Exception:
    """The error with its traceback as a note; if it cannot be pickled, one that says the same."""
    error.add_note("in a worker process:\n" + "".join(traceback.format_exception(error)).rstrip())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        replacement = RuntimeError(f"{type(error).__name__}: {error}")
        replacement.__notes__ = error.__notes__
        return replacement
    return error
