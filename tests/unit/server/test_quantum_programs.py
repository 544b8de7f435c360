"""Quantum programs of IBM's newer clients: the same numbers as a sampler's, in the layout that the client reads."""

from __future__ import annotations

import base64
import json
import math
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from fakes.newer_circuit import SAMPLE
from ibm_quantum_schemas.common import (
    CompressedQpyDataModel,
    CompressedTensorModel,
    F64CompressedTensorModel,
    OpenQasm3DataModel,
    PauliLindbladMapModel,
    SamplexModel,
)
from ibm_quantum_schemas.executor.version_2_0 import CircuitItemModel, QuantumProgramResultModel, SamplexItemModel
from numpy.typing import NDArray
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, transpile
from qiskit.circuit import Parameter
from qiskit.primitives import BitArray
from qiskit.qpy import formats
from qiskit.quantum_info import PauliLindbladMap, Statevector
from qiskit_ibm_runtime.utils import RuntimeDecoder, RuntimeEncoder
from samplomatic import InjectNoise, Twirl, build

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.server.catalogue import Catalogue
from pennylane_qexec.server.limits import Limits
from pennylane_qexec.server.programs import Answer, Task, check_params, quantum_programs, run
from pennylane_qexec.server.sources import sources_of

pytestmark = pytest.mark.slow  # importing what it needs takes most of its time

SOURCES = sources_of(["aer", "lightning.qubit"])
CATALOGUE = Catalogue(list(SOURCES))
LIMITS = Limits()

Bits = NDArray[np.bool_]


def asked(*items: tuple[QuantumCircuit, Any], shots: int = 20, passthrough: Any = None, **options: Any) -> Any:
    """The parameters of a job, as the client has them."""
    return {
        "schema_version": "v2.0",
        "quantum_program": {
            "shots": shots,
            "circuits": CompressedQpyDataModel.from_python([circuit for circuit, _ in items]).model_dump(mode="json"),
            "items": [model.model_dump(mode="json") for _, model in items],
            "semantic_role": "sampler_v2",
            "meas_level": "classified",
            "passthrough_data": passthrough,
        },
        "options": {"init_qubits": True, "rep_delay": None, "experimental": options},
    }


def table(circuit: QuantumCircuit, values: Any = (), shape: tuple[int, ...] = ()) -> tuple[QuantumCircuit, Any]:
    tensor = F64CompressedTensorModel.from_numpy(np.array(values, float))
    return circuit, CircuitItemModel(circuit_arguments=tensor, shape=list(shape))


def twirled(circuit: QuantumCircuit, shape: tuple[int, ...], values: Any = None) -> tuple[QuantumCircuit, Any]:
    template, samplex = build(circuit)
    given = {} if values is None else {"parameter_values": CompressedTensorModel.from_numpy(np.array(values, float))}
    return template, SamplexItemModel(
        samplex=SamplexModel.from_samplex(samplex), samplex_arguments=given, shape=list(shape)
    )


def answer(params: Any, backend: str = "ideal", limits: Limits = LIMITS, job: str = "job") -> Answer:
    found = CATALOGUE.find(backend)
    assert found is not None
    (one,) = run(Task("executor", found, (job,), (json.dumps(params).encode(),)), CATALOGUE, SOURCES, limits)
    return one


def result(params: Any, backend: str = "ideal", job: str = "job") -> QuantumProgramResultModel:
    one = answer(params, backend, job=job)
    assert one.result is not None, one.reason
    return QuantumProgramResultModel.model_validate_json(one.result)


def arrays(params: Any, backend: str = "ideal", job: str = "job") -> list[dict[str, NDArray[Any]]]:
    found = result(params, backend, job)
    return [{name: one.to_numpy() for name, one in item.results.items()} for item in found.data]


def reason(params: Any, backend: str = "ideal", limits: Limits = LIMITS) -> str:
    one = answer(params, backend, limits)
    assert one.result is None
    assert "Traceback" not in one.reason
    return one.reason


def counts(bits: Bits) -> dict[str, int]:
    return BitArray.from_bool_array(bits, order="little").get_counts()


