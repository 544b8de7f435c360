"""Payloads that may come from anybody: what is wrong with one is said in a sentence, and nothing in it is executed."""

import base64
import io
import json
import struct
import sys
import threading
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import Gate, Parameter
from qiskit.qpy import formats
from qiskit.qpy.binary_io import circuits as qpy_circuits
from qiskit_ibm_runtime.utils import RuntimeEncoder

from pennylane_qexec.server.catalogue import Catalogue
from pennylane_qexec.server.limits import Limits
from pennylane_qexec.server.programs import Task, run
from pennylane_qexec.server.sources import sources_of

SOURCES = sources_of("aer")
CATALOGUE = Catalogue(list(SOURCES))


def answers(*payloads, program="sampler", backend="ideal", limits=None):
    """What becomes of jobs with these parameters, or this JSON."""
    texts = [one if isinstance(one, bytes) else json.dumps(one, cls=RuntimeEncoder).encode() for one in payloads]
    ids = tuple(f"job {number}" for number in range(len(texts)))
    return run(Task(program, CATALOGUE.find(backend), ids, tuple(texts)), CATALOGUE, SOURCES, limits or Limits())


def reason(payload, **options):
    """Why a job fails: one line, without a traceback or a file of ours."""
    (answer,) = answers(payload, **options)
    assert answer.result is None
    assert "Traceback" not in answer.reason
    assert ".py" not in answer.reason
    assert "\n" not in answer.reason
    assert 10 < len(answer.reason) < 2100
    assert answer.code in (1517, 1603)
    return answer.reason


def bell(qubits=2):
    circuit = QuantumCircuit(qubits)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


def typed(kind, content):
    """Something compressed, as a client would send it."""
    return {"__type__": kind, "__value__": base64.b64encode(zlib.compress(content)).decode()}


def npy(array, **change):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=change.pop("allow_pickle", False))
    return stream.getvalue()


def job(circuit, *rest, **options):
    return {"pubs": [[circuit, *rest]], "options": options}


class TestJson:
    @pytest.mark.parametrize(
        "payload",
        [b"", b"{", b"[]", b"3", b"null", b'"x"', b"\xff\xfe", b"[" * 100_000, b'{"pubs":' * 50_000, b"NaN"],
        ids=["nothing", "cut", "list", "number", "null", "text", "no text", "deep list", "deep object", "nan"],
    )
    def test_what_is_no_object_is_refused(self, payload):
        assert "payload" in reason(payload)

    def test_a_payload_without_pubs_is_refused(self):
        assert "pubs" in reason({"options": {}})

    @pytest.mark.parametrize("pubs", [None, 3, "abc", {}, [3], [None], [[]], [["OPENQASM 3;"]], [{"a": 1}], [[[]]]])
    def test_pubs_that_are_none_are_refused(self, pubs):
        assert "pub" in reason({"pubs": pubs}).lower()

    @pytest.mark.parametrize(
        "kind", ["settings", "_json", "to_json", "Instruction", "spmatrix", "Result", "BindingsArray", "set", 3, [], {}]
    )
    def test_types_that_no_program_takes_are_refused(self, kind):
        said = {"__type__": kind, "__module__": "subprocess", "__class__": "Popen", "__value__": {"args": "true"}}
        assert "not taken" in reason({"pubs": [[bell()]], "options": {"x": [said]}})

    @pytest.mark.parametrize("field", ["shots", "options", "simulator"])
    def test_values_of_the_wrong_type_are_refused(self, field):
        params = {
            "shots": {"pubs": [[bell(), [], "many"]]},
            "options": {"pubs": [[bell()]], "options": [1]},
            "simulator": {"pubs": [[bell()]], "options": {"simulator": 3}},
        }
        reason(params[field])

    def test_one_bad_payload_among_several_fails_alone(self):
        good, bad, other = answers(job(bell(), [], 7), b"{", job(bell(3), [], 9))
        assert good.result
        assert other.result
        assert bad.result is None
        assert "payload" in bad.reason


