"""A lab's own calibration is published and simulated as it stands in its file, and refused with where it is wrong."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from qiskit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime.utils.backend_converter import convert_to_target
from qiskit_ibm_runtime.utils.backend_decoder import configuration_from_server_data, properties_from_server_data

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.providers.fakes import fake_files
from pennylane_qexec.server.catalogue import Catalogue

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def manila() -> dict[str, Any]:
    said: dict[str, Any] = json.loads(Catalogue(["aer"]).properties("fake_manila"))
    return said


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "today.json"


def _entry(of: dict[str, Any], name: str, qubit: int = 0) -> dict[str, Any]:
    return next(entry for entry in of["qubits"][qubit] if entry["name"] == name)


def _gate(of: dict[str, Any], name: str, *qubits: int) -> dict[str, Any]:
    return next(gate for gate in of["gates"] if (gate["gate"], gate["qubits"]) == (name, list(qubits)))


def _ones(catalogue: Catalogue, metadata: str) -> int:
    """In how many of 1000 shots qubit 0 is read as 1 after an X."""
    circuit = QuantumCircuit(catalogue.metadata(metadata).num_qubits, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    counts = catalogue.backend(metadata).run(circuit, shots=1000, seed_simulator=5).result().get_counts()
    return int(counts.get("1", 0))


def test_it_replaces_that_of_a_fake_backend(manila: dict[str, Any], file: Path) -> None:
    _entry(manila, "T1")["value"] = 12.5
    file.write_text(json.dumps(manila))
    catalogue, before = Catalogue(["aer"], {"fake_manila": file}), Catalogue(["aer"])
    assert json.loads(catalogue.properties("fake_manila@aer")) == {**manila, "backend_name": "fake_manila@aer"}
    assert catalogue.names() == before.names()
    assert catalogue.calibration_id("fake_manila") != before.calibration_id("fake_manila")
    assert catalogue.calibration_id("fake_lima") == before.calibration_id("fake_lima")


def test_it_is_published_under_a_new_name_besides(manila: dict[str, Any], file: Path) -> None:
    _entry(manila, "T1")["value"] = 12.5
    file.write_text(json.dumps({**manila, "backend_name": "fake_manila@aer"}))
    catalogue = Catalogue(["aer"], {"fridge_2": file})
    assert json.loads(catalogue.configuration("fridge_2@aer"))["backend_name"] == "fridge_2@aer"
    assert _entry(json.loads(catalogue.properties("fridge_2")), "T1")["value"] == 12.5
    assert _entry(json.loads(catalogue.properties("fake_manila")), "T1")["value"] != 12.5
    assert catalogue.device_entry("fridge_2", 0)["qubits"] == 5
    assert catalogue.metadata("fridge_2").configuration["backend_name"] == "fridge_2"


def test_worker_processes_have_what_was_read_whatever_becomes_of_the_file(manila: dict[str, Any], file: Path) -> None:
    file.write_text(json.dumps(manila))
    catalogue = Catalogue(["aer", "jax"], {"fridge": file})
    file.unlink()
    copied = pickle.loads(pickle.dumps(catalogue))
    assert copied.names() == catalogue.names()
    assert copied.properties("fridge@jax") == catalogue.properties("fridge@jax")


def test_circuits_run_with_its_noise(manila: dict[str, Any], file: Path) -> None:
    _entry(manila, "prob_meas0_prep1")["value"] = 1.0  # a 1 is always read as a 0
    _entry(manila, "prob_meas1_prep0")["value"] = 0.0
    file.write_text(json.dumps({**manila, "backend_name": "fake_manila"}))
    catalogue = Catalogue(["aer"], {"fridge": file})
    assert _ones(catalogue, "fridge") <= 5
    assert _ones(catalogue, "fake_manila") > 900
    assert catalogue.backend("fridge").name == "fridge"


def test_the_client_leaves_out_what_is_out_of_order(manila: dict[str, Any], file: Path) -> None:
    broken = {"date": "2026-01-31T12:00:00Z", "name": "operational", "unit": "", "value": 0}
    manila["qubits"][2] = [broken]
    for gate in manila["gates"]:
        if 2 in gate["qubits"]:
            gate["parameters"] = [broken]
    file.write_text(json.dumps(manila))
    catalogue = Catalogue(["aer"], {"fake_manila": file})
    configuration = configuration_from_server_data(json.loads(catalogue.configuration("fake_manila")))
    assert configuration is not None
    properties = properties_from_server_data(json.loads(catalogue.properties("fake_manila")))
    target = convert_to_target(configuration, properties)
    assert (2,) not in target["measure"]
    bell = QuantumCircuit(2)
    bell.h(0)
    bell.cx(0, 1)
    bell.measure_all()
    fitted = generate_preset_pass_manager(1, target=target).run(bell)
    assert catalogue.backend("fake_manila").run(fitted, shots=10).result().success


def test_one_of_a_machine_of_2020_may_have_its_own_gates(file: Path) -> None:
    said = json.loads(fake_files()["fake_london"].properties.read_bytes())
    next(gate for gate in said["gates"] if gate["gate"] == "u2")["parameters"][0]["value"] = 0.25
    file.write_text(json.dumps(said))
    published = json.loads(Catalogue(["aer"], {"fake_london": file}).properties("fake_london"))
    assert _gate(published, "sx", 0)["parameters"][0]["value"] == 0.25


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda said: said.pop("general"), "'general' must be there"),
        (lambda said: said.update(last_update_date="yesterday"), "must be a date such as"),
        (lambda said: said["qubits"].pop(), "fake_manila has 5 qubits, and here are 4"),
        (lambda said: said["qubits"].append(said["qubits"][0]), "fake_manila has 5 qubits, and here are 6"),
        (lambda said: said["qubits"].__setitem__(1, {}), "qubit 1 must have a list of entries"),
        (lambda said: said["qubits"][3].pop(0), "qubit 3 has no T1; one out of order has"),
        (lambda said: _entry(said, "T1", 3).update(unit="μs"), "qubit 3: the unit of T1 must be one of"),
        (lambda said: _entry(said, "T2", 3).update(value=-1), "qubit 3: T2 must not be negative"),
        (lambda said: _entry(said, "T2", 3).update(value="1"), "qubit 3: T2 must be a number, and is '1'"),
        (lambda said: _entry(said, "T2", 3).update(value=float("nan")), "qubit 3: T2 must be a number, and is nan"),
        (lambda said: _entry(said, "T2", 3).pop("date"), "qubit 3: an entry has 'name', 'value', 'unit' and 'date'"),
        (lambda said: _entry(said, "readout_error").update(value=1.5), "readout_error must be between 0 and 1"),
        (lambda said: said["gates"].remove(_gate(said, "cx", 1, 2)), r"gate 'cx' on \[1, 2\] is missing"),
        (lambda said: said["gates"].append(_gate(said, "cx", 1, 2)), r"gate 'cx' on \[1, 2\] is there twice"),
        (lambda said: _gate(said, "cx", 1, 2).update(qubits=[0, 4]), r"gate 'cx' on \[1, 2\] is missing"),
        (lambda said: said["gates"].append({**_gate(said, "cx", 1, 2), "qubits": [0, 4]}), "has no gate 'cx' on"),
        (lambda said: _gate(said, "cx", 1, 2)["parameters"].pop(0), r"gate 'cx' on \[1, 2\] has no gate_error"),
        (lambda said: _gate(said, "sx", 1).pop("qubits"), "must have 'gate', 'qubits' and 'parameters'"),
        (lambda said: _gate(said, "sx", 1).pop("parameters"), r"gate 'sx' on \[1\] must have a list of entries"),
        (lambda said: _gate(said, "sx", 1)["parameters"][1].update(unit="x"), "the unit of gate_length must be one of"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(
    manila: dict[str, Any], file: Path, change: Change, why: str
) -> None:
    said = copy.deepcopy(manila)
    change(said)
    file.write_text(json.dumps(said))
    with pytest.raises(ConfigurationError, match=why) as refused:
        Catalogue(["aer"], {"fake_manila": file})
    assert str(file) in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "{", "null", "\xff"])
def test_what_is_no_json_of_properties_is_refused(file: Path, text: str) -> None:
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"calibration 'fake_manila': .*today\.json"):
        Catalogue(["aer"], {"fake_manila": file})


def test_a_file_that_is_not_there_is_refused(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"today\.json cannot be read: No such file"):
        Catalogue(["aer"], {"fake_manila": file})


def test_a_new_name_needs_a_machine(manila: dict[str, Any], file: Path) -> None:
    file.write_text(json.dumps({**manila, "backend_name": "ibmq_manila"}))
    with pytest.raises(ConfigurationError, match=r"is called 'ibmq_manila'.+Did you mean 'fake_manila'"):
        Catalogue(["aer"], {"fridge": file})


@pytest.mark.parametrize("name", ["ideal", "fake@manila", "", "a/b", "ünique"])
def test_a_name_that_no_backend_can_have_is_refused(manila: dict[str, Any], file: Path, name: str) -> None:
    file.write_text(json.dumps(manila))
    with pytest.raises(ConfigurationError, match="the name must be that of a fake backend, or a new one"):
        Catalogue(["aer"], {name: file})
