"""The error for circuits that no executor can run, which PennyLane's own code has to know too."""

from __future__ import annotations

from typing import Any

from pennylane.exceptions import DeviceError, WireError

from pennylane_qexec.errors import QExecError, also_of, named


class NoExecutorError(QExecError, DeviceError, WireError):
    """No executor of the cluster can run a circuit; also what PennyLane's code expects of a device then.

    If there is one executor only, it is also of the class of what that raised, as :class:`ExecutorError` is.

    Args:
        circuit: a short description of the circuit.
        reasons: why, for each executor's name.
        cause: what the only executor raised when it prepared the circuit.
    """

    def __new__(cls, circuit: str, reasons: dict[str, str], cause: Exception | None = None) -> NoExecutorError:
        """An error that is also of its cause's class."""
        kind: type[NoExecutorError] = cls if cause is None else also_of(cls, type(cause))
        return super().__new__(kind, circuit, reasons)

    def __init__(self, circuit: str, reasons: dict[str, str], cause: Exception | None = None) -> None:
        super().__init__(circuit, reasons)
        self.circuit = circuit
        self.cause = cause
        self.reasons = reasons

    def __reduce__(self) -> Any:
        return named(type(self)), (self.circuit, self.reasons, self.cause), self.__dict__

    @property
    def why(self) -> str:
        """The reasons, in words."""
        return "; ".join(f"{name!r} {reason.rstrip('.')}" for name, reason in self.reasons.items())

    def __str__(self) -> str:
        said = self.why.replace("wires=", "")  # of operations and measurements, however few wires they have
        wide = any(word in said for word in ("wire", "qubits", "memory"))
        return (
            f"no executor of the cluster can run {self.circuit}: {self.why}. Add an executor that can, or change the "
            f"circuit{' (qml.cut_circuit makes wide circuits narrower)' if wide else ''}."
        )


class NoBackendError(NoExecutorError):
    """A circuit of an experiment cannot be run by a backend, or by none of those that it might be shared out over."""

    def __str__(self) -> str:
        return f"{self.circuit} cannot be run: {self.why}. Name a backend that can, or change the circuit."
