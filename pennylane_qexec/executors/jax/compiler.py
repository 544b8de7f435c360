"""The compiled functions of a structure, the thread that compiles them, and JAX as it is installed here.

There is one function for each number of rows that is used; a few serve all numbers.
"""

from __future__ import annotations

import importlib
import logging
import threading
import weakref
from collections.abc import Callable, Hashable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from pennylane_qexec.concurrency import interrupts, isolation
from pennylane_qexec.concurrency.lifecycle import ExitPhase, at_exit
from pennylane_qexec.concurrency.resources import free_memory
from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.executors.jax.functions import Traced

PLATFORMS = ("cpu", "gpu")

_FIRST_UNKNOWN = (0, 11)
_UNKNOWN_MEMORY = 2**30
_WORTH_KEEPING = 0.1


class Platform:
    """A device of JAX's, and how to compute on it.

    JAX's settings are the process's: none are changed but its cache on disk, if the user has set none. Functions are
    compiled and called with 64-bit numbers, whatever the rest of the process uses.

    Args:
        name: ``"cpu"`` or ``"gpu"``; ``None`` for what JAX uses by default.

    Attributes:
        device: the device.
        count: how many functions have been compiled for it.

    Raises:
        ConfigurationError: JAX is not installed, is too new, or has no such device.
    """

    def __init__(self, name: str | None) -> None:
        if name not in (None, *PLATFORMS):
            raise ConfigurationError(unknown("platform of JAX", name, PLATFORMS))
        self._jax = _imported()
        self._counting = threading.Lock()
        self.count = 0
        try:
            self.device: Any = self._jax.devices(name)[0]
        except RuntimeError as error:
            raise ConfigurationError(
                f"JAX has no device for platform={name!r} ({error}). Leave it out for whatever there is, or install "
                "JAX for your hardware, as in: pip install 'jax[cuda12]<0.11'."
            ) from error

    @property
    def on_cpu(self) -> bool:
        """Whether it computes on the processor, whose caches are small."""
        return bool(self.device.platform == "cpu")

    def in_64_bits(self) -> AbstractContextManager[Any]:
        """While this context is active, the calling thread computes with 64-bit numbers."""
        switch: AbstractContextManager[Any] = self._jax.enable_x64(True)
        return switch

    def compiled(self, function: Callable[[Any], Any], rows: int, columns: int) -> Callable[[Any], Any]:
        """Compile a function of an array ``(rows, columns)`` of 64-bit floats."""
        place = self._jax.sharding.SingleDeviceSharding(self.device)
        with self.in_64_bits():
            shape = self._jax.ShapeDtypeStruct((rows, columns), np.float64, sharding=place)
            made: Callable[[Any], Any] = self._jax.jit(function).lower(shape).compile()
        with self._counting:
            self.count += 1
        return made

    def free_bytes(self) -> int:
        """How much memory is free on the device."""
        if self.on_cpu:
            return max(int(free_memory()), 0)
        known = self.device.memory_stats() or {}
        return int(known.get("bytes_limit", _UNKNOWN_MEMORY)) - int(known.get("bytes_in_use", 0))

    def keep_on_disk(self, folder: Path | None) -> None:
        """Let JAX keep what it compiles on disk, unless the user has said where, or that it should not.

        Args:
            folder: where; default: this package's part of the user's cache folder.
        """
        settings = self._jax.config
        if settings.jax_compilation_cache_dir is not None or not settings.jax_enable_compilation_cache:
            return
        folder = folder or Path(platformdirs.user_cache_dir("pennylane_qexec")) / "jax"
        settings.update("jax_compilation_cache_dir", str(folder))
        if settings.jax_persistent_cache_min_compile_time_secs > _WORTH_KEEPING:
            settings.update("jax_persistent_cache_min_compile_time_secs", _WORTH_KEEPING)


def _imported() -> Any:
    try:
        jax = importlib.import_module("jax")
    except ImportError as error:
        raise ConfigurationError(
            "executor 'jax' needs JAX, which is not installed: pip install 'pennylane-qexec[jax]'."
        ) from error
    version = tuple(int(part) for part in jax.__version_info__[:2])
    if version >= _FIRST_UNKNOWN:
        raise ConfigurationError(
            f"jax {jax.__version__} is too new for PennyLane 0.45, which executor 'jax' computes with: "
            "pip install 'jax<0.11'."
        )
    return jax


_log = logging.getLogger("pennylane_qexec")

_BYTES_OF_A_NUMBER = 16
_COPIES = 4
"""How many states there are at once, at most, while operations are applied."""

_PART_OF_MEMORY = 4
_NUMBERS_IN_CACHE = 3 * 2**16
_MOST_ROWS = 2**20
_TOO_LARGE = 1.5
_LARGE = 128
"""Rows from which on chunks cost hardly more than one large batch."""


Results = tuple[np.ndarray, ...]