def turned(qubits: int = 1) -> QuantumCircuit:
    """A circuit with an angle for each qubit: at 0 it measures 0, at pi 1."""
    circuit = QuantumCircuit(qubits)
    for qubit in range(qubits):
        circuit.ry(Parameter(f"angle{qubit}"), qubit)
    circuit.measure_all()
    return circuit


def boxed(qubits: int = 2) -> QuantumCircuit:
    """The same, with twirled gates that change nothing, and twirled measurements."""
    circuit = QuantumCircuit(qubits, qubits)
    with circuit.box([Twirl()]):
        for qubit in range(qubits):
            circuit.rx(Parameter(f"angle{qubit}"), qubit)
        circuit.cz(0, 1)
    with circuit.box([Twirl()]):
        circuit.measure(range(qubits), range(qubits))
    return circuit


def plain(*angles: float) -> QuantumCircuit:
    """The same without boxes and measurements, with angles."""
    circuit = QuantumCircuit(len(angles))
    for qubit, angle in enumerate(angles):
        circuit.rx(angle, qubit)
    circuit.cz(0, 1)
    return circuit


def bell(backend: str) -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    published = CATALOGUE.find(backend)
    assert published is not None
    return transpile(circuit, CATALOGUE.backend(published.metadata), optimization_level=1, seed_transpiler=3)


# The numbers


def test_counts_are_those_of_a_sampler_at_the_same_seed() -> None:
    circuit = bell("fake_manila")
    (found,) = arrays(asked(table(circuit), shots=300, seed_simulator=7), "fake_manila")
    pubs = {"pubs": [(circuit, None, 300)], "options": {"simulator": {"seed_simulator": 7}}, "version": 2}
    backend = CATALOGUE.find("fake_manila")
    assert backend is not None
    task = Task("sampler", backend, ("job",), (json.dumps(pubs, cls=RuntimeEncoder).encode(),))
    (expected,) = run(task, CATALOGUE, SOURCES, LIMITS)
    (sampled,) = json.loads(expected.result or "", cls=RuntimeDecoder)
    assert found["meas"].shape == (300, 2)
    assert counts(found["meas"]) == sampled.data.meas.get_counts()
    assert len(counts(found["meas"])) > 2  # there is noise


def test_twirling_leaves_the_distribution_of_a_noisy_backend_nearly_as_it_is() -> None:
    circuit = bell("fake_manila")
    boxes = QuantumCircuit(*circuit.qregs, *circuit.cregs)
    for item in circuit.data:
        if item.name in ("cx", "measure"):
            with boxes.box([Twirl()]):
                boxes.append(item)
        else:
            boxes.append(item)
    (plain,) = arrays(asked(table(circuit), shots=20_000, seed_simulator=3), "fake_manila")
    (found,) = arrays(asked(twirled(boxes, (100,)), shots=200, seed_simulator=4), "fake_manila")
    undone = found["meas"] ^ found["measurement_flips.meas"]
    correlated = [np.mean(one[..., 0] == one[..., 1]) for one in (plain["meas"], undone)]
    assert correlated[0] == pytest.approx(correlated[1], abs=0.02)  # a standard error is 0.0024; twirling adds gates
    assert 0.9 < correlated[1] < 0.97


def test_rows_are_in_their_places_and_bits_in_theirs() -> None:
    qubits, low, high = QuantumRegister(5), ClassicalRegister(2, "low"), ClassicalRegister(3, "high")
    circuit = QuantumCircuit(qubits, low, high)
    for number, qubit in enumerate(qubits):
        circuit.rx(Parameter(f"angle{number}"), qubit)
    circuit.measure(qubits, [*low, *high])
    wanted = np.random.default_rng(1).integers(0, 2, (2, 1, 3, 5)).astype(bool)
    (found,) = arrays(asked(table(circuit, wanted * np.pi), shots=4))
    assert found["low"].shape == (2, 1, 3, 4, 2)
    assert found["high"].shape == (2, 1, 3, 4, 3)
    assert all((found["low"][..., shot, :] == wanted[..., :2]).all() for shot in range(4))
    assert all((found["high"][..., shot, :] == wanted[..., 2:]).all() for shot in range(4))


