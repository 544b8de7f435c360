"""Jobs run in worker processes: on Aer as in the client's local testing mode, and never beyond the server's limits."""

from __future__ import annotations

import base64
import io
import json
import zlib
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit, transpile
from qiskit.circuit import Parameter
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer.noise import NoiseModel, depolarizing_error
from qiskit_ibm_runtime import EstimatorV2, SamplerV2
from qiskit_ibm_runtime.fake_provider import FakeProviderForBackendV2
from qiskit_ibm_runtime.utils import RuntimeDecoder, RuntimeEncoder

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.server.catalogue import Catalogue
from pennylane_qexec.server.limits import Limits
from pennylane_qexec.server.programs import Answer, Task, check_params, coalescing_key, run
from pennylane_qexec.server.sources import sources_of

SOURCES = sources_of("aer")
CATALOGUE = Catalogue(list(SOURCES))
LIMITS = Limits()

FEW = ("fake_manila", "fake_quito")
MORE = (  # one of 127 qubits among them, for which local testing mode takes 8 seconds
    *("fake_algiers", "fake_cairo", "fake_guadalupe", "fake_lagos", "fake_lima", "fake_nairobi", "fake_perth"),
    *("fake_sherbrooke",),
)
MACHINES = [*FEW, *(pytest.param(name, marks=pytest.mark.slow) for name in MORE)]


def payload(pubs: list[Any], **options: Any) -> bytes:
    return json.dumps({"pubs": pubs, "options": options, "version": 2}, cls=RuntimeEncoder).encode()


def answers(program: str, backend: str, *payloads: bytes, limits: Limits = LIMITS) -> list[Answer]:
    found = CATALOGUE.find(backend)
    assert found is not None
    ids = tuple(f"job{number}" for number in range(len(payloads)))
    return run(Task(program, found, ids, payloads), CATALOGUE, SOURCES, limits)


def result_of(program: str, backend: str, pubs: list[Any], **options: Any) -> Any:
    (answer,) = answers(program, backend, payload(pubs, **options))
    assert answer.result is not None, answer.reason
    return json.loads(answer.result, cls=RuntimeDecoder)


def reason(data: bytes, program: str = "sampler", backend: str = "ideal", limits: Limits = LIMITS) -> str:
    (answer,) = answers(program, backend, data, limits=limits)
    assert answer.result is None
    assert "Traceback" not in answer.reason
    return answer.reason


def ghz(qubits: int = 3) -> QuantumCircuit:
    circuit = QuantumCircuit(qubits)
    circuit.h(0)
    for qubit in range(1, qubits):
        circuit.cx(0, qubit)
    return circuit


# The numbers


@pytest.mark.parametrize("name", MACHINES)
def test_counts_and_values_are_those_of_local_testing_mode_at_a_seed(name: str) -> None:
    backend = FakeProviderForBackendV2().backend(name)
    options: Any = {"default_shots": 200, "simulator": {"seed_simulator": 7}}
    measured = ghz()
    measured.measure_all()
    circuit = transpile(measured, backend, optimization_level=1, seed_transpiler=3)
    pubs = [(circuit, [], 300), (circuit, [], None)]
    expected = SamplerV2(mode=backend, options=options).run(pubs).result()
    found = result_of("sampler", name, pubs, **options)
    assert [one.data.meas.get_counts() for one in found] == [one.data.meas.get_counts() for one in expected]
    bare = transpile(ghz(), backend, optimization_level=1, seed_transpiler=3)
    observable = SparsePauliOp(["ZZI", "XXX"], [1.0, 0.5]).apply_layout(bare.layout)
    seeded: Any = {"simulator": {"seed_simulator": 7}}
    value = EstimatorV2(mode=backend, options=seeded).run([(bare, observable, None, 0.05)]).result()[0]
    (own,) = result_of("estimator", name, [EstimatorPub.coerce((bare, observable, None, 0.05))], **seeded)
    assert (own.data.evs, own.data.stds) == (value.data.evs, value.data.stds)
    assert own.metadata["target_precision"] == 0.05


