"""What a backend looks like: the files of IBM's client, so that an unmodified client can use them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pennylane_qexec.providers.fakes import fake_files

IDEAL = "ideal"
"""The name of the simulator without noise."""

_IDEAL_QUBITS = 100  # far more than a state vector can have: Clifford circuits are simulated otherwise
_IDEAL_GATES = (
    *(
        "h",
        "id",
        "p",
        "r",
        "rx",
        "ry",
        "rz",
        "s",
        "sdg",
        "sx",
        "sxdg",
        "t",
        "tdg",
        "u",
        "u1",
        "u2",
        "u3",
        "x",
        "y",
        "z",
    ),
    *(
        "cp",
        "crx",
        "cry",
        "crz",
        "csx",
        "cu",
        "cu1",
        "cu3",
        "cx",
        "cy",
        "cz",
        "ecr",
        "rxx",
        "ryy",
        "rzx",
        "rzz",
        "swap",
    ),
    *("ccx", "ccz", "cswap"),
)
"""Those of Qiskit's standard gates that Aer takes."""

_NOT_GATES = ("measure", "reset", "delay")
_CONTROL_FLOW = ("if_else", "for_loop", "while_loop", "switch_case")

_PULSES = {"u1": "rz", "p": "rz", "u2": "sx", "u3": "x", "u": "x"}
"""The gates of machines of 2020, and the gate of today that takes as many pulses: none, one, two."""

_DEFINITIONS = {
    "rz": "gate rz(theta) q { U(0, 0, theta) q; }",
    "sx": "gate sx q { U(pi/2, 3*pi/2, pi/2) q; }",
    "x": "gate x q { U(pi, 0, pi) q; }",
}


@dataclass(frozen=True)
class BackendMetadata:
    """What a backend looks like, whatever executes it.

    Attributes:
        name: of the metadata, such as ``"fake_manila"``.
        configuration: as IBM's server sends it: qubits, gates, coupling.
        properties: the calibration, as IBM's server sends it; ``None`` for the simulator without noise.
    """

    name: str
    configuration: Mapping[str, Any]
    properties: Mapping[str, Any] | None

    @property
    def num_qubits(self) -> int:
        """How many qubits it has."""
        return int(self.configuration["n_qubits"])

    @property
    def simulator(self) -> bool:
        """Whether it takes any gates between any qubits."""
        return bool(self.configuration["simulator"])


def configuration_of(name: str) -> dict[str, Any]:
    """The configuration of a fake backend that is installed, or of the simulator without noise.

    The oldest machines have gates that today's clients leave out, ``u2`` and ``u3``, and do not say that they measure.
    They get ``rz``, ``sx`` and ``x`` in their place.
    """
    if name == IDEAL:
        return _ideal()
    old: dict[str, Any] = json.loads(fake_files()[name].configuration.read_bytes())
    if "u3" not in old["basis_gates"]:
        return old
    basis = [_PULSES.get(gate, gate) for gate in old["basis_gates"]]
    gates = [_today(gate) for gate in old["gates"]]
    return {**old, "basis_gates": basis, "gates": gates, "supported_instructions": [*basis, *_NOT_GATES]}


def properties_of(name: str) -> dict[str, Any] | None:
    """The calibration of a fake backend that is installed; ``None`` for the simulator without noise."""
    if name == IDEAL:
        return None
    properties: dict[str, Any] = json.loads(fake_files()[name].properties.read_bytes())
    return properties_of_today(properties)


def properties_of_today(old: Mapping[str, Any]) -> dict[str, Any]:
    """The properties, for the gates that a machine is published with.

    Those of 2020 get the errors and durations of the gates that took as many pulses.
    """
    gates = []
    for gate in old["gates"]:
        name = _PULSES.get(gate["gate"])
        gates.append(
            gate if name is None else {**gate, "gate": name, "name": name + "_".join(map(str, gate["qubits"]))}
        )
    return {**old, "gates": gates}


def _today(gate: Mapping[str, Any]) -> Mapping[str, Any]:
    name = _PULSES.get(gate["name"])
    if name is None:
        return gate
    parameters = ["theta"] if name == "rz" else []
    return {**gate, "name": name, "parameters": parameters, "qasm_def": _DEFINITIONS[name]}


def _ideal() -> dict[str, Any]:
    return {
        "backend_name": IDEAL,
        "backend_version": "1.0.0",
        "n_qubits": _IDEAL_QUBITS,
        "basis_gates": list(_IDEAL_GATES),
        # The client wants a list; Qiskit knows what the gates are by their names.
        "gates": [],
        "local": False,
        "simulator": True,
        "conditional": True,
        "open_pulse": False,
        "memory": True,
        "max_shots": 1_000_000,
        "coupling_map": None,
        "supported_instructions": [*_IDEAL_GATES, *_NOT_GATES, *_CONTROL_FLOW],
        "online_date": "2026-01-01T00:00:00+00:00",
        "description": "A simulator without noise",
    }
