"""How executors that prepare circuits count what they run for one that they have not prepared yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.bases import SHADOWS, Runs
from pennylane_qexec.fusion import fuse
from pennylane_qexec.job import Call
from pennylane_qexec.kept import Kept
from pennylane_qexec.structure import BARE, CONTROLLED, is_broadcasted

_PLAIN = BARE | CONTROLLED
_KEPT = 512


class Prepared:
    """Counts what is run for circuits once an executor has prepared them, which is done once for each structure.

    Args:
        one_to_one: whether a circuit of plain gates stays one circuit, whatever observables it measures.
    """

    def __init__(self, one_to_one: bool) -> None:
        self._one_to_one = one_to_one
        self._kept: Kept[Sequence[Runs]] = Kept(_KEPT)

    def __call__(
        self, executor: Executor, circuit: QuantumScript, call: Call, count: Callable[[QuantumScript], Runs]
    ) -> Sequence[Runs]:
        """What is run for a circuit, for each of the circuits that the executor makes of it.

        Args:
            executor: who runs it.
            circuit: a circuit of the call.
            call: what is asked.
            count: what is run for a circuit that the executor has prepared.
        """
        if call.bound:
            return (count(circuit),)
        circuit = executor.with_shots(circuit)
        if self._one_to_one and _stays_one(circuit):
            return (count(circuit),)
        key = fuse([circuit])[0].template.key
        outcomes = call.config.mcm_config
        asked = None if key is None else (key, outcomes.mcm_method, outcomes.postselect_mode)
        return self._kept.get(asked, lambda: _of_parts(executor, circuit, call.config, count))

    def __reduce__(self) -> tuple[type[Prepared], tuple[bool]]:
        return Prepared, (self._one_to_one,)


def _of_parts(
    executor: Executor, circuit: QuantumScript, config: ExecutionConfig, count: Callable[[QuantumScript], Runs]
) -> Sequence[Runs]:
    try:
        parts = executor.binder(config, circuit)(circuit).circuits
    except Exception:  # whatever it is, it will be raised again where the circuit runs
        return (count(circuit),)
    return [count(part) for part in parts]


def _stays_one(circuit: QuantumScript) -> bool:
    """Whether preparing a circuit makes no more circuits of it, as far as its gates and shots decide on it."""
    return (
        _PLAIN.issuperset(map(type, circuit.operations))
        and not is_broadcasted(circuit)
        and not circuit.shots.has_partitioned_shots
        and not any(isinstance(measurement, SHADOWS) for measurement in circuit.measurements)
    )