class TestSizes:
    def test_a_bomb_of_zeros_is_refused_before_it_is_decompressed(self):
        bomb = typed("QuantumCircuit", b"QISKIT\x0e" + bytes(50_000_000))
        assert len(bomb["__value__"]) < 100_000
        assert "more than 1,000,000 bytes" in reason(job(bomb), limits=Limits(decompressed=1_000_000))

    def test_bombs_count_together(self):
        array = typed("ndarray", npy(np.zeros(100_000)))
        assert "bytes once it is" in reason({"pubs": [[bell(), array]] * 3}, limits=Limits(decompressed=2_000_000))

    def test_a_bomb_in_the_options_is_refused_too(self):
        bomb = typed("ndarray", npy(np.zeros(1_000_000)))
        params = job(bell(), simulator={"noise_model": {"__type__": "NoiseModel", "__value__": {"errors": [bomb]}}})
        assert "bytes once it is" in reason(params, limits=Limits(decompressed=1_000_000))

    def test_an_array_that_claims_a_huge_shape_is_refused(self):
        content = npy(np.zeros(3)).replace(b"(3,), }    ", b"(3000000,)}")
        assert "shape" in reason(job(bell(), typed("ndarray", content)))

    @pytest.mark.parametrize("array", [np.array(["x"]), np.array([None]), np.zeros(2, dtype=[("a", float)])])
    def test_arrays_of_anything_but_numbers_are_refused(self, array):
        content = npy(array, allow_pickle=True)
        assert "only numbers" in reason(job(bell(), typed("ndarray", content)))

    @pytest.mark.parametrize("kind", ["ndarray", "QuantumCircuit"])
    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x80\x04N.", b"QISKIT", b"\x93NUMPY\x01\x00\xff\xff{"])
    def test_damaged_arrays_and_circuits_are_refused(self, kind, content):
        assert "damaged" in reason(job(bell() if kind == "ndarray" else typed(kind, content), typed(kind, content)))

    @pytest.mark.parametrize("value", ["", "!", "abc", "QUJD"])
    def test_what_is_not_compressed_is_refused(self, value):
        assert "damaged" in reason(job({"__type__": "QuantumCircuit", "__value__": value}))

    def test_rows_without_numbers_are_counted(self):
        rows = typed("ndarray", npy(np.zeros((10**12, 0))))
        assert "100,000 circuits" in reason(job(bell(), rows))

    @pytest.mark.parametrize(("shots", "what"), [(10_000_001, "shots in all"), (-1, "not valid"), (1.5, "not valid")])
    def test_shots_have_limits(self, shots, what):
        assert what in reason(job(bell(), [], shots))

    def test_the_precision_of_an_estimator_has_a_limit(self):
        circuit = QuantumCircuit(1)
        assert "shots in all" in reason(job(circuit, {"Z": 1.0}, [], 1e-9), program="estimator")
        assert "not valid" in reason(job(circuit, {"Z": 1.0}, [], -0.1), program="estimator")
        reason(job(circuit, {"Z": 1.0}, [], 0.0), program="estimator")

    def test_decoding_takes_no_more_memory_than_it_may(self):
        parts = [[bell(), np.zeros((4_000_000,))]] * 3
        assert "memory" in reason({"pubs": parts}, limits=Limits(memory=50_000_000, decompressed=10**9))
        assert answers(job(bell(), [], 3))[0].result  # the process goes on


class TestCircuits:
    def test_circuits_with_too_many_qubits_are_refused(self):
        assert "300 qubits: at most 256" in reason(job(bell(300)))

    @pytest.mark.parametrize("version", [13, qpy.QPY_VERSION])
    @pytest.mark.parametrize(("field", "what"), [(3, "qubits"), (4, "classical bits"), (7, "operations")])
    def test_what_a_file_says_is_checked_before_it_is_read(self, version, field, what):
        stream = io.BytesIO()
        qpy.dump(bell(), stream, version=version)
        content = bytearray(stream.getvalue())
        start = content.index(struct.pack("!II", 2, 2)) - 5
        said = list(struct.unpack_from(formats.CIRCUIT_HEADER_V12_PACK, content, start))
        assert said[3:5] == [2, 2]
        said[field] = 50_000_000
        struct.pack_into(formats.CIRCUIT_HEADER_V12_PACK, content, start, *said)
        assert what in reason(job(typed("QuantumCircuit", bytes(content))))

    def test_two_circuits_in_the_place_of_one_are_refused(self):
        stream = io.BytesIO()
        qpy.dump([bell(), bell(256)], stream, version=13)
        assert "has 2 in it" in reason(job(typed("QuantumCircuit", stream.getvalue())))

    def test_circuits_with_too_many_operations_are_refused(self):
        circuit = bell()
        for _ in range(30):
            circuit.x(0)
        assert "more than 20 operations" in reason(job(circuit), limits=Limits(operations=20))

    def test_operations_in_control_flow_count(self):
        circuit = QuantumCircuit(1, 1)
        with circuit.for_loop(range(3)):
            for _ in range(30):
                circuit.x(0)
        assert "more than 20 operations" in reason(job(circuit), limits=Limits(operations=20))

    def test_definitions_that_double_each_other_are_refused(self, monkeypatch):
        gate = Gate("level0", 1, [])
        gate.definition = QuantumCircuit(1)
        gate.definition.x(0)
        for level in range(1, 41):
            definition = QuantumCircuit(1)
            definition.append(gate, [0])
            definition.append(gate, [0])
            gate = Gate(f"level{level}", 1, [])
            gate.definition = definition
        circuit = QuantumCircuit(1, 1)
        circuit.append(gate, [0])
        # Qiskit writes a definition for each of its uses; a file in which both uses share one is as valid, and small
        monkeypatch.setattr(qpy_circuits, "uuid", SimpleNamespace(uuid4=lambda: SimpleNamespace(hex="0")))
        stream = io.BytesIO()
        qpy.dump(circuit, stream, version=13)
        assert len(stream.getvalue()) < 20_000
        assert "more than 5,000,000 operations" in reason(job(typed("QuantumCircuit", stream.getvalue())))

    def test_old_versions_of_qpy_are_refused(self):
        stream = io.BytesIO()
        qpy.dump(bell(), stream, version=13)
        old = b"QISKIT\x0a" + stream.getvalue()[7:]
        assert "version 10 of QPY" in reason(job(typed("QuantumCircuit", old)))

    @pytest.mark.parametrize("cut", [8, 20, 60, 120, 200, -1])
    def test_a_circuit_that_was_cut_is_refused(self, cut):
        stream = io.BytesIO()
        qpy.dump(bell(), stream, version=13)
        said = reason(job(typed("QuantumCircuit", stream.getvalue()[:cut])))
        assert "cannot be read" in said or "damaged" in said

    def test_bytes_that_were_changed_break_nothing(self):
        stream = io.BytesIO()
        theta = Parameter("theta")
        circuit = bell()
        circuit.rx(2 * theta + 1, 0)
        qpy.dump(circuit, stream, version=13)
        content, rng = stream.getvalue(), np.random.default_rng(1)
        for place in range(7, len(content), 23):
            changed = bytearray(content)
            changed[place] = rng.integers(256)
            (answer,) = answers(job(typed("QuantumCircuit", bytes(changed)), [0.3], 5))
            assert answer.result or ("Traceback" not in answer.reason and answer.reason)

    def test_blocks_that_are_nested_too_deeply_are_refused(self):
        text = {}

        def build():
            circuit = QuantumCircuit(1, 1)
            circuit.x(0)
            for _ in range(250):
                outer = QuantumCircuit(circuit.qubits, circuit.clbits)
                outer.if_test((outer.clbits[0], 0), circuit, outer.qubits, outer.clbits)
                circuit = outer
            stream = io.BytesIO()
            qpy.dump(circuit, stream, version=13)
            text["content"] = stream.getvalue()

        depth = sys.getrecursionlimit()
        sys.setrecursionlimit(1_000_000)
        threading.stack_size(512 * 1024 * 1024)
        try:
            thread = threading.Thread(target=build)
            thread.start()
            thread.join()
        finally:
            threading.stack_size(0)
            sys.setrecursionlimit(depth)
        assert "nested too deeply" in reason(job(typed("QuantumCircuit", text["content"])))
