"""What Python, NumPy, torch, JAX and PennyLane keep for the whole process is as it was, once clusters were used.

A few functions of PennyLane's and Autograd's are changed for threads (see ``concurrency.isolation``), JAX's
cache on disk has a place, and transforms, which cannot be pickled as they come, can be. Anything else would reach
programs that have nothing to do with clusters. The comparison runs in a process of its own.
"""

from __future__ import annotations

import asyncio
import copyreg
import decimal
import gc
import inspect
import json
import locale
import logging
import multiprocessing
import os
import random
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import autograd
import cloudpickle
import matplotlib as mpl
import numpy as np
import pennylane as qml
import pytest
from fakes import programs
from pennylane.transforms.core import Transform

import pennylane_qexec as qexec

pytestmark = [pytest.mark.integration, pytest.mark.slow]

WATCHED = ("pennylane", "autograd", "numpy", "torch", "jax", "threading", "pickle", "logging", "subprocess")
CHANGED = {
    "pennylane.queuing.QueuingManager.add_active_queue",
    "pennylane.queuing.QueuingManager.remove_active_queue",
    "pennylane.queuing.QueuingManager.recording",
    "pennylane.queuing.QueuingManager.active_context",
    "pennylane.queuing.QueuingManager.stop_recording",
    "autograd.tracer.TraceStack.new_trace",
    "pennylane.devices.tracker.Tracker.update",
}
"""The functions that opening a cluster changes."""


JAX_CACHE = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
"""The settings of JAX that executors of ``"jax"`` fill in."""


def settings() -> dict[str, Any]:
    """What a program can have set, as text."""
    import jax
    import torch

    kept: dict[str, Callable[[], Any]] = {
        "numpy's random numbers": lambda: hash(np.random.get_state()[1].tobytes()),
        "python's random numbers": random.getstate,
        "torch's random numbers": lambda: torch.get_rng_state().tolist(),
        "numpy's errors": np.geterr,
        "numpy's printing": np.get_printoptions,
        "torch": lambda: [torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()],
        "jax": lambda: {name: value for name, value in jax.config.values.items() if not name.startswith(JAX_CACHE)},
        "warnings": lambda: [warnings.filters, warnings.showwarning],
        "logging": lambda: [logging.root.handlers, logging.root.level, logging.root.manager.disable],
        "signals": lambda: [signal.getsignal(number) for number in signal.valid_signals()],
        "start of processes": lambda: multiprocessing.get_start_method(allow_none=True),
        "matplotlib": lambda: sorted((key, repr(value)) for key, value in mpl.rcParams.items()),
        "environment": lambda: sorted(os.environ.items()),
        "folder": os.getcwd,
        "hooks": lambda: [sys.excepthook, sys.unraisablehook, sys.displayhook, threading.excepthook],
        "streams": lambda: [sys.stdin, sys.stdout, sys.stderr],
        "path": lambda: [sys.path, sys.meta_path, sys.path_hooks],
        "limits": lambda: [sys.getrecursionlimit(), sys.getswitchinterval(), threading.stack_size()],
        "garbage": lambda: [gc.isenabled(), gc.get_threshold(), gc.get_freeze_count()],
        "decimal": lambda: [decimal.getcontext().prec, decimal.getcontext().rounding],
        "language": lambda: locale.setlocale(locale.LC_ALL),
        "sockets": socket.getdefaulttimeout,
        "event loops": lambda: type(asyncio.get_event_loop_policy()),
        "pennylane": lambda: [qml.capture.enabled(), qml.decomposition.enabled_graph(), qml.QueuingManager.recording()],
        "autograd": lambda: autograd.tracer.trace_stack.top,
        "pickles": lambda: sorted(kind.__qualname__ for kind in copyreg.dispatch_table if kind is not Transform),
    }
    return {name: written(read()) for name, read in kept.items()}


def written(value: Any) -> Any:
    """A value as JSON, its parts as text."""
    if isinstance(value, dict):
        return {str(key): repr(part) for key, part in value.items()}
    return [repr(part) for part in value] if isinstance(value, list) else repr(value)


def functions() -> dict[str, int]:
    """The code of every function and method of the watched modules."""
    found: dict[str, int] = {}
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in WATCHED and not name.startswith("torch.distributed"):  # which warns when looked at
            for owner, function in functions_in(module, name):
                found.setdefault(owner, hash(function.__code__) ^ id(function))
    return found


def functions_in(owner: Any, name: str) -> Iterator[tuple[str, FunctionType]]:
    for key, value in list(vars(owner).items()):
        if isinstance(value, type) and isinstance(owner, ModuleType) and value.__module__ == name:
            yield from functions_in(value, f"{name}.{key}")
        function = inspect.unwrap(value.__func__) if isinstance(value, classmethod | staticmethod) else value
        if isinstance(function, FunctionType):
            yield f"{name}.{key}", function


def use_clusters() -> None:
    """Do a bit of everything."""
    executors = ["default.qubit", "lightning.qubit", "default.mixed", "aer", "aer:fake_manila", "jax"]
    circuits = [
        qml.tape.QuantumScript([qml.RX(0.1, 0), qml.CNOT([0, 1])], [qml.expval(qml.Z(1))], shots=100),
        qml.tape.QuantumScript([qml.RX(0.1, 0)], [qml.counts(wires=[0])], shots=7),
    ]
    for name in executors:
        with qexec.QCluster([name], seed=3) as cluster:
            cluster.execute(circuits)
    in_processes = {"type": "default.qubit", "parallel": "process", "workers": 1}
    with qexec.QCluster([in_processes, "default.qubit"], split="uniform") as cluster:
        cluster.execute(circuits)

    @qexec.qelectron(executors=["default.qubit", "lightning.qubit"])
    @qml.qnode(qml.device("default.qubit", wires=1), diff_method="parameter-shift")
    def cosine(x: Any) -> Any:
        qml.RX(x, 0)
        return qml.expval(qml.Z(0))

    qml.grad(cosine)(qml.numpy.array(0.3, requires_grad=True))
    cosine.run_later(0.1).result()
    cosine.map([0.1, 0.2])
    with cosine:
        cloudpickle.dumps(cosine)


def main() -> None:
    """Print what differs after clusters were used."""
    import jax
    import torch

    gc.unfreeze()  # what the process was forked with, and is counted
    jax.numpy.zeros(1)
    torch.zeros(1)
    use_once_what_libraries_change_by_themselves()
    settings_before, functions_before = settings(), functions()
    use_clusters()
    settings_after, functions_after = settings(), functions()
    differing = {name: [old, settings_after[name]] for name, old in settings_before.items()}
    answer = {
        "settings": {name: pair for name, pair in differing.items() if pair[0] != pair[1]},
        "functions": sorted(name for name, code in functions_before.items() if functions_after.get(name) != code),
        "watched": len(functions_before),
    }
    json.dump(answer, sys.stdout)


def use_once_what_libraries_change_by_themselves() -> None:
    """Import the libraries of the executors, which may set what they like when they are imported."""
    import qiskit_aer  # noqa: F401
    import qiskit_ibm_runtime  # noqa: F401


@pytest.fixture(scope="module")
def differing() -> dict[str, Any]:
    done = programs.run(Path(__file__).read_text(), name=__file__)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_what_a_program_can_set_is_as_it_was(differing: dict[str, Any]) -> None:
    assert differing["settings"] == {}


def test_functions_of_libraries_are_what_they_were_but_those_that_are_made_safe_for_threads(
    differing: dict[str, Any],
) -> None:
    assert differing["watched"] > 5000
    assert set(differing["functions"]) == CHANGED


if __name__ == "__main__":
    main()