class Functions:
    """The compiled functions of one structure.

    Batches are padded to 1, 2, 4, 8, 16, 20, 24, 28, 32, 40, ... rows. Those of more rows than a chunk has run in
    chunks, all of one size.

    Args:
        make: makes the function to compile.
        platform: where to compute.
        chunk: the most rows at once; ``None`` for as many as its memory and caches have room for.

    Attributes:
        broken: whether the function cannot be compiled.
    """

    def __init__(self, make: Callable[[], Traced], platform: Platform, chunk: int | None) -> None:
        self._make = make
        self._platform = platform
        self._chunk = chunk
        self._lock = threading.Lock()
        self._compiling = threading.Lock()
        self._traced: Traced | None = None
        self._compiled: dict[int, Callable[[np.ndarray], tuple[object, ...]]] = {}
        self.broken = False

    def ready(self, rows: int) -> bool:
        """Whether there is a function for this many rows."""
        return self._size(rows) is not None

    def compile(self, rows: int) -> None:
        """Compile a function for this many rows. If that is not possible, it is noted, and said in the log."""
        with self._compiling:
            if self.broken or self.ready(rows):
                return
            try:
                if self._traced is None:
                    self._traced = self._make()
                    self._chunk = min(self._chunk or _MOST_ROWS, self._room(self._traced.numbers))
                size = self._bounded(rows)
                function = self._platform.compiled(self._traced.function, size, self._traced.parameters)
            except Exception as error:  # tracing, PennyLane and XLA raise what they like
                self.broken = True
                _log.debug("circuits of one structure cannot be compiled by JAX: %s: %s", type(error).__name__, error)
                return
            with self._lock:
                self._compiled = {**self._compiled, size: function}

    def run(self, parameters: np.ndarray, rows: int | None = None) -> Iterator[Results]:
        """Compute the results of rows, chunk by chunk; the next chunk is computed while one works with the last.

        Args:
            parameters: an array ``(R, P)``.
            rows: a number of rows for which there is a function, at least ``R``, which is the default.
        """
        size = self._size(rows or len(parameters))
        assert size is not None
        chunks = -(-len(parameters) // size)
        launched: tuple[int, tuple[object, ...]] | None = None
        for part in np.array_split(parameters, chunks) if chunks > 1 else [parameters]:
            following = len(part), self._launch(size, part)
            if launched is not None:
                yield _fetched(*launched)
            launched = following
        if launched is not None:
            yield _fetched(*launched)

    def _launch(self, size: int, part: np.ndarray) -> tuple[object, ...]:
        if len(part) < size:
            part = np.concatenate([part, np.zeros((size - len(part), part.shape[1]))])
        with self._platform.in_64_bits():
            return self._compiled[size](part)

    def _size(self, rows: int) -> int | None:
        """The size of the function to use for this many rows; ``None`` if there is none that is not much too slow."""
        wanted = self._bounded(rows)
        if wanted in self._compiled:
            return wanted
        larger = [size for size in self._compiled if wanted < size <= _TOO_LARGE * wanted]
        chunks = [size for size in self._compiled if _LARGE <= size < wanted]
        return min(larger) if larger else max(chunks, default=None)

    def _bounded(self, rows: int) -> int:
        if self._traced is None or self._chunk is None or padded(rows) <= self._chunk:
            return padded(rows)
        return min(self._chunk, padded(-(-rows // -(-rows // self._chunk))))

    def _room(self, numbers: int) -> int:
        """How many rows fit into memory, and into the processor's caches, beyond which it is slower."""
        bytes_of_row = _BYTES_OF_A_NUMBER * _COPIES * numbers
        rows = self._platform.free_bytes() // (_PART_OF_MEMORY * bytes_of_row)
        if self._platform.on_cpu:
            rows = min(rows, _NUMBERS_IN_CACHE // numbers)
        return 1 << max(int(rows).bit_length() - 1, 0)


def padded(rows: int) -> int:
    """The number of rows that a batch is padded to: a power of two up to 16, then with three sizes in between.

    Args:
        rows: at least 1.
    """
    power = 1 << (rows - 1).bit_length()
    step = power // 8 if power > 16 else power
    return -(-rows // step) * step


def bytes_needed(wires: int) -> int:
    """The least memory that simulating this many wires takes."""
    return int(_BYTES_OF_A_NUMBER * _COPIES * 2**wires)


def _fetched(rows: int, results: tuple[object, ...]) -> Results:
    return tuple([np.asarray(result)[:rows] for result in results])


class CompileQueue:
    """Does one task after the other in a thread of its own.

    The thread does not keep the program from ending, but for the task that it is at: a compiler that is left running
    while Python ends would abort the process.
    """

    def __init__(self) -> None:
        self._tasks: dict[Hashable, Callable[[], None]] = {}
        self._current: Hashable = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def add(self, key: Hashable, task: Callable[[], None]) -> None:
        """Have a task done, some time.

        Args:
            key: tells tasks apart: one that waits, or is being done, is not added again.
            task: must not raise.
        """
        # Tracing records operations, and must not do so into the circuit that another thread records.
        isolation.install()
        with self._changed:
            if key in self._tasks or key == self._current:
                return
            self._tasks[key] = task
            if self._thread is None:
                at_exit(ExitPhase.COMPILERS, _stop_all)
                _at_work.add(self)
                self._thread = threading.Thread(target=self._work, name="qexec-jax", daemon=True)
                self._thread.start()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until there is nothing to do; whether that came to be within ``timeout`` seconds."""
        with self._changed:
            return interrupts.wait(lambda seconds: self._changed.wait_for(self._is_idle, seconds), timeout)

    def _is_idle(self) -> bool:
        return self._thread is None or not self._thread.is_alive()

    def close(self) -> None:
        """Forget the tasks that have not begun."""
        with self._changed:
            self._tasks.clear()

    def _work(self) -> None:
        while True:
            with self._changed:
                if not self._tasks:
                    self._thread = self._current = None
                    self._changed.notify_all()
                    return
                self._current = next(iter(self._tasks))
                task = self._tasks.pop(self._current)
            task()


_at_work: weakref.WeakSet[CompileQueue] = weakref.WeakSet()


def _stop_all() -> None:
    for compile_queue in list(_at_work):
        compile_queue.close()
        try:
            compile_queue.wait()
        except KeyboardInterrupt:
            interrupts.end_now()
