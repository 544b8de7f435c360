"""Why circuits cannot run somewhere, as the ends of sentences that begin with the executor's name."""

from __future__ import annotations

from pennylane.ops import Barrier
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.circuits.sampling import can_pool
from pennylane_qexec.circuits.structure import wires_in
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.shots import objection_to_shots


def lasting_objection(executor: Executor, circuit: QuantumScript) -> str | None:
    """Why an executor cannot take a circuit, whether it is up or not; ``None`` if it can."""
    return objection_to_shots(executor, circuit) or executor.rejects(executor.with_shots(circuit))


def present_objection(executor: Executor, circuit: QuantumScript) -> str | None:
    """The same, or that it is offline."""
    reason = lasting_objection(executor, circuit)
    return "is offline" if reason is None and not executor.status().online else reason


def objection_to_counting(executor: Executor, circuit: QuantumScript) -> str | None:
    """Why a circuit cannot run on a backend that only counts bits; ``None`` if it can, as far as that goes."""
    objection = objection_to_shots(executor, circuit)
    if objection is not None:
        return objection
    if executor.with_shots(circuit).shots.total_shots is None:
        return "needs a number of shots, and the circuit has none"
    if not circuit.wires:
        return "measures wires, and the circuit has none"
    if not can_pool(circuit):
        return f"counts bits: {circuit.measurements} is not accepted with finite shots"
    return None


def objection_to_wires(wires: Wires | None, circuit: QuantumScript) -> str | None:
    """Why a circuit has no place on some wires; ``None`` if it has, or if any wires will do."""
    if wires is None or wires_in(circuit) <= set(wires):
        return None
    # Barriers are not run, so that it does not matter where they are.
    acting = QuantumScript([one for one in circuit.operations if not isinstance(one, Barrier)], circuit.measurements)
    strange = [repr(wire) for wire in acting.wires if wire not in wires]
    return f"has {_wires(len(wires))}, and no wire {', '.join(strange)}" if strange else None


def _wires(number: int) -> str:
    return "1 wire" if number == 1 else f"{number} wires"
