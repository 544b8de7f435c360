"""The providers that need no credentials: what they list, that it runs, and that seeds and options are kept to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pennylane as qml
import pytest
from fakes import programs
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec
from pennylane_qexec.providers import LOCAL, Backend, VirtualProvider

FAST = [
    *("local_pennylane/default.qubit", "local_pennylane/lightning.qubit", "local_pennylane/reference.qubit"),
    *("local_pennylane/default.mixed", "local_cirq/simulator", "local_cirq/density_matrix_simulator"),
]
NOISY = ["local_aer/aer_simulator", "local_aer/fake_manila"]

LISTING = """
import sys, threading
import pennylane
before = set(sys.modules)
from pennylane_qexec.providers import VirtualProvider
backends = VirtualProvider(providers=["local_aer", "local_pennylane", "local_cirq"]).get_backends()
qubits = backends["local_aer"]["fake_manila"].num_qubits
heavy = {"qiskit", "qiskit_aer", "qiskit_ibm_runtime", "pennylane_cirq", "pennylane_lightning", "qbraid", "keyring"}
print(qubits, sorted(heavy & (set(sys.modules) - before)))
"""


def _backend(name: str) -> Backend:
    return VirtualProvider(providers=list(LOCAL)).get_backend(*name.split("/"))


def _plain(results: Any) -> list[dict[str, int]]:
    return [{str(key): int(count) for key, count in counts.items()} for counts in results]


def _asymmetric(shots: int) -> QuantumScript:
    """The first wire is 1 in a fifth of the shots, the second as the first, the third always."""
    operations = [qml.RY(0.927295, "a"), qml.CNOT(["a", "b"]), qml.X("c")]
    return QuantumScript(operations, [qml.counts(wires=["a", "b", "c"])], shots=shots)


def _teleported(shots: int) -> QuantumScript:
    with qml.queuing.AnnotatedQueue() as queue:
        qml.X(0)
        first = qml.measure(0, reset=True)
        qml.cond(first, qml.X)(1)
        second, third = qml.measure(1), qml.measure(0)
        qml.counts([first, third, second])
    return QuantumScript.from_queue(queue, shots=shots)


@pytest.mark.slow
def test_listing_imports_no_simulator() -> None:
    done = programs.run(LISTING)
    assert done.stdout.strip() == "5 []"


@pytest.mark.slow
def test_local_aer_has_exactly_the_fake_backends_that_are_installed_with_their_qubits() -> None:
    from pennylane_qexec.circuits.qiskit.noise import fake_machines

    backends = VirtualProvider(providers=["local_aer"]).get_backends()["local_aer"]
    assert list(backends) == ["aer_simulator", *sorted(fake_machines())]
    qubits: Mapping[str, int] = {name: kind().num_qubits for name, kind in fake_machines().items()}
    assert {name: one.num_qubits for name, one in backends.items() if name != "aer_simulator"} == qubits


def test_local_backends_are_listed_in_the_same_order_with_their_kinds() -> None:
    listed = VirtualProvider(providers=list(LOCAL)).get_backends()
    again = VirtualProvider(providers=list(LOCAL)).get_backends()
    assert [[*some] for some in listed.values()] == [[*some] for some in again.values()]
    assert list(listed) == ["local_aer", "local_pennylane", "local_cirq"]
    assert len(listed["local_aer"]) >= 61
    kinds = {name: backend.kind for name, backend in listed["local_aer"].items()}
    assert kinds.pop("aer_simulator") == "simulator"
    assert set(kinds.values()) == {"noisy simulator"}
    assert list(listed["local_cirq"]) == ["simulator", "density_matrix_simulator"]


def test_local_pennylane_lists_what_counts_outcomes_of_qubits() -> None:
    names = list(VirtualProvider(providers=["local_pennylane"]).get_backends()["local_pennylane"])
    assert {"default.qubit", "default.mixed", "lightning.qubit"} <= set(names)
    others = ("cirq.", "qiskit.", "qexec.", "null.", "default.gaussian", "default.qutrit", "default.tensor")
    assert not [name for name in names if name.startswith(others)]


def test_all_that_is_online_can_be_used_and_all_that_is_not_says_why() -> None:
    virtual = VirtualProvider(providers=["local_pennylane", "local_cirq"])
    online = virtual.get_backends(online=True)
    for provider, backends in virtual.get_backends().items():
        for name, backend in backends.items():
            if name in online[provider]:
                assert backend.executor().name == f"{provider}/{name}"
            else:
                with pytest.raises(qexec.ConfigurationError, match=r"requires|No module"):
                    backend.executor()


@pytest.mark.parametrize("name", [*FAST, *NOISY])
def test_a_seed_repeats_the_counts_and_another_one_changes_them(name: str) -> None:
    circuits = [_asymmetric(500), _asymmetric(500)]
    first, again, other = [_plain(_backend(name).executor(seed=seed).run(circuits)) for seed in (11, 11, 12)]
    assert first == again
    assert first != other
    assert first[0] != first[1]


@pytest.mark.parametrize("name", FAST)
def test_counts_are_written_first_wire_first(name: str) -> None:
    """The first wire is 1 with probability 0.2: 5 sigma of 1000 shots are 63 counts."""
    (counts,) = _plain(_backend(name).executor(seed=5).run([_asymmetric(1000)]))
    assert set(counts) == {"001", "111"}
    assert abs(counts["111"] - 200) < 63


@pytest.mark.parametrize("name", FAST)
def test_measurements_in_the_middle_of_circuits_are_counted_in_their_order(name: str) -> None:
    assert _plain(_backend(name).executor(seed=5).run([_teleported(20)])) == [{"101": 20}]


@pytest.mark.parametrize("name", ["local_cirq/simulator", "local_pennylane/lightning.qubit", "local_aer/fake_manila"])
def test_a_wrong_option_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(
        qexec.ConfigurationError, match=rf"no option of backend '{name}' is called 'sed'\. .*Known: .*seed"
    ):
        _backend(name).executor(sed=1)


def test_a_seed_and_a_simulator_of_cirq_do_not_go_together() -> None:
    import cirq

    with pytest.raises(qexec.ConfigurationError, match="give the seed to the simulator"):
        _backend("local_cirq/simulator").executor(seed=1, simulator=cirq.Simulator())


@pytest.mark.slow
def test_every_backend_of_local_aer_runs_what_its_qubits_are_enough_for() -> None:
    failed = {}
    for name, backend in VirtualProvider(providers=["local_aer"]).get_backends()["local_aer"].items():
        wires = range(min(2, backend.num_qubits or 2))
        gates = [qml.RX(1.570796, 0), *[qml.CNOT([0, wire]) for wire in wires[1:]]]
        circuit = QuantumScript(gates, [qml.counts(wires=wires)], shots=400)
        try:
            (counts,) = _plain(backend.executor(seed=1).run([circuit]))
            if sum(counts.values()) != 400 or {len(key) for key in counts} != {len(wires)}:
                failed[name] = str(counts)
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
    assert failed == {}
