"""``qexec.executor``: makes executors, and has the classes that Covalent's users look for under that name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, final

from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.pennylane.simulators import Simulator
from pennylane_qexec.executors.specs import executor as make_executor
from pennylane_qexec.redaction import veiled
from pennylane_qexec.redaction.display import even_incomplete

if TYPE_CHECKING:
    from pennylane_qexec.executors.runtime.covalent import QiskitExecutor

_DEVICE = " Give the PennyLane device of that provider as an executor: executors=[qml.device(...)]."
_ELSEWHERE = {
    "IBMQExecutor": " Take QiskitExecutor(device='sampler', backend=...), or RuntimeExecutor.",
    "BraketQubitExecutor": _DEVICE,
    "LocalBraketQubitExecutor": _DEVICE,
}


@final
class ExecutorNames:
    """A function that makes executors, with the classes that are under ``covalent.executor`` as its attributes."""

    Simulator = Simulator

    def __init__(self) -> None:
        self.__doc__ = make_executor.__doc__

    @veiled
    def __call__(self, spec: Any, **options: Any) -> Executor:
        return make_executor(spec, **options)

    @property
    def QiskitExecutor(self) -> type[QiskitExecutor]:
        """The class of executors for Qiskit, which is imported when it is asked for."""
        found: type[QiskitExecutor] = importlib.import_module(
            "pennylane_qexec.executors.runtime.covalent"
        ).QiskitExecutor
        return found

    @property
    def QCluster(self) -> type[Any]:
        """The class of clusters, which stands above executors and is looked up only when it is asked for."""
        return cluster_class()

    def __getattr__(self, name: str) -> Any:
        hint = _ELSEWHERE.get(name, "")
        raise AttributeError(f"'qexec.executor' has no attribute {name!r}.{hint}", name=name, obj=self)

    @even_incomplete
    def __repr__(self) -> str:
        return "qexec.executor"


def cluster_class() -> type[Any]:
    """The class of clusters, without importing upwards."""
    found: type[Any] = importlib.import_module("pennylane_qexec.cluster.cluster").QCluster
    return found


executor = ExecutorNames()