def test_a_seed_of_0_is_a_seed() -> None:
    circuit = ghz()
    circuit.measure_all()
    counts = [
        result_of("sampler", "ideal", [(circuit, [], 500)], simulator={"seed_simulator": 0})[0].data.meas.get_counts()
        for _ in range(2)
    ]
    assert counts[0] == counts[1]


def test_a_noise_model_of_the_user_goes_before_that_of_the_backend() -> None:
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(depolarizing_error(1.0, 1), ["x"])
    circuit = QuantumCircuit(1)
    circuit.x(0)
    (pub,) = [EstimatorPub.coerce((circuit, SparsePauliOp("Z"), None, 0.01))]
    (found,) = result_of("estimator", "ideal", [pub], simulator={"noise_model": noise, "seed_simulator": 3})
    assert abs(found.data.evs) < 0.06  # 6 sigma of 10,000 shots
    circuit.measure_all()
    (own,) = result_of("sampler", "ideal", [(circuit, [], 1000)], simulator={"noise_model": noise, "seed_simulator": 3})
    assert abs(own.data.meas.get_counts()["1"] - 500) < 100  # 6 sigma
    (ideal,) = result_of("sampler", "ideal", [(circuit, [], 1000)])
    assert ideal.data.meas.get_counts() == {"1": 1000}


def test_the_ideal_backend_takes_circuits_that_nobody_has_transpiled() -> None:
    circuit = QuantumCircuit(3)
    circuit.x([0, 1])
    circuit.ccx(0, 1, 2)
    circuit.measure_all()
    (found,) = result_of("sampler", "ideal", [(circuit, [], 10)])
    assert found.data.meas.get_counts() == {"111": 10}


def test_parameters_of_any_shape_give_results_of_that_shape() -> None:
    circuit = QuantumCircuit(1)
    circuit.ry(Parameter("a"), 0)
    circuit.measure_all()
    (found,) = result_of("sampler", "ideal", [(circuit, np.array([[[0.0]], [[np.pi]]]), 25)])
    assert found.data.meas.shape == (2, 1)
    assert [found.data.meas.get_counts((row, 0)) for row in range(2)] == [{"0": 25}, {"1": 25}]


def test_jobs_that_run_as_one_draw_independent_shots_and_fail_alone() -> None:
    circuit = ghz(1)
    circuit.measure_all()
    small = payload([(circuit, [], 4096)])
    bad = payload([(ghz(2), [[0.1]], 10)])
    first, wrong, second = answers("sampler", "ideal", small, bad, small)
    assert wrong.result is None
    found = [json.loads(str(one.result), cls=RuntimeDecoder)[0].data.meas.get_bitstrings() for one in (first, second)]
    assert found[0] != found[1]  # p < 1e-1000
    assert first.seconds > 0


def test_a_dry_run_has_results_of_the_right_shape_for_any_size() -> None:
    circuit = QuantumCircuit(127, 9)
    circuit.measure(range(9), range(9))
    (found,) = result_of("sampler", "mock_sherbrooke", [(circuit, [], 12)])
    assert found.data.c.get_counts() == {"0" * 9: 12}


# What is refused before a job is accepted


