"""``local_aer``: Aer without noise, and with that of IBM's machines."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any, final

from pennylane_qexec.executors import Executor
from pennylane_qexec.providers.backend import Backend, Provider, own_options
from pennylane_qexec.providers.fakes import fake_backends, qubits

IDEAL = "aer_simulator"
"""The name of the simulator without noise."""


@final
class LocalAer(Provider):
    """Qiskit's Aer simulator, as ``"aer_simulator"``, and every fake backend that is installed."""

    name = "local_aer"

    def backends(self) -> Mapping[str, Backend]:
        ideal = Backend(self.name, IDEAL, partial(_executor, None), options=_options)
        return {IDEAL: ideal, **{name: self._noisy(name) for name in fake_backends()}}

    def _noisy(self, name: str) -> Backend:
        make = partial(_executor, name)
        count = partial(qubits, name)
        return Backend(self.name, name, make, kind="noisy simulator", num_qubits=count, options=_options)


def _executor(machine: str | None, **config: Any) -> Executor:
    from pennylane_qexec.executors.aer import AerExecutor

    return AerExecutor(machine, **config)


@cache
def _options() -> frozenset[str]:
    from pennylane_qexec.executors.aer import AerExecutor
    from pennylane_qexec.executors.aer.options import known_options

    return own_options(AerExecutor, "backend") | frozenset(known_options())
