"""Texts that somebody has tampered with: they are refused, and nothing of them is executed or grows."""

from __future__ import annotations

import base64
import json
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pennylane_qexec.circuits.serialization import circuit_of, circuit_text, result_of
from pennylane_qexec.errors import ConfigurationError

HUGE = 10**12
MIB = 2**20


def result(form: Any) -> str:
    return json.dumps({"format": "pennylane-qexec result", "version": 1, "result": form})


def circuit(*operations: Any, **others: Any) -> str:
    parts = {"operations": operations, "measurements": [], "shots": None, "trainable": "all", **others}
    return json.dumps({"format": "pennylane-qexec circuit", "version": 1, **parts})


def array(**parts: Any) -> dict[str, Any]:
    return {"array": [0.5], "dtype": "float64", "shape": [1], **parts}


def packed(stored: str, data: bytes, dtype: str, *shape: int) -> dict[str, Any]:
    return {"as": stored, "base64": base64.b64encode(data).decode(), "dtype": dtype, "shape": list(shape)}


def gate(name: str, *parameters: Any, wires: Any = (0,), **others: Any) -> dict[str, Any]:
    return {"name": name, "parameters": list(parameters), "wires": list(wires), **others}


X_PLUS_Z = {"name": "Sum", "parts": [gate("PauliX"), gate("PauliZ", wires=[1])]}

RESULTS = [
    "",
    "null",
    "[]",
    "{}",
    "NaN",
    "[" * 100_000,
    result(1)[:-1],
    result(1).replace("1}", "NaN}"),
    result(1).replace('"version": 1', '"version": 2'),
    result(1).replace('"version": 1', '"version": true'),
    result(1).replace(" result", " circuit"),
    result(1).replace('"result"', '"other"'),
    result({}),
    result({"a": 1}),
    result({"object": 1}),
    result({"tuple": 1}),
    result({"tuple": [], "dict": []}),
    result({"dict": [[1]]}),
    result({"dict": [[[1], 2]]}),
    result({"dict": [[1, 2], [1, 3]]}),
    result({"float": "1.0"}),
    result({"float": 1}),
    result({"float64": "0.5"}),
    result({"int8": 300}),
    result({"int64": True}),
    result({"uint8": -1}),
    result({"bool": 1}),
    result({"complex": [1.0]}),
    result({"complex128": 1.0}),
    result({"str": 1}),
    result(array(dtype="object")),
    result(array(dtype="O")),
    result(array(dtype="<U4")),
    result(array(dtype="datetime64[s]")),
    result(array(dtype=["float64"])),
    result(array(shape=[-1])),
    result(array(shape=[2])),
    result(array(shape=[True])),
    result(array(shape=1)),
    result(array(shape=[HUGE, HUGE, 0])),
    result(array(array=[], shape=[HUGE, HUGE, HUGE, 0])),
    result(array(array=["x"])),
    result(array(array=[[0.5]])),
    result(array(array=0.5)),
    result(array(more=1)),
    result({"dtype": "float64", "shape": [1]}),
    result(packed("float64", b"\0" * 8, "float64", 2)),
    result(packed("float64", b"\0" * 8, "float64", HUGE)),
    result(packed("bits", b"\0", "float64", HUGE)),
    result(packed("bits", b"\0\0", "float64", 3)),
    result(packed("object", b"\0" * 8, "float64", 1)),
    result(packed("int32", b"\0" * 3, "float64", 1)),
    result({**packed("bits", b"", "bool", 0), "base64": "?"}),
    result({**packed("bits", b"", "bool", 0), "base64": 1}),
    result({**packed("bits", b"", "bool", 0), "as": ["bits"]}),
    '{"format":"pennylane-qexec result","version":1,"result":' + "9" * 5000 + "}",
    '{"format":"pennylane-qexec result","version":1,"result":' + '{"tuple":[' * 400 + "]}" * 400 + "}",
]


@pytest.mark.parametrize("text", RESULTS, ids=range(len(RESULTS)))
def test_a_damaged_result_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        result_of(text)


