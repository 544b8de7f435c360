"""Executors by name, the bare devices that they are compared with, and clusters that many cases share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from differential.drawing import SPOILED, Case
from differential.programs import LABELS, SPARE


@dataclass(frozen=True)
class Kind:
    """A kind of executor.

    Attributes:
        bare: name of the PennyLane device that computes the same; ``None`` if there is none.
        accuracy: how near its analytic values are to the right ones.
        noisy: whether it is far from them on purpose: as far as this, for values between -1 and 1.
        tracked: whether the bare device counts what this executor counts.
    """

    bare: str | None
    accuracy: float = 1e-6
    noisy: float = 0.0


KINDS = {
    "default.qubit": Kind("default.qubit"),
    "lightning.qubit": Kind("lightning.qubit"),
    "default.mixed": Kind("default.mixed"),
    "reference.qubit": Kind("reference.qubit"),
    "cirq.simulator": Kind("cirq.simulator", 3e-5),
    "cirq.mixedsimulator": Kind("cirq.mixedsimulator", 3e-5),
    "qiskit.aer": Kind(None),  # without shots, the bare device takes some
    "aer": Kind(None),
    "aer:fake_manila": Kind(None, noisy=0.45),
    "jax": Kind(None),
    "hybrid": Kind("lightning.qubit"),
    "rehearsal": Kind("lightning.qubit"),
    "process": Kind("lightning.qubit"),
    "process:default.qubit": Kind("default.qubit"),
    **dict.fromkeys(SPOILED, Kind(None)),
}
STRICT = frozenset({"default.qubit", "lightning.qubit", "default.mixed", "reference.qubit"})
"""Kinds whose results have the very form of the bare device's."""
SEED = 7
LEGACY = frozenset({"cirq.simulator", "cirq.mixedsimulator", "qiskit.aer"})
"""Devices of PennyLane's older interface."""


class Spoiled(qexec.Executor):
    """An executor that returns what it must not.

    Args:
        how: ``"nan"``, ``"text"``, ``"counts"`` (in place of an expectation value), ``"few"`` samples, or a ``"two"``
            among them.
    """

    def __init__(self, how: str) -> None:
        super().__init__(f"custom-{how}")
        self._how = how

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Any]:
        """Something for every circuit."""
        return [self._result(circuit) for circuit in circuits]

    def _result(self, circuit: QuantumScript) -> Any:
        if self._how == "nan":
            return np.float64("nan")
        if self._how == "text":
            return "0.5"
        shots = circuit.shots.total_shots or 0
        if self._how == "counts":
            return {"0": shots}
        samples = np.zeros((5 if self._how == "few" else shots, len(circuit.measurements[0].wires)), dtype=int)
        if self._how == "two":
            samples[0, 0] = 2
        return samples


def spec(name: str, seed: int | None = None) -> Any:
    """What a user gives for an executor of a kind."""
    if name in SPOILED:
        return Spoiled(name.partition(":")[2])
    if seed is not None:
        return {"type": name, "seed": seed}
    if name == "hybrid":
        return qexec.Hybrid(["lightning.qubit", "default.qubit"], rule=_smallest)
    if name == "rehearsal":
        return qexec.Rehearsal("lightning.qubit")
    if name.startswith("process"):
        return {"type": name.partition(":")[2] or "lightning.qubit", "parallel": "process", "workers": 1}
    return name


def _smallest(circuit: Any, members: Any) -> Any:
    return members[0]


def wires_of(case: Case) -> list[Any] | None:
    """The wires of a case's device."""
    if case.wires == "none":
        return None
    names = list(case.program.names)
    return [*names, SPARE] if case.wires == "spare" else names


def for_device(wires: list[Any] | None) -> Any:
    """Wires as users write them."""
    return len(wires) if wires is not None and wires == list(range(len(wires))) else wires


def bare_device(name: str, wires: list[Any] | None, labels: int, samples: bool) -> Any:
    """The bare device of a kind, or one whose results have the same form: that of one that does not backpropagate."""
    bare = KINDS[name].bare or ("default.qubit" if samples else "lightning.qubit")
    if wires is None and name in LEGACY:
        wires = list(LABELS[labels])
    return qml.device(bare, wires=for_device(wires))


def opened(case: Case) -> qexec.QCluster:
    """A new cluster for a case."""
    options: dict[str, Any] = {"seed": SEED} if case.seeds == "cluster" else {}
    if SPOILED.keys() & set(case.executors):
        options["retry"] = {"attempts": 1}
    seed = SEED if case.seeds == "equal" else None
    made = [spec(name, seed) for name in case.executors]
    return qexec.QCluster(made, wires=for_device(wires_of(case)), **dict(case.policy), **options)


class Pool:
    """Clusters that are opened when first needed, and stay open for all cases that want the like."""

    def __init__(self) -> None:
        self._clusters: dict[Any, qexec.QCluster] = {}
        self._executor: qexec.QuantumExecutor | None = None

    def cluster(self, case: Case) -> qexec.QCluster:
        """The cluster of a case."""
        wires = wires_of(case)
        key = (case.executors, case.policy, case.seeds, wires and tuple(wires))
        if key not in self._clusters:
            self._clusters[key] = opened(case)
        return self._clusters[key]

    def forget(self, case: Case) -> None:
        """Close the cluster of a case: the next one gets another."""
        wires = wires_of(case)
        cluster = self._clusters.pop((case.executors, case.policy, case.seeds, wires and tuple(wires)), None)
        if cluster is not None:
            cluster.close()

    @property
    def experiments(self) -> qexec.QuantumExecutor:
        """What runs experiments."""
        if self._executor is None:
            self._executor = qexec.QuantumExecutor(providers=["local_aer", "local_pennylane", "local_cirq"])
        return self._executor

    def close(self) -> None:
        """Close everything."""
        for cluster in self._clusters.values():
            cluster.close()
        if self._executor is not None:
            self._executor.close()
