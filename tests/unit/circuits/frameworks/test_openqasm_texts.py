"""Programs of the kinds that are published in OpenQASM count as Qiskit's own simulator counts them, or are refused."""

from __future__ import annotations

from typing import Any

import pytest
from openqasm_texts import REFUSED, RUN
from qiskit import qasm2, qasm3, transpile
from qiskit_aer import AerSimulator

from pennylane_qexec.circuits import frameworks
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.aer import AerExecutor
from pennylane_qexec.experiment.tasks import plan_of

SHOTS = 2000

LOOSE = {
    "loops in 3": {"00": 0.25, "01": 0.25, "10": 0.25, "11": 0.25},  # Aer knows no number twice in a loop
}


def in_qiskit(text: str) -> Any:
    if "OPENQASM 3" in text:
        return qasm3.loads(text)
    return qasm2.loads(
        text, custom_instructions=qasm2.LEGACY_CUSTOM_INSTRUCTIONS, custom_classical=qasm2.LEGACY_CUSTOM_CLASSICAL
    )


def by_qiskit(name: str, simulator: AerSimulator) -> dict[str, float]:
    circuit = in_qiskit(RUN[name])
    if not circuit.num_clbits:
        circuit.measure_all()
    result = simulator.run(transpile(circuit, simulator, optimization_level=0), shots=SHOTS, memory=True).result()
    groups = [len(register) for register in circuit.cregs] if circuit.cregs else [circuit.num_clbits]
    found: dict[str, float] = {}
    for outcome, times in result.data(0)["counts"].items():
        bits = f"{int(outcome, 16):0{circuit.num_clbits}b}"
        parts, end = [], len(bits)
        for size in groups:
            parts.append(bits[end - size : end])
            end -= size
        found[" ".join(parts[::-1])] = times / SHOTS
    return found


@pytest.fixture(scope="module")
def simulator() -> AerSimulator:
    return AerSimulator(seed_simulator=1)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUN)
def test_a_published_kind_of_program_counts_as_in_qiskit(name: str, simulator: AerSimulator) -> None:
    """Each outcome within six sigma of the difference of two samples of 2000 shots, at least 8; both are seeded."""
    form = plan_of(frameworks.read(RUN[name]), SHOTS, "native")
    (circuit,) = form.circuits(SHOTS, 0)
    counts = form.joined([tuple(AerExecutor(seed=2).run([circuit]))])
    assert sum(counts.values()) == SHOTS
    expected = LOOSE.get(name) or by_qiskit(name, simulator)
    for key in {*expected, *counts}:
        wanted = SHOTS * expected.get(key, 0.0)
        assert abs(counts.get(key, 0) - wanted) <= max(6 * (2 * wanted) ** 0.5, 8), key


@pytest.mark.parametrize("name", REFUSED)
def test_what_qiskit_does_not_read_is_refused_by_name(name: str) -> None:
    text, message = REFUSED[name]
    with pytest.raises(ConfigurationError, match=message):
        frameworks.read(text)