CIRCUITS = [
    circuit(1),
    circuit("RX"),
    circuit([]),
    circuit({}),
    circuit({"name": 1}),
    circuit({"name": "RX"}),
    circuit({"name": ["RX"]}),
    circuit(gate("os.system", "true")),
    circuit(gate("Operator")),
    circuit(gate("QubitDevice")),
    circuit(gate("SubroutineOp")),
    circuit(gate("__class__")),
    circuit(gate("x" * 100_000)),
    circuit(gate("ExpectationMP")),
    circuit(gate("RX")),
    circuit(gate("RX", 0.3, 0.4)),
    circuit(gate("RX", "0.3")),
    circuit(gate("RX", None)),
    circuit(gate("RX", gate("RX", 0.3))),
    circuit(gate("RX", {"kind": "RX"})),
    circuit(gate("RX", 0.3, wires=[])),
    circuit(gate("RX", 0.3, wires=[0, 1])),
    circuit(gate("RX", 0.3, wires=[[0]])),
    circuit(gate("RX", 0.3, wires=[{"dict": []}])),
    circuit(gate("CNOT", wires=[0, 0])),
    circuit(gate("RX", 0.3, more=1)),
    circuit(gate("RX", 0.3, hyperparameters={"id": "mine"})),
    circuit(gate("RX", 0.3, hyperparameters=1)),
    circuit({"name": "RX", "wires": 0, "parameters": [0.3]}),
    circuit({"name": "Adjoint", "parts": [1]}),
    circuit({"name": "Adjoint", "parts": []}),
    circuit({"name": "Prod", "parts": [X_PLUS_Z, 1]}),
    circuit({"name": "Conditional", "if": {"measured": [0]}, "then": gate("PauliX")}),
    circuit({"name": "Conditional", "if": {"measured": [gate("PauliX")]}, "then": gate("PauliX")}),
    circuit({"name": "Conditional", "if": True, "then": 1}),
    circuit({"name": "MidMeasure", "wires": [0], "reset": False, "postselect": None}),
    circuit({"name": "MidMeasure", "wires": [0], "reset": False, "postselect": None, "number": 1}),
    circuit({"name": "MidMeasure", "wires": [0], "meas_uid": "a", "number": 0}),
    circuit(measurements=[gate("PauliX")]),
    circuit(measurements=[{"name": "ExpectationMP", "of": {"kind": "PauliX"}}]),
    circuit(measurements=[{"name": "ExpectationMP", "of": gate("PauliX"), "wires": [0]}]),
    circuit(measurements=[{"name": "MutualInfoMP", "wires": None}]),
    circuit(measurements=[{"name": "MutualInfoMP", "wires": [0.1]}]),
    circuit({"name": "MarkedOp", "parts": [{"name": "StateMP"}], "settings": {"marker": "x"}}, trainable=[]),
    circuit(measurements=[{"name": "SampleMP", "dtype": {"type": "object"}}]),
    circuit(measurements=[{"name": "CountsMP", "all_outcomes": True, "process_counts": 1}]),
    circuit(shots=10),
    circuit(shots=[]),
    circuit(shots=[[0, 1]]),
    circuit(shots=[[True, 1]]),
    circuit(shots=[[1, 2, 3]]),
    circuit(trainable=[0]),
    circuit(trainable=["0"]),
    circuit(gate("RX", 0.3), trainable=[-1]),
    circuit(gate("RX", 0.3), trainable=[0]),
    circuit(more=1),
    circuit(gate("QubitUnitary", {"sparse": 1})),
    circuit(gate("QubitUnitary", {"sparse": {"kind": "array", "shape": [HUGE, HUGE]}})),
]


@pytest.mark.parametrize("text", CIRCUITS, ids=range(len(CIRCUITS)))
def test_a_damaged_circuit_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        circuit_of(text)


def sparse(columns: Any, rows: Any, shape: Any) -> dict[str, Any]:
    parts = {"data": array(array=[1.0] * len(columns), shape=[len(columns)])}
    for name, numbers in (("columns", columns), ("rows", rows)):
        parts[name] = {"array": numbers, "dtype": "int64", "shape": [len(numbers)]}
    return {"sparse": {"kind": "matrix", "shape": shape, **parts}}


