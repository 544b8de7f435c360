"""JAX as it is installed here: its devices, their memory, 64-bit numbers, and its cache on disk."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.executors.memory import free_memory

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
