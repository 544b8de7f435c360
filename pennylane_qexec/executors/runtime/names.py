"""Names of backends: of those that are simulated on this machine, and of those that are at IBM."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, final

from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.executors.runtime.account import Account
from pennylane_qexec.executors.runtime.machines import GivenMachine, Machine, RemoteMachine

_AER = ("aer", "aer_simulator")
_RETIRED = "ibmq_"


def machine(backend: Any, account: Account, qubits: int | None) -> Machine:
    """The machine that a user's value means.

    Args:
        backend: a name, or a backend of Qiskit.
        account: whose service knows the names of machines that are not on this one.
        qubits: the fewest that ``"least_busy"`` needs to have.

    Raises:
        ConfigurationError: there is no such backend, as far as can be told without asking IBM.
    """
    if not isinstance(backend, str):
        return GivenMachine(backend)
    if not backend.strip():
        raise ConfigurationError("backend='' names nothing: give a name, such as 'ibm_torino' or 'fake_manila'.")
    backend = backend.strip()
    if not account.given and is_local(backend):
        return LocalMachine(backend)
    if not account.given and backend.startswith(_RETIRED):
        raise ConfigurationError(_successor(backend))
    return RemoteMachine(backend, account, qubits)


def is_local(backend: Any) -> bool:
    """Whether a name is that of a backend that is simulated on this machine."""
    return isinstance(backend, str) and (backend in _AER or backend.startswith("fake_"))


def _successor(name: str) -> str:
    from pennylane_qexec.executors.qiskit.fake_backends import machines

    fake = f"fake_{name.removeprefix(_RETIRED)}"
    instead = f"{fake!r} simulates it on this machine" if fake in machines() else "'aer' simulates without noise"
    return f"backend={name!r} has been retired by IBM, as all machines with such names: {instead}."


def _maker(name: str) -> Callable[[], Any]:
    if name in _AER:
        from qiskit_aer import AerSimulator

        return AerSimulator  # type: ignore[no-any-return]
    from pennylane_qexec.executors.qiskit.fake_backends import machines

    if name not in machines():
        hint = "Machines of IBM have names such as 'ibm_torino'."
        raise ConfigurationError(unknown("fake backend", name, machines(), hint))
    return partial(_simulated, name)


def _simulated(name: str) -> Any:
    from pennylane_qexec.executors.runtime.simulated import SimulatedMachine

    return SimulatedMachine(name)


@final
class LocalMachine(Machine):
    """A fake backend, or Aer."""

    local = True

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self._make = _maker(name)

    @property
    def known(self) -> Any:
        return self.backend()

    def _find(self) -> Any:
        return self._make()

    def __reduce__(self) -> Any:
        return type(self), (self.name,)