STATE = {"normalize": True, "pad_with": 0.0, "validate_norm": True}

FACTORS = [{"name": "Sum", "parts": [gate("PauliX", wires=[k]), gate("PauliZ", wires=[k])]} for k in range(40)]
ROW = array(array=[0.1] * 5000, shape=[1, 5000])
NESTED = '{"name":"Adjoint","parts":[' * 300 + '{"name":"PauliX","wires":[0]}' + "]}" * 300

BOMBS = {
    "product": circuit({"name": "Prod", "parts": FACTORS}),
    "power": circuit({"name": "Pow", "parts": [gate("PauliX"), HUGE]}),
    "power of a sum": circuit({"name": "Pow", "parts": [{"name": "Prod", "parts": [X_PLUS_Z] * 10}, 10**6]}),
    "padded state": circuit(gate("StatePrep", array(), wires=range(40), hyperparameters=STATE)),
    "padded matrix": circuit(gate("FABLE", ROW, wires=range(27), hyperparameters={"tol": 0})),
    "sparse, rows": circuit(gate("SparseHamiltonian", sparse([0], [0, 1], [2**40, 2**40]), wires=range(40))),
    "sparse, columns": circuit(gate("SparseHamiltonian", sparse([2**30], [0, 1, 1], [2, 2]), wires=[0])),
    "nested": circuit(json.loads(NESTED)),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_short_text_does_not_fill_the_memory(name: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ConfigurationError):
            circuit_of(BOMBS[name])
        assert tracemalloc.get_traced_memory()[1] < 20 * MIB
    finally:
        tracemalloc.stop()


def test_what_is_read_takes_at_most_64_times_the_length_of_the_text() -> None:
    text = result(packed("bits", b"\0" * 1000, "complex128", 8000))
    with pytest.raises(ConfigurationError):
        result_of(text)
    assert result_of(result(packed("bits", b"\0" * 1000, "int64", 8000))).nbytes < 64 * len(text)


@pytest.mark.parametrize("text", [b"{}", None, 1, {}])
def test_what_is_no_text_is_refused(text: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be text, not"):
        circuit_of(text)


def test_texts_of_later_versions_say_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match="version 2, and 1 is the latest known: install a later"):
        circuit_of(circuit().replace('"version": 1', '"version": 2'))


def test_a_name_that_is_nearly_right_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"is called 'Hadamart'\. Did you mean 'Hadamard'"):
        circuit_of(circuit(gate("Hadamart")))


def test_a_circuit_that_is_not_what_the_text_says_is_refused() -> None:
    """PennyLane takes 2 for a truth value: the circuit would say true."""
    controlled = {
        "name": "ControlledOp",
        "parts": [gate("RX", 0.3)],
        "settings": [{"wires": [1]}, {"tuple": [2]}, {"wires": []}, "borrowed"],
    }
    with pytest.raises(ConfigurationError, match="does not build"):
        circuit_of(circuit(controlled))


STORED = (Path(__file__).parent / "stored_by_version_1.jsonl").read_text(encoding="ascii").splitlines()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(["RX", "wires", "float64", "nan"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "wires", "tuple", "measured", "array", "dtype", "shape"]), inner, max_size=3
        )
    ),
    max_leaves=4,
)


def replaced(form: Any, places: list[int], other: Any) -> Any:
    """A form with another in the place to which the numbers lead."""
    if not places or not isinstance(form, list | dict) or not form:
        return other
    keys = list(range(len(form))) if isinstance(form, list) else sorted(form)
    chosen = keys[places[0] % len(keys)]
    copy = form.copy()
    copy[chosen] = replaced(form[chosen], places[1:], other)
    return copy


@given(st.sampled_from(STORED), st.lists(st.integers(0, 9), min_size=1, max_size=8), JSON)
def test_whatever_is_changed_in_a_text_it_is_read_as_it_is_or_refused(text: str, places: list[int], other: Any) -> None:
    changed = json.dumps(replaced(json.loads(text), places, other))
    with suppress(ConfigurationError):
        circuit = circuit_of(changed)
        assert json.loads(circuit_text(circuit)) == json.loads(changed)