@pytest.mark.parametrize(
    ("program", "options", "text"),
    [
        ("sampler", {"twirling": {"enable_gates": True}}, "twirling.enable_gates"),
        ("sampler", {"dynamical_decoupling": {"enable": True}}, "dynamical_decoupling.enable"),
        ("sampler", {"execution": {"meas_type": "kerneled"}}, "execution.meas_type"),
        ("sampler", {"execution": {"init_qubits": False}}, "execution.init_qubits"),
        ("sampler", {"simulator": {"seed_simulator": -1}}, "simulator.seed_simulator"),
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


def test_only_small_jobs_without_a_seed_and_of_equal_options_run_as_one() -> None:
    ideal, manila = CATALOGUE.find("ideal"), CATALOGUE.find("fake_manila")
    assert ideal is not None
    assert manila is not None
    circuit = ghz()
    circuit.measure_all()
    params = json.loads(payload([(circuit, [], 10)], default_shots=5))
    key = coalescing_key("sampler", ideal, params)
    assert key is not None
    assert key == coalescing_key("sampler", ideal, json.loads(payload([(circuit, [], 99)], default_shots=5)))
    others = [
        coalescing_key("estimator", ideal, params),
        coalescing_key("sampler", manila, params),
        coalescing_key("sampler", ideal, json.loads(payload([(circuit, [], 10)], default_shots=6))),
    ]
    assert key not in others
    assert coalescing_key("sampler", ideal, json.loads(payload([(circuit,)], simulator={"seed_simulator": 0}))) is None
    assert coalescing_key("sampler", ideal, json.loads(payload([(circuit,)] * 50))) is None


# Payloads of anybody


def compressed(content: bytes) -> str:
    return base64.standard_b64encode(zlib.compress(content)).decode()


def of_circuit(value: str) -> bytes:
    return json.dumps({"pubs": [[{"__type__": "QuantumCircuit", "__value__": value}]]}).encode()


def test_a_zip_bomb_is_refused_before_it_is_decompressed() -> None:
    bomb = compressed(bytes(20_000_000))
    assert "more than 1,000,000 bytes" in reason(of_circuit(bomb), limits=Limits(decompressed=1_000_000))
    several = json.dumps({"pubs": [[{"__type__": "QuantumCircuit", "__value__": compressed(bytes(600_000))}]] * 2})
    assert "more than 1,000,000 bytes" in reason(several.encode(), limits=Limits(decompressed=1_000_000))


def test_an_array_that_says_it_is_huge_is_refused() -> None:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    circuit = json.loads(payload([(ghz(),)]))["pubs"][0][0]
    data = {"pubs": [[circuit, {"__type__": "ndarray", "__value__": compressed(stream.getvalue())}]]}
    assert "bytes once it is decompressed" in reason(json.dumps(data).encode())


def test_objects_in_arrays_are_refused() -> None:
    stream = io.BytesIO()
    np.save(stream, np.array([{}], dtype=object), allow_pickle=True)
    data = {"pubs": [[{"__type__": "ndarray", "__value__": compressed(stream.getvalue())}]]}
    assert "only numbers" in reason(json.dumps(data).encode())


@pytest.mark.parametrize("kind", ["settings", "_json", "spmatrix", "Instruction", "Result", "to_json"])
def test_what_the_decoder_would_import_by_name_is_refused(kind: str) -> None:
    value = {"__type__": kind, "__module__": "subprocess", "__class__": "Popen", "__value__": {"args": ["true"]}}
    assert f"{kind!r}" in reason(json.dumps({"pubs": [[value]]}).encode())


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"{", "cannot be read"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "JSON object"),
        (of_circuit("!"), "cannot be read"),
        (of_circuit(compressed(b"QISKIT")), "cannot be read"),
        (of_circuit("AAAA"), "damaged"),
        (b'{"pubs": [["OPENQASM 3;"]]}', "begin with a circuit"),
        (b'{"pubs": [[]]}', "begin with a circuit"),
    ],
)
def test_a_payload_that_cannot_be_read_says_so(data: bytes, text: str) -> None:
    assert text in reason(data)


def test_circuits_beyond_the_limits_are_refused() -> None:
    circuit = ghz(5)
    circuit.measure_all()
    assert "at most 4 are taken" in reason(payload([(circuit,)]), limits=Limits(qubits=4))
    assert "more than 10 operations" in reason(payload([(circuit,)] * 2), limits=Limits(operations=10))
    with circuit.while_loop((circuit.clbits[0], 0)):
        for _ in range(20):
            circuit.x(0)
    assert "more than 25 operations" in reason(payload([(circuit,)]), limits=Limits(operations=25))


def test_what_aer_cannot_run_is_a_reason_without_a_traceback() -> None:
    circuit = ghz(60)
    circuit.t(range(60))
    circuit.h(range(60))
    circuit.measure_all()
    said = reason(payload([(circuit, [], 1)], simulator={"seed_simulator": 1}))
    assert said
    assert ".py" not in said
