"""Why circuits cannot run somewhere, as the ends of sentences, and how much memory they need."""

from __future__ import annotations

import re

from pennylane.ops import Barrier
from pennylane.tape import QuantumScript
from pennylane.wires import Wires

from pennylane_qexec.circuits.sampling import can_pool
from pennylane_qexec.circuits.structure import batch_size, wires_in
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.shots import objection_to_shots

_BYTES_PER_AMPLITUDE = 16
_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)


def state_bytes(executor: Executor, circuit: QuantumScript) -> float:
    """Bytes that the state of a circuit takes here: ``2**n`` numbers, or ``4**n`` if it is a density matrix.

    Args:
        executor: who would run the circuit; what runs elsewhere takes nothing here.
        circuit: the circuit. Broadcasted, it has a state for each row.
    """
    if not executor.local:
        return 0.0
    wires = len(wires_in(circuit) if executor.wires is None else executor.wires)
    exponent = 2 if executor.mixed else 1
    return _BYTES_PER_AMPLITUDE * 2.0 ** (exponent * wires) * batch_size(circuit)


def amount(value: int | float | str | None) -> float | None:
    """An amount of memory as users write it, in bytes: a number, or such as ``"8G"``, ``"512 MiB"`` (powers of 1024).

    Raises:
        ConfigurationError: it is none.
    """
    if value is None:
        return None
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return float(value)
    found = _AMOUNT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ConfigurationError(f"memory={value!r} is no amount of memory: give bytes, or text such as '8G'.")
    return float(found[1]) * 1024.0 ** _UNITS[found[2].upper()]


def in_words(number: float) -> str:
    """Bytes, as people read them."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if number < 1024:
            return f"{number:.3g} {unit}"
        number /= 1024
    return f"{number:.3g} PiB"


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