def test_a_shape_repeats_rows_with_shots_of_their_own() -> None:
    (found,) = arrays(asked(table(turned(), [[[0.0], [np.pi / 2], [np.pi]]], (4, 3)), shots=50, seed_simulator=5))
    assert found["meas"].shape == (4, 3, 50, 1)
    assert not found["meas"][:, 0].any()
    assert found["meas"][:, 2].all()
    assert len({one.tobytes() for one in found["meas"][:, 1]}) == 4


def test_circuits_without_parameters_run_once_or_in_any_shape() -> None:
    circuit = QuantumCircuit(1)
    circuit.x(0)
    circuit.measure_all()
    once, thrice = arrays(asked(table(circuit), table(circuit, (), (3, 1))))
    assert once["meas"].shape == (20, 1)
    assert thrice["meas"].shape == (3, 1, 20, 1)
    assert thrice["meas"].all()


@pytest.mark.parametrize(
    ("shape", "given"), [((7, 3), (3,)), ((3, 7), (3, 1)), ((2, 5, 3), (2, 1, 3)), ((6,), ()), ((2, 3), (2, 3))]
)
def test_what_twirling_flips_can_be_undone(shape: tuple[int, ...], given: tuple[int, ...]) -> None:
    wanted = np.random.default_rng(2).integers(0, 2, (*given, 2)).astype(bool)
    (found,) = arrays(asked(twirled(boxed(), shape, wanted * np.pi), shots=6, seed_simulator=1))
    flips = found["measurement_flips.c"]
    assert flips.shape == (*shape, 1, 2)
    undone = found["c"] ^ flips
    assert (undone == np.broadcast_to(wanted, (*shape, 2))[..., None, :]).all()
    assert flips.any()
    assert not flips.all()
    assert set(found) == {"c", "measurement_flips.c"}


def test_twirled_circuits_have_the_probabilities_of_plain_ones() -> None:
    angles = np.random.default_rng(4).uniform(0, np.pi, (3, 2))
    (found,) = arrays(asked(twirled(boxed(), (40, 3), angles), shots=100, seed_simulator=2))
    undone = found["c"] ^ found["measurement_flips.c"]
    squares = 0.0
    for row, (first, second) in enumerate(angles):
        measured = counts(undone[:, row].reshape(-1, 2))
        for key, probability in Statevector(plain(first, second)).probabilities_dict().items():
            squares += (measured.get(key, 0) - 4000 * probability) ** 2 / (4000 * probability)
    assert abs(squares - 9) < 6 * math.sqrt(2 * 9)  # chi-square of 9 degrees of freedom: six standard deviations


@pytest.mark.slow
def test_noise_that_a_samplex_injects_is_drawn_with_its_rates() -> None:
    circuit = QuantumCircuit(2, 2)
    with circuit.box([Twirl(), InjectNoise("noise")]):
        circuit.cz(0, 1)
    with circuit.box([Twirl()]):
        circuit.measure([0, 1], [0, 1])
    template, item = twirled(circuit, (4000,))
    rates = PauliLindbladMap.from_list([("IX", 0.2), ("XI", 0.05), ("ZZ", 1.0)])
    noise = PauliLindbladMapModel.from_pauli_lindblad_map(rates)
    item.samplex_arguments = {"pauli_lindblad_maps.noise": noise}
    (found,) = arrays(asked((template, item), shots=1, seed_simulator=6))
    wrong = (found["c"] ^ found["measurement_flips.c"]).mean(axis=(0, 1))
    assert wrong == pytest.approx((1 - np.exp([-0.4, -0.1])) / 2, abs=0.035)  # six standard errors
    assert found["pauli_signs"].shape == (4000, 1)
    assert not found["pauli_signs"].any()  # of rates above 0


def test_jobs_draw_by_their_seeds_or_their_ids_so_that_one_that_is_run_again_asks_for_the_same() -> None:
    def flips(job: str, **options: Any) -> bytes:
        (found,) = arrays(asked(twirled(boxed(), (40,), [0.0, 0.0]), shots=1, **options), job=job)
        return found["measurement_flips.c"].tobytes()

    assert flips("a") != flips("b")
    assert flips("a") == flips("a")
    assert flips("a", seed_simulator=0) == flips("b", seed_simulator=0) != flips("a")


