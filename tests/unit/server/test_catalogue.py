"""The backends that a server publishes: names, rows of lists, configurations and properties for IBM's client."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from qiskit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.utils.backend_converter import convert_to_target
from qiskit_ibm_runtime.utils.backend_decoder import configuration_from_server_data, properties_from_server_data

from pennylane_qexec.circuits.qiskit.noise import fake_machines
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.providers.fakes import fake_files
from pennylane_qexec.server.catalogue import DRY_RUN, IDEAL, Catalogue, PublishedBackend

OLD = (
    *("fake_almaden", "fake_boeblingen", "fake_burlington", "fake_cambridge", "fake_essex", "fake_johannesburg"),
    *("fake_london", "fake_poughkeepsie", "fake_rochester", "fake_singapore"),
)
"""Those whose gates an unmodified client leaves out."""

REQUIRED = (
    *("backend_version", "n_qubits", "basis_gates", "gates", "local", "simulator", "conditional", "open_pulse"),
    *("memory", "coupling_map", "online_date"),
)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue(["aer", "jax"])


def _configuration(catalogue: Catalogue, name: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(catalogue.configuration(name))
    return said


def _properties(catalogue: Catalogue, name: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(catalogue.properties(name))
    return said


def test_every_fake_backend_and_an_ideal_one_is_published_on_each_executor(catalogue: Catalogue) -> None:
    names = catalogue.names()
    assert len(names) == len(set(names)) == 3 * (len(fake_files()) + 1)
    assert {"fake_manila", "fake_manila@aer", "fake_manila@jax", IDEAL, "ideal@jax"} <= set(names)


def test_the_plain_name_is_of_the_first_executor(catalogue: Catalogue) -> None:
    assert catalogue.find("fake_manila") == PublishedBackend("fake_manila", "fake_manila", "aer")
    assert catalogue.find("fake_manila@jax") == PublishedBackend("fake_manila@jax", "fake_manila", "jax")
    assert catalogue.find("fake_manila@gpu") is None


@pytest.mark.parametrize("call", ["configuration", "properties", "backend", "metadata", "calibration_id"])
def test_an_unknown_name_is_refused_with_the_nearest_one(catalogue: Catalogue, call: str) -> None:
    with pytest.raises(ConfigurationError, match="Did you mean 'fake_manila'"):
        getattr(catalogue, call)("fake_manilla")


def test_a_server_needs_an_executor() -> None:
    with pytest.raises(ConfigurationError, match="at least one executor"):
        Catalogue([])


def test_rows_say_what_the_client_looks_for(catalogue: Catalogue) -> None:
    row = catalogue.device_entry("fake_manila@jax", 7)
    assert (row["name"], row["status"]["name"], row["queue_length"]) == ("fake_manila@jax", "online", 7)
    assert (row["qubits"], row["physical_qubits"], row["is_simulator"]) == (5, 5, False)
    assert "class" not in row
    assert catalogue.device_entry(IDEAL, 0)["is_simulator"]
    status = catalogue.status("fake_manila", 7)
    assert status == {**status, "state": True, "status": "active", "length_queue": 7, "backend_version": "1.2.6"}


def test_dry_runs_find_the_backend_that_the_client_makes_up_a_name_of(catalogue: Catalogue) -> None:
    found = catalogue.find("mock_manila@jax")
    assert found == PublishedBackend("mock_manila@jax", "fake_manila", DRY_RUN)
    assert catalogue.device_entry("mock_manila", 0)["class"] == "mock"
    assert _configuration(catalogue, "mock_manila")["backend_name"] == "mock_manila"
    assert {re.sub("^[^_]+", "mock", name) for name in catalogue.names()} == set(catalogue.mocks())
    assert not set(catalogue.mocks()) & set(catalogue.names())


@pytest.mark.parametrize("name", [*fake_files(), IDEAL])
def test_a_configuration_has_what_the_client_needs(catalogue: Catalogue, name: str) -> None:
    said = _configuration(catalogue, f"{name}@jax")
    assert said["backend_name"] == f"{name}@jax"
    assert not [field for field in REQUIRED if field not in said]
    assert {"measure", "delay"} <= set(said["supported_instructions"])
    datetime.fromisoformat(said["online_date"])


@pytest.mark.parametrize("name", list(fake_files()))
def test_properties_have_what_the_client_needs(catalogue: Catalogue, name: str) -> None:
    said = _properties(catalogue, name)
    assert said["backend_name"] == name
    assert {"backend_version", "last_update_date", "qubits", "gates", "general"} <= said.keys()
    assert len(said["qubits"]) == _configuration(catalogue, name)["n_qubits"]


@pytest.mark.parametrize("name", OLD)
def test_machines_of_2020_are_published_with_gates_of_today(catalogue: Catalogue, name: str) -> None:
    said = _configuration(catalogue, name)
    assert set(said["basis_gates"]) == {gate["name"] for gate in said["gates"]} == {"id", "rz", "sx", "x", "cx"}
    assert set(said["supported_instructions"]) == {*said["basis_gates"], "measure", "reset", "delay"}
    before = json.loads(fake_files()[name].properties.read_bytes())["gates"]
    taken = {"id": "id", "u1": "rz", "p": "rz", "u2": "sx", "u3": "x", "u": "x", "cx": "cx"}
    changed = [(taken[gate["gate"]], gate["qubits"], gate["parameters"]) for gate in before]
    now = [(gate["gate"], gate["qubits"], gate["parameters"]) for gate in _properties(catalogue, name)["gates"]]
    assert now == changed


def test_only_the_machines_of_2020_are_changed(catalogue: Catalogue) -> None:
    for name, files in fake_files().items():
        same = json.loads(files.configuration.read_bytes()) == {
            **_configuration(catalogue, name),
            "backend_name": json.loads(files.configuration.read_bytes())["backend_name"],
        }
        assert same == (name not in OLD)


def test_a_simulator_without_noise_has_no_properties(catalogue: Catalogue) -> None:
    said = _configuration(catalogue, IDEAL)
    assert (said["simulator"], said["coupling_map"]) == (True, None)
    assert catalogue.properties(IDEAL) == b"{}"
    assert catalogue.calibration_id(IDEAL) is None


def test_properties_can_be_asked_for_as_they_were(catalogue: Catalogue) -> None:
    updated = datetime.fromisoformat(_properties(catalogue, "fake_manila")["last_update_date"])
    assert catalogue.properties("fake_manila", updated + timedelta(seconds=1)) == catalogue.properties("fake_manila")
    assert catalogue.properties("fake_manila", updated.astimezone(UTC)) == b"{}"


def test_metadata_is_what_the_files_say(catalogue: Catalogue) -> None:
    metadata = catalogue.metadata("fake_manila")
    assert (metadata.name, metadata.num_qubits, metadata.simulator) == ("fake_manila", 5, False)
    assert metadata.configuration["backend_name"] == "fake_manila"
    assert metadata.properties is not None
    assert catalogue.metadata("fake_manila") is metadata
    ideal = catalogue.metadata(IDEAL)
    assert (ideal.simulator, ideal.properties) == (True, None)


LISTING = """
import sys
from pennylane_qexec.server.catalogue import Catalogue
from pennylane_qexec.server.sources import sources_of
catalogue = Catalogue(list(sources_of()))
sent = [catalogue.configuration(name) + catalogue.properties(name) for name in catalogue.names()]
print(len(sent) > 60, [name for name in ("pennylane", "qiskit", "numpy") if name in sys.modules])
"""


@pytest.mark.slow
def test_a_server_lists_its_backends_without_qiskit_and_pennylane() -> None:
    done = subprocess.run([sys.executable, "-c", LISTING], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "True []"


@pytest.mark.parametrize("name", [*OLD, "fake_manila", "fake_nighthawk"])
def test_an_unmodified_client_fits_circuits_to_backends_that_run_them(catalogue: Catalogue, name: str) -> None:
    configuration = configuration_from_server_data(_configuration(catalogue, name))
    target = convert_to_target(configuration, properties_from_server_data(_properties(catalogue, name)))
    circuit = QuantumCircuit(3)
    circuit.h(0)
    circuit.ccx(0, 1, 2)
    circuit.measure_all()
    fitted = generate_preset_pass_manager(1, target=target, seed_transpiler=3).run(circuit)
    backend = catalogue.backend(name)
    assert backend.name == name
    assert backend.target.operation_names == target.operation_names
    assert backend.run(fitted, shots=10).result().success


def test_gates_of_today_have_the_noise_of_those_of_2020(catalogue: Catalogue) -> None:
    old = fake_machines()["fake_essex"]()
    before, now = NoiseModel.from_backend(old), NoiseModel.from_backend(catalogue.backend("fake_essex"))
    assert now.basis_gates == ["cx", "delay", "id", "measure", "reset", "rz", "sx", "x"]
    for new, gate in {"sx": "u2", "x": "u3", "id": "id"}.items():
        assert now._local_quantum_errors[new] == before._local_quantum_errors[gate]
    assert "rz" not in now._local_quantum_errors


def test_noise_is_that_of_the_fake_backend(catalogue: Catalogue) -> None:
    theirs = NoiseModel.from_backend(fake_machines()["fake_manila"]())
    assert NoiseModel.from_backend(catalogue.backend("fake_manila")) == theirs


def test_the_ideal_backend_is_without_noise(catalogue: Catalogue) -> None:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    assert set(catalogue.backend(IDEAL).run(circuit, shots=100).result().get_counts()) == {"00", "11"}
