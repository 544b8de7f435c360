"""IBM's machines as Qiskit remembers them: their noise and their coupling, to be simulated on this machine.

Importing this imports Qiskit, so it is imported when the first such backend is used.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from qiskit_ibm_runtime import fake_provider
from qiskit_ibm_runtime.fake_provider.fake_backend import FakeBackendV2


@cache
def machines() -> dict[str, type[FakeBackendV2]]:
    """The fake backends that are installed, by name."""
    kinds: list[Any] = [kind for kind in vars(fake_provider).values() if isinstance(kind, type)]
    return {kind.backend_name: kind for kind in kinds if issubclass(kind, FakeBackendV2) and kind.backend_name}