def test_executors_of_ours_run_quantum_programs() -> None:
    wanted = np.array([[True, False], [True, True]])
    params = asked(table(turned(2), wanted * np.pi), twirled(boxed(), (3, 2), wanted * np.pi), shots=5)
    plain, drawn = arrays(params, "ideal@lightning.qubit")
    assert (plain["meas"] == wanted[:, None, :]).all()
    assert (drawn["c"] ^ drawn["measurement_flips.c"] == wanted[:, None, :]).all()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_circuits_of_a_newer_qiskit_are_run() -> None:
    circuit = QuantumCircuit(1, 1)
    params = asked((circuit, table(turned(), [[0.0], [np.pi]])[1]), shots=400, seed_simulator=1)
    data = base64.b64encode(zlib.compress(SAMPLE)).decode()
    params["quantum_program"]["circuits"] = {"b64_data": data, "qpy_version": 18, "num_programs": 1}
    (found,) = arrays(params)
    assert found["c"].shape == (2, 400, 1)
    assert found["c"].mean() == pytest.approx(np.sin(0.25) ** 2, abs=0.05)  # six standard errors


# What comes back besides


def test_what_is_passed_through_comes_back_as_it_was() -> None:
    tensor = CompressedTensorModel.from_numpy(np.array([1.0, np.nan])).model_dump(mode="json")
    passed = {"post_processor": {"version": "v0.1", "shots": 20}, "more": [None, True, 1.5, math.inf, tensor]}
    one = answer(asked(table(turned(), [0.0]), passthrough=passed))
    said = json.loads(one.result or "")
    assert said["passthrough_data"] == passed
    assert said["semantic_role"] == "sampler_v2"


def test_the_times_of_chunks_are_of_the_whole_program() -> None:
    metadata = result(asked(table(turned(), np.zeros((2, 3, 1))), table(turned(), [0.0]))).metadata
    (span,) = metadata.chunk_timing
    assert span.start <= span.stop
    assert [(part.idx_item, part.size, part.permutation) for part in span.parts] == [(0, 6, [0, 1]), (1, 1, [])]


def test_bits_are_packed_in_parts_as_they_are_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    bits = BitArray(np.random.default_rng(3).integers(0, [2, 256], (3, 13, 2), np.uint8), 9)
    monkeypatch.setattr(quantum_programs, "_SHOTS_AT_A_TIME", 8)
    expected = bits.to_bool_array(order="little")
    assert (quantum_programs._tensor(bits).to_numpy() == expected).all()


def test_a_dry_run_has_the_right_shape_and_zeros() -> None:
    items = (table(turned(2), np.ones((2, 3, 2))), twirled(boxed(), (4,), [np.pi, 0.0]))
    plain, drawn = arrays(asked(*items), "mock_manila")
    assert plain["meas"].shape == (2, 3, 20, 2)
    assert drawn["c"].shape == (4, 20, 2)
    assert drawn["measurement_flips.c"].shape == (4, 1, 2)
    assert not any(array.any() for one in (plain, drawn) for array in one.values())


# What is refused


