"""What is known of PennyLane devices by name, because they do not say it themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pennylane.devices import Device

_SIMULATORS = ("default.", "lightning.", "cirq.", "reference.", "null.", "qiskit.aer", "qiskit.basicsim")
_MIXED = ("default.mixed", "cirq.mixedsimulator")
_SEEDED_LATER = ("cirq.simulator", "cirq.mixedsimulator")
_NOT_EXACT = ("backend", "method", "noise_model")
_IDEAL = frozenset({"default.qubit", "default.mixed", "default.clifford", "reference.qubit"}) | frozenset(
    {"lightning.qubit", "lightning.gpu", "lightning.kokkos", "lightning.amdgpu"}
    | {"cirq.simulator", "cirq.mixedsimulator", "cirq.qsim", "qiskit.aer", "qiskit.basicsim"}
)
_WITHOUT_EFFECT = {"seed", "seed_simulator", "c_dtype", "batch_obs", "mpi", "max_workers", "qubits"}
"""Options that leave the distribution of results as it is."""


@dataclass(frozen=True)
class DeviceTraits:
    """What is known of a device by its name and options.

    Attributes:
        simulator: it computes in this process.
        mixed: its state has ``4**n`` numbers, not ``2**n``.
        no_shot_vectors: it runs a shot vector as one number of shots, so each number needs a circuit of its own.
        prepares_exactly_only: with shots it runs no state preparation, so that has to be decomposed first.
        needs_shots: given an analytic circuit, it would estimate from shots of its own choosing.
        needs_measured_wires: without wires of its own, it does not measure all wires of a circuit in their order.
        rotates_letters_only: it reads observables other than Paulis and Hadamards as if they were diagonal.
        takes_roots: its probabilities cannot be differentiated where they are zero.
        seeded_later: it takes no seed, and the simulator in it does.
        ideal: its results are those of theory, without noise and approximations.
        exact_options: options of a second device, for analytic circuits; ``None`` if one device does both.
    """

    simulator: bool = False
    mixed: bool = False
    no_shot_vectors: bool = False
    prepares_exactly_only: bool = False
    needs_shots: bool = False
    needs_measured_wires: bool = False
    rotates_letters_only: bool = False
    takes_roots: bool = False
    seeded_later: bool = False
    ideal: bool = False
    exact_options: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, name: str, options: Mapping[str, Any]) -> DeviceTraits:
        """What is known of the device with this name, built with these options."""
        qiskit = name.startswith("qiskit.")
        exact = name == "qiskit.aer" and not any(option in options for option in _NOT_EXACT)
        return cls(
            simulator=name.startswith(_SIMULATORS),
            mixed=name in _MIXED,
            no_shot_vectors=qiskit,
            prepares_exactly_only=name.startswith("cirq."),
            needs_shots=qiskit and not exact and "statevector" not in str(options.get("method", "")),
            needs_measured_wires=name == "reference.qubit",
            rotates_letters_only=name == "reference.qubit",
            takes_roots=name == "default.mixed",
            seeded_later=name in _SEEDED_LATER,
            ideal=name in _IDEAL and _WITHOUT_EFFECT.issuperset(options),
            exact_options={"method": "statevector"} if exact else None,
        )


def seen_options(device: Device) -> dict[str, Any]:
    """The options of a device built by somebody else, as far as its traits depend on them."""
    if device.name == "default.mixed" and getattr(device, "readout_err", None):
        return {"readout_prob": device.readout_err}
    if str(device.name).startswith("cirq.") or not type(device).__module__.startswith("pennylane"):
        return {"built by": "somebody else"}
    if device.name != "qiskit.aer":
        return {}
    backend = device.target_device.backend
    return {"method": f"{backend.name} {backend.options.get('method')}"}
