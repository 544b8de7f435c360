"""Parameters of jobs, checked before a job is accepted; and dry runs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime.utils import RuntimeDecoder, RuntimeEncoder

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.server.catalogue import Catalogue
from pennylane_qexec.server.limits import Limits
from pennylane_qexec.server.programs import Task, check_params, run
from pennylane_qexec.server.sources import sources_of


@pytest.mark.parametrize(
    ("program", "options", "text"),
    [
        ("sampler", {"twirling": {"enable_gates": True}}, "twirling.enable_gates"),
        ("sampler", {"dynamical_decoupling": {"enable": True}}, "dynamical_decoupling.enable"),
        ("sampler", {"execution": {"meas_type": "kerneled"}}, "execution.meas_type"),
        ("sampler", {"execution": {"init_qubits": False}}, "execution.init_qubits"),
        ("sampler", {"simulator": {"seed_simulator": -1}}, "simulator.seed_simulator"),
        ("sampler", {"simulator": {"seed_simulator": 2**63}}, "at most"),
        ("sampler", {"simulator": {"coupling_map": [[0, 1]]}}, "simulator.coupling_map"),
        ("sampler", {"default_shots": 0}, "default_shots"),
        ("sampler", {"experimental": {"fast": True}}, "experimental"),
        ("sampler", {"simulator": 7}, "simulator must be an object"),
        ("estimator", {"resilience": {"zne_mitigation": True, "zne": {"amplifier": "pea"}}}, "zne_mitigation"),
        ("estimator", {"default_precision": "high"}, "default_precision"),
    ],
)
def test_an_option_that_cannot_be_honoured_is_named(program: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        check_params(program, {"pubs": [[{}]], "options": options})


@pytest.mark.parametrize(
    ("program", "params", "text"),
    [
        ("noise-learner", {}, "noise-learner"),
        ("smapler", {}, "sampler"),
        ("sampler", {}, "'pubs'"),
        ("sampler", {"pubs": []}, "'pubs'"),
        ("sampler", {"pubs": "circuit"}, "'pubs'"),
        ("sampler", {"pubs": [{}]}, "PUB 0"),
        ("sampler", {"pubs": [[{}]], "version": 1}, "version"),
        ("sampler", {"pubs": [[{}]], "options": []}, "options"),
        ("estimator", {"pubs": [[{}]], "resilience_level": 2}, "resilience_level"),
        ("executor", {}, "quantum_program"),
        ("circuits", {"parts": [7]}, "'parts'"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(program: str, params: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        check_params(program, params)


def test_options_that_change_nothing_are_taken() -> None:
    options = {
        "twirling": {"enable_gates": False, "strategy": "all"},
        "dynamical_decoupling": {"enable": False, "sequence_type": "XX"},
        "execution": {"init_qubits": True, "rep_delay": 0.0002, "meas_type": "classified"},
        "simulator": {"seed_simulator": 0, "noise_model": None},
        "environment": {"log_level": "WARNING"},
    }
    check_params("estimator", {"pubs": [[{}]], "options": {**options, "resilience_level": 0}, "resilience_level": 0})


def test_a_dry_run_has_results_of_the_right_shape_for_any_size() -> None:
    circuit = QuantumCircuit(127, 9)
    circuit.measure(range(9), range(9))
    payload = json.dumps({"pubs": [(circuit, [], 12)]}, cls=RuntimeEncoder).encode()
    sources = sources_of("aer")
    catalogue = Catalogue(list(sources))
    backend = catalogue.find("mock_sherbrooke")
    assert backend is not None
    (answer,) = run(Task("sampler", backend, ("job",), (payload,)), catalogue, sources, Limits())
    (found,) = json.loads(str(answer.result), cls=RuntimeDecoder)
    assert found.data.c.get_counts() == {"0" * 9: 12}
