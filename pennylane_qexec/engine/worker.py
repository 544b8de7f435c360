"""What runs inside a worker process: executors kept warm, and batches carried out as they come.

The parent starts ``python -c BOOTSTRAP`` and talks to it by pickles over standard input and output. The user's main
module is not imported, so scripts need no ``if __name__ == "__main__"``.

A worker does not outlive its parent, and says nothing then. A thread of it ends it when the pipe closes. That thread
cannot run while native code holds Python's lock, as Aer does for minutes: on Linux the kernel kills the worker. It does
so when the *thread* ends that has started the worker, so that has to live as long as the worker is wanted.
"""

from __future__ import annotations

import gc
import os
import pickle
import queue
import sys
import threading
import time
import traceback
from typing import Any, BinaryIO, NamedTuple

from pennylane_qexec.concurrency.thread_pool import tamed

BOOTSTRAP = """
import os, pickle, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    if os.getppid() != int(sys.argv[1]):
        os._exit(0)
source = sys.stdin.buffer
try:
    number, sys.path = pickle.load(source)
except EOFError:
    os._exit(0)
from pennylane_qexec.engine.worker import serve
serve(source, number)
"""
"""What a worker runs; it takes its parent's process id as its argument."""

READY = "ready"
"""What a worker says when PennyLane is imported."""

KEPT_EXECUTORS = 128
"""The most executors that a process keeps."""


class BatchResult(NamedTuple):
    """The results of a batch, and the seconds that running it took.

    Attributes:
        results: of its circuits.
        seconds: it took.
        usages: what each circuit has used, where only running it shows that; else empty.
    """

    results: list[Any]
    seconds: float
    usages: tuple[Any, ...] = ()


def perform(executor: Any, work: Any) -> BatchResult:
    """Carry out a batch."""
    start = time.perf_counter()
    results, usages = tamed(executor.perform_counted, work)
    seconds = time.perf_counter() - start
    return BatchResult(complete(executor, work, list(results)), seconds, tuple(usages))


def complete(executor: Any, work: Any, results: list[Any]) -> list[Any]:
    """The results of a batch, if there is one for each of its circuits, and nothing else; an error is never data."""
    if len(results) != len(work.circuits):
        raise RuntimeError(f"{len(results)} results were returned for {len(work.circuits)} circuits")
    if not work.sweeps:
        if type(None) in map(type, results):
            raise RuntimeError(_NONE)
        executor.check_results(work, results)
        return results
    results = list(map(list, results))
    for index, (rows, sweep) in enumerate(zip(results, work.sweeps, strict=True)):
        if len(rows) != len(sweep):
            raise RuntimeError(f"{len(rows)} results were returned for the {len(sweep)} circuits of a sweep")
        if type(None) in map(type, rows):
            raise RuntimeError(_NONE)
        executor.check_results(work.part([index]).by_template(), rows)
    return results


_NONE = "None was returned in place of the result of a circuit"


def serve(source: BinaryIO, number: int) -> None:
    """Carry out batches until the parent closes the pipe, which ends the process.

    Args:
        source: where requests come from: ``(key, executor or None, work)``, the executor pickled, and only the first
            time that its key is used; ``work`` pickled.
        number: which of the pool's workers this is.
    """
    sink = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _isolate()
    # What was imported stays: without this, the garbage collector looks through all of it over and over.
    gc.freeze()
    _say(READY, sink)
    requests: queue.SimpleQueue[tuple[str, bytes | None, bytes]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(source, requests), name="qexec-requests", daemon=True).start()
    executors: dict[str, Any] = {}
    while True:
        key, executor, work = requests.get()
        _say(_answer(executors, key, executor, work, number), sink)


def _read(source: BinaryIO, requests: queue.SimpleQueue[tuple[str, bytes | None, bytes]]) -> None:
    """Read requests, and end the process when there will be none."""
    try:
        while True:
            requests.put(pickle.load(source))
    except (EOFError, OSError, pickle.UnpicklingError):
        os._exit(0)  # the parent has gone, perhaps in the middle of a request
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def _say(message: Any, sink: BinaryIO) -> None:
    try:
        pickle.dump(message, sink)
        sink.flush()
    except OSError:
        os._exit(0)  # nobody listens any more


def _isolate() -> None:
    from pennylane_qexec.concurrency import isolation

    isolation.install()


def _answer(executors: dict[str, Any], key: str, executor: bytes | None, work: bytes, number: int) -> bytes:
    try:
        if executor is not None:
            while len(executors) >= KEPT_EXECUTORS:
                del executors[next(iter(executors))]
            executors[key] = pickle.loads(executor)
            executors[key].become_replica(number)
        if key not in executors:
            return pickle.dumps(("unknown", None))
        return pickle.dumps(("ran", perform(executors[key], pickle.loads(work))))
    except Exception as error:
        return pickle.dumps(("error", _told(error)))


def survives_pickling(error: Exception) -> bool:
    """Whether another process would get an error as it is."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return False
    return True


def in_other_words(error: Exception) -> Exception:
    """An error that can be pickled and says the same."""
    return RuntimeError(f"{type(error).__name__}: {error}")


def _told(error: Exception) -> tuple[Exception, str]:
    """What the parent is told of an error: the error, as far as it can be sent, and where it came from."""
    came_from = "in a worker process:\n" + "".join(traceback.format_exception(error)).rstrip()
    return (error if survives_pickling(error) else in_other_words(error)), came_from
