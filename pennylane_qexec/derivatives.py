"""Which derivatives the executors of a cluster compute themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.device import DeviceExecutor
from pennylane_qexec.executors.settings import DERIVATIVES

_BEST, _BEST_OF_HIGHER_ORDER = "adjoint", "backprop"


class Derivatives:
    """Answers for all executors of a cluster together.

    Args:
        executors: the executors; a method is offered if every one of them offers it.
        best: the method tried for ``diff_method="best"`` and first derivatives.
    """

    def __init__(self, executors: Sequence[Executor], best: str = _BEST) -> None:
        self._executors = executors
        self._best = best
        self._last_answer: tuple[str, QuantumScript | None, bool] = ("", None, False)

    def method(self, config: ExecutionConfig, circuit: QuantumScript | None) -> str | None:
        """The method by which every executor differentiates such circuits itself; ``None`` if there is none.

        PennyLane asks several times in a call, for the same circuit, and the answer is not cheap: the last is kept.
        """
        wanted = config.gradient_method
        if wanted not in (*DERIVATIVES, "best") or (circuit is not None and circuit.shots):
            return None
        best = self._best if config.derivative_order == 1 else _BEST_OF_HIGHER_ORDER
        method = best if wanted == "best" else str(wanted)
        asked_method, asked_circuit, answer = self._last_answer
        if asked_method != method or asked_circuit is not circuit:
            answer = self._all_support(_asking_for(method, config), circuit)
            self._last_answer = (method, circuit, answer)
        return method if answer else None

    def offers_products(self, config: ExecutionConfig, circuit: QuantumScript | None) -> bool:
        """Whether every executor computes vector-Jacobian products of such circuits."""
        method = self.method(config, circuit)
        if method in (None, "backprop"):
            return False
        return all(
            isinstance(executor, DeviceExecutor)
            and executor.device(circuit).supports_vjp(_asking_for(str(method), config), circuit)
            for executor in self._executors
        )

    def _all_support(self, config: ExecutionConfig, circuit: QuantumScript | None) -> bool:
        if any(executor.shots for executor in self._executors):
            return False
        if config.gradient_method == "backprop" and not all(_stays_here(executor) for executor in self._executors):
            return False
        return all(executor.supports(config, circuit) for executor in self._executors)


def _stays_here(executor: Executor) -> bool:
    """Whether an executor can compute in the thread that calls it, where backpropagation can follow."""
    return executor.local and executor.parallel in ("auto", "thread")


def _asking_for(method: str, config: ExecutionConfig) -> ExecutionConfig:
    return replace(config, gradient_method=method, device_options={})