@pytest.mark.parametrize(
    ("place", "value", "why"),
    [
        (("schema_version",), "v1.1", "'v2.0'"),
        (("quantum_program",), None, "quantum_program"),
        (("quantum_program", "meas_level"), "kerneled", "meas_level='kerneled'"),
        (("quantum_program", "shots"), 0, "shots=0"),
        (("quantum_program", "shots"), True, "shots=True"),
        (("quantum_program", "items"), [], "no 'items'"),
        (("quantum_program", "items"), [{"item_type": "other"}], "item 0"),
        (("quantum_program", "circuits"), OpenQasm3DataModel(data=["qubit[1] q;"]).model_dump(), "QPY"),
        (("options", "init_qubits"), False, "init_qubits=False"),
        (("options", "scheduler_timing"), True, "scheduler_timing=True"),
        (("options", "stretch_values"), True, "stretch_values=True"),
        (("options", "experimental"), {"execution": {"fast": True}}, "experimental.execution"),
        (("options", "experimental"), {"seed_simulator": -1}, "seed_simulator=-1"),
        (("options",), 3, "options"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(place: tuple[str, ...], value: Any, why: str) -> None:
    params = asked(table(turned(), [0.0]))
    inner = params
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    with pytest.raises(ConfigurationError, match=why.replace("[", r"\[")):
        check_params("executor", params)
    assert why in reason(params)


def _samplex(change: Any) -> Any:
    circuit, item = twirled(boxed(), (2,), [0.0, 0.0])
    params = asked((circuit, item))
    model = params["quantum_program"]["items"][0]["samplex"]
    said = json.loads(model["samplex_json"])
    change(said)
    model["samplex_json"] = json.dumps(said)
    return params


def _with_node(said: Any) -> None:
    said["nodes"][-1]["id"] = 10**9


def _with_large_expressions(said: Any) -> None:
    content = bytearray(base64.b64decode(json.loads(said["attrs"]["param_table"])["circuit_base64"]))
    header = formats.FILE_HEADER_V10_SIZE + formats.TYPE_KEY_SIZE
    struct.pack_into("!I", content, header + 5, 10**9)  # qubits
    text = base64.b64encode(content).decode()
    said["attrs"]["param_table"] = json.dumps({"id": "P", "ssv": "1", "qpy": "15", "circuit_base64": text})


def _without_nodes(said: Any) -> None:
    said["nodes"] = []


def _with_large_registers(said: Any) -> None:
    for node in said["nodes"]:
        data = node["data"]
        if "distribution" in data:
            data["distribution"] = json.dumps({**json.loads(data["distribution"]), "num_subsystems": 10**13})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_with_node, "node number 1,000,000,000"),
        (_with_large_expressions, "1,000,000,000 qubits"),
        (_without_nodes, "cannot be read"),
        (_with_large_registers, "item 0"),
        (lambda said: said.pop("attrs"), "attrs"),
    ],
)
def test_a_samplex_that_is_none_or_too_large_is_refused(change: Any, why: str) -> None:
    assert why in reason(_samplex(change))


def test_a_program_that_is_too_large_is_refused_before_it_is_decompressed_or_drawn() -> None:
    rows = asked(twirled(boxed(), (10**9,), [0.0, 0.0]))
    assert "100,000 circuits" in reason(rows)
    assert "10,000,000 shots" in reason(asked(table(turned(), [[0.0], [0.0]]), shots=6_000_000))
    few = Limits(decompressed=10_000)
    assert "10,000 bytes" in reason(asked(table(turned(), np.zeros((2000, 1)))), limits=few)
    bomb = asked(table(turned(), [0.0]))
    bomb["quantum_program"]["circuits"]["b64_data"] = base64.b64encode(zlib.compress(bytes(10**6))).decode()
    assert "10,000 bytes" in reason(bomb, limits=few)
    assert "qubits" in reason(asked(table(turned(3), [0.0] * 3)), limits=Limits(qubits=2))


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (lambda: table(turned(2), [0.0]), "2 parameters"),
        (lambda: table(turned(), [np.nan]), "not finite"),
        (lambda: table(turned(), [[0.0], [0.0]], (3,)), "item 0 is not valid"),
        (lambda: table(turned(), [0.0], (0,)), "asks for nothing"),
        (lambda: table(turned(), [0.0], (-1,)), "item 0"),
        (lambda: table(QuantumCircuit(1)), "no classical register"),
        (lambda: twirled(boxed(), (2,)), "missing"),
        (lambda: twirled(boxed(), (2,), [0.0]), "item 0 is not valid"),
        (lambda: (turned(), twirled(boxed(), (2,), [0.0, 0.0])[1]), "Build circuit and samplex together"),
    ],
)
def test_an_item_that_is_not_valid_is_refused(item: Any, why: str) -> None:
    assert why in reason(asked(item()))


def test_circuits_must_be_those_of_a_noisy_backend() -> None:
    assert "Transpile the circuit for 'fake_manila'" in reason(asked(table(turned(), [0.0])), "fake_manila")
