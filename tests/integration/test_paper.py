"""The programs in the paper of Quantum Executor run with another import.

They are kept as they are printed. What has to be changed to run them is written in ``CHANGES``: providers elsewhere
become local ones, and dots become circuits. ``examples/batch_benchmark.py`` runs on every machine; here are a few.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest
from qiskit import QuantumCircuit

import pennylane_qexec as qexec
from pennylane_qexec import total_variation_distance

CHANGES = {
    "from quantum_executor import QuantumExecutor": "from pennylane_qexec import QuantumExecutor",
    "circuits = [qc1, qc2, qc3, ...]": "circuits = [qc1, qc2, qc3]",
    """providers_info={
    "ionq": {"api_key": "<IONQ_API_KEY>"},
    "qbraid": {"api_key": "<QBRAID_API_KEY>"},
}""": "virtual_provider=virtual",
    """
    providers_info={...},
    providers=["local_aer", "ionq", "qbraid"]
""": "virtual_provider=virtual",
    '"ionq": ["qpu.forte-1"]': '"machines": ["fake_manila", "fake_yorktown"]',
    '"qbraid": ["ibm_toronto"]': '"local_cirq": ["simulator"]',
    "qc = ...": "qc = qc2",
}

BATCH = """
from quantum_executor import QuantumExecutor

circuits = [qc1, qc2, qc3, ...]
qe = QuantumExecutor(providers_info={
    "ionq": {"api_key": "<IONQ_API_KEY>"},
    "qbraid": {"api_key": "<QBRAID_API_KEY>"},
})
all_backends = qe.virtual_provider.get_backends(online=True)
collector = qe.run_experiment(
    circuits=circuits,
    shots=1024,
    backends={prov: list(backs.keys()) for prov, backs in all_backends.items()},
    split_policy="multiplier",
    multiprocess=True,
    wait=True
)

results = collector.get_results()
"""

COMPARISON = """
from quantum_executor import QuantumExecutor
# Merge policy: returns TVD of each QPU from simulator
def tvd_merge(results, _):
    sim = results["local_aer"]["aer_simulator"][0]
    tvd_dict = {}
    for prov, backs in results.items():
        for bname, runs in backs.items():
            if prov == "local_aer": continue
            tvd = total_variation_distance(runs[0], sim)
            tvd_dict[f"{prov}/{bname}"] = tvd
    return tvd_dict, {}
qc = ...
qe = QuantumExecutor(
    providers_info={...},
    providers=["local_aer", "ionq", "qbraid"]
)
qe.add_policy(name="tvd", merge_policy=tvd_merge)
backends = {
    "local_aer": ["aer_simulator"],
    "ionq": ["qpu.forte-1"],
    "qbraid": ["ibm_toronto"]
}
collector = qe.run_experiment(
    circuits=qc,
    shots=2048,
    backends=backends,
    split_policy="multiplier",
    merge_policy="tvd",
    multiprocess=True,
    wait=True
)
tvd_results = collector.get_merged_results()
"""

pytestmark = [pytest.mark.slow, pytest.mark.integration]


class Machines(qexec.Provider):
    """Stands for hardware: the noise of machines."""

    def __init__(self, *machines: str) -> None:
        self._machines = machines

    def backends(self) -> Mapping[str, qexec.Backend]:
        return {
            name: qexec.Backend("machines", name, partial(qexec.AerExecutor, name), kind="QPU")
            for name in self._machines
        }


def coin() -> QuantumCircuit:
    """A circuit that has a place on every machine: some have one qubit."""
    circuit = QuantumCircuit(1)
    circuit.h(0)
    return circuit


def ghz(qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits)
    circuit.h(0)
    circuit.cx(0, range(1, qubits))
    return circuit


def hidden_string() -> QuantumCircuit:
    """The algorithm of Bernstein and Vazirani; without noise, all shots give 101."""
    circuit = QuantumCircuit(4, 3)
    circuit.x(3)
    circuit.h(range(4))
    circuit.cx([0, 2], 3)
    circuit.h(range(3))
    circuit.measure(range(3), range(3))
    return circuit


def run(program: str, providers: list[str], *machines: str) -> dict[str, Any]:
    """What is defined after a program of the paper has run, with these providers and machines."""
    for printed, changed in CHANGES.items():
        program = program.replace(printed, changed)
    virtual = qexec.VirtualProvider(providers=providers)
    virtual.add_provider("machines", Machines(*machines))
    names = {"virtual": virtual, "qc1": coin(), "qc2": hidden_string(), "qc3": ghz(3)}
    names["total_variation_distance"] = total_variation_distance
    exec(compile(program, "paper", "exec"), names)
    return names


def test_the_batch_benchmark_runs_on_every_backend_that_is_online() -> None:
    with pytest.warns(qexec.PartialResultWarning, match="2 of .* circuits are missing, on machines/fake_armonk"):
        names = run(BATCH, ["local_pennylane", "local_cirq"], "fake_armonk", "fake_manila", "fake_torino")
    results, collector = names["results"], names["collector"]
    asked = {(provider, name) for provider, backends in names["all_backends"].items() for name in backends}
    ran = {(provider, name) for provider, backends in results.items() for name in backends}
    assert ran == asked
    assert len(ran) >= 8
    assert {provider: list(failed) for provider, failed in collector.errors.items()} == {"machines": ["fake_armonk"]}
    by_backend = {
        f"{provider}/{name}": runs for provider, backends in results.items() for name, runs in backends.items()
    }
    shots = {name: [counts and sum(counts.values()) for counts in runs] for name, runs in by_backend.items()}
    assert shots.pop("machines/fake_armonk") == [1024, None, None]
    assert set(map(tuple, shots.values())) == {(1024, 1024, 1024)}
    assert collector.merge("per_backend", partial=True) == by_backend
    assert results["local_pennylane"]["default.qubit"][1] == results["local_cirq"]["simulator"][1] == {"101": 1024}


def test_the_comparison_gives_the_distance_of_each_machine_from_the_simulator() -> None:
    """The outcome is certain without noise, so that the distance of a second simulator is 0, without any sigma.

    Each shot of the machines goes wrong with a probability of at least 5 %: of 2048, a hundred do, with a standard
    deviation of 10. The bound of 40 is six of them.
    """
    names = run(COMPARISON, ["local_aer", "local_cirq"], "fake_manila", "fake_yorktown")
    found, results = names["tvd_results"], names["collector"].get_results()
    assert sorted(found) == ["local_cirq/simulator", "machines/fake_manila", "machines/fake_yorktown"]
    assert found["local_cirq/simulator"] == 0
    assert all(found[f"machines/{name}"] > 40 / 2048 for name in results["machines"])
    assert results["local_aer"] == {"aer_simulator": [{"101": 2048}]}
    for name, (counts,) in results["machines"].items():
        assert sum(counts.values()) == 2048
        assert found[f"machines/{name}"] == pytest.approx(1 - counts["101"] / 2048)
