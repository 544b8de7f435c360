"""Batches on their way to another process."""

from __future__ import annotations

import pickle
from dataclasses import replace

import cloudpickle
from pennylane.tape import QuantumScript

from pennylane_qexec.job import Work


def pickled(work: Work) -> bytes:
    """The work, to be loaded by :func:`pickle.loads` in another process.

    Raises:
        TypeError, pickle.PicklingError: it contains something that cannot be sent.
    """
    work = _plain(work)
    try:
        return pickle.dumps(work)
    except Exception:
        # Arithmetic of mid-circuit measurements is made of functions, which take longer.
        return cloudpickle.dumps(work)  # type: ignore[no-any-return]


def _plain(work: Work) -> Work:
    """The work with circuits of PennyLane's own class, which workers know."""
    circuits = tuple(
        circuit
        if type(circuit) is QuantumScript
        else QuantumScript(
            circuit.operations, circuit.measurements, shots=circuit.shots, trainable_params=circuit.trainable_params
        )
        for circuit in work.circuits
    )
    return replace(work, circuits=circuits)
