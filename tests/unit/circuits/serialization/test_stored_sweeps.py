"""Sweeps, and the results of their rows, as text: what is read is what was written, and damage is refused."""

from __future__ import annotations

import base64
import json
import tracemalloc
from contextlib import suppress
from dataclasses import replace
from typing import Any

import every_kind
import numpy as np
import pennylane as qml
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pennylane.tape import QuantumScript
from test_results import RESULTS, is_same
from unit.circuits import test_fingerprint

from pennylane_qexec.circuits.fingerprint import fingerprint
from pennylane_qexec.circuits.serialization import circuit_text, results_of, results_text, sweep_of, sweep_text
from pennylane_qexec.circuits.templates import sweep_of_circuit
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.job import Sweep

MIB = 2**20


def varied(circuit: QuantumScript, rows: int = 3) -> Sweep | None:
    """A sweep of a circuit and others like it."""
    one = sweep_of_circuit(circuit)
    if one is None:
        return None
    return replace(one, parameters=one.parameters + np.linspace(0, 0.5, rows)[:, None])


def ansatz(shots: int | None = 100) -> QuantumScript:
    energy = qml.Hamiltonian([0.5, -0.25], [qml.Z(0) @ qml.X("b"), qml.Y(1)])
    operations = [qml.RX(0.1, 0), qml.CNOT([0, 1]), qml.Rot(0.2, 0.3, 0.4, "b"), qml.adjoint(qml.RZ(0.5, 1))]
    operations += [qml.PauliRot(0.6, "XY", [0, 1]), qml.ctrl(qml.RY(0.7, 1), 0, [False]), qml.CRX(0.8, [1, "b"])]
    return QuantumScript(operations, [qml.expval(energy), qml.probs(wires=[0, 1])], shots=shots)


def test_a_sweep_is_read_as_it_was_written() -> None:
    sweep = varied(ansatz(), 100)
    assert sweep is not None
    text = sweep_text(sweep)
    again = sweep_of(text)
    assert text.isascii()
    np.testing.assert_array_equal(again.parameters, sweep.parameters)
    assert (again.slots, again.key, len(again)) == (sweep.slots, sweep.key, 100)
    assert sweep_text(again) == text
    assert list(map(fingerprint, again.circuits())) == list(map(fingerprint, sweep.circuits()))


def test_sweeps_of_all_kinds_of_circuits_are_read_as_they_were_written() -> None:
    circuits = [QuantumScript([qml.RX(0.5, 0), each]) for each in every_kind.operators().values()]
    circuits += [QuantumScript([qml.RX(0.5, 0)], [each], shots=9) for each in every_kind.measurements().values()]
    circuits += list(test_fingerprint.kinds().values())
    read = 0
    for circuit in circuits:
        sweep = varied(circuit)
        if sweep is None:
            continue
        try:
            text = sweep_text(sweep)
        except ConfigurationError:
            with pytest.raises(ConfigurationError):
                circuit_text(circuit)
            continue
        read += 1
        again = sweep_of(text)
        assert list(map(circuit_text, again.circuits())) == list(map(circuit_text, sweep.circuits()))
    assert read > 100


def test_a_text_says_what_is_in_the_sweep() -> None:
    circuit = QuantumScript([qml.RX(0.3, "a"), qml.CNOT(["a", 1])], [qml.expval(qml.Z(1))], shots=10)
    sweep = varied(circuit, 2)
    assert sweep is not None
    assert sweep_text(sweep) == (
        '{"format":"pennylane-qexec sweep","parameters":{"array":[0.3,0.8],"dtype":"float64","shape":[2,1]},'
        '"template":{"measurements":[{"name":"ExpectationMP","of":{"name":"PauliZ","wires":[1]}}],'
        '"operations":[{"name":"RX","parameters":[{"column":0}],"wires":["a"]},{"name":"CNOT","wires":["a",1]}],'
        '"shots":[[10,1]]},"version":2}'
    )


def test_a_thousand_rows_take_the_place_of_their_numbers() -> None:
    sweep = varied(ansatz(), 1000)
    assert sweep is not None
    assert len(sweep_text(sweep)) < 1.4 * sweep.parameters.nbytes + 2000


def test_what_cannot_be_compared_or_stored_is_refused() -> None:
    sweep = varied(ansatz())
    assert sweep is not None
    with pytest.raises(ConfigurationError, match="store them one by one"):
        sweep_text(replace(sweep, key=None))
    with pytest.raises(ConfigurationError, match=r"8 parameters has an array of shape \(3, 2\)"):
        sweep_text(replace(sweep, parameters=sweep.parameters[:, :2], key=("another",)))


def damaged(**changes: Any) -> str:
    """The text of a sweep with other parts; ``operations`` and ``shots`` are those of the template."""
    template = {
        "operations": [{"name": "RX", "parameters": [{"column": 0}], "wires": [0]}],
        "measurements": [],
        "shots": None,
    }
    parts: dict[str, Any] = {"parameters": {"array": [0.5], "dtype": "float64", "shape": [1, 1]}, "template": template}
    for name, value in changes.items():
        (template if name in template or name == "more" else parts)[name] = value
    return json.dumps({"format": "pennylane-qexec sweep", "version": 2, **parts})


def rotation(*parameters: Any, **others: Any) -> dict[str, Any]:
    return {"name": "RX", "parameters": list(parameters), "wires": [0], **others}


def matrix(*shape: int, dtype: str = "float64") -> dict[str, Any]:
    return {"array": [0.5] * int(np.prod(shape)), "dtype": dtype, "shape": list(shape)}


def test_the_text_that_is_damaged_below_can_be_read_as_long_as_it_is_not() -> None:
    assert len(sweep_of(damaged())) == 1


DAMAGED = [
    "",
    "{}",
    damaged()[:-1],
    damaged().replace("sweep", "circuit"),
    damaged().replace('"version": 2', '"version": 3'),
    damaged(other=1),
    damaged(more=1),
    damaged(template=[]),
    damaged(template={}),
    damaged(parameters=[[0.5]]),
    damaged(parameters=matrix(1)),
    damaged(parameters=matrix(0, 1)),
    damaged(parameters=matrix(1, 2)),
    damaged(parameters=matrix(1, 0)),
    damaged(parameters={**matrix(1, 1), "shape": [10**12, 1]}),
    damaged(parameters={"array": [[0.5, 0.0]], "dtype": "complex128", "shape": [1, 1]}),
    damaged(parameters={"array": [], "dtype": "float64", "shape": [10**12, 0]}, operations=[]),
    damaged(operations=[rotation({"column": 1})]),
    damaged(operations=[rotation({"column": -1})]),
    damaged(operations=[rotation({"column": True})]),
    damaged(operations=[rotation({"column": [0]})]),
    damaged(operations=[rotation({"column": 0}), rotation({"column": 0})]),
    damaged(operations=[rotation({"column": 0}, {"column": 1})], parameters=matrix(1, 2)),
    damaged(operations=[rotation(0.5)], parameters={"array": [], "dtype": "float64", "shape": [1, 0]}),
    damaged(operations=[{"name": "PauliX", "wires": [{"column": 0}]}]),
    damaged(operations=[{"name": "os.system", "parameters": [{"column": 0}], "wires": [0]}]),
    damaged(shots=[[0, 1]]),
    damaged(measurements=[rotation({"column": 0})], operations=[]),
]


@pytest.mark.parametrize("text", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_sweep_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        sweep_of(text)


def test_an_array_with_a_large_shape_allocates_nothing() -> None:
    packed = {"as": "float64", "base64": base64.b64encode(b"\0" * 8).decode(), "dtype": "float64", "shape": [10**9, 1]}
    tracemalloc.start()
    try:
        with pytest.raises(ConfigurationError):
            sweep_of(damaged(parameters=packed))
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()


SWEEP = varied(ansatz())
TEXT = "" if SWEEP is None else sweep_text(SWEEP)


@given(st.integers(0, len(TEXT) - 1), st.integers(0, 20), st.text(max_size=4))
def test_a_text_with_any_part_replaced_is_refused_or_read(start: int, length: int, by: str) -> None:
    with suppress(ConfigurationError):
        text = TEXT[:start] + by + TEXT[start + length :]
        assert json.loads(sweep_text(sweep_of(text))) == json.loads(text)


# -- results


@given(st.lists(RESULTS, max_size=4))
def test_results_of_rows_are_read_as_they_were_written(results: list[Any]) -> None:
    for rows in (results, results[:1] * 3, [tuple(results)] * 3):
        text = results_text(rows)
        assert is_same(results_of(text), rows)
        assert results_text(results_of(text)) == text


@pytest.mark.parametrize(
    ("results", "form"),
    [
        ([0.5, 1.0], '{"floats":{"array":[0.5,1.0],"dtype":"float64","shape":[2]}}'),
        ([np.float64(0.5)] * 2, '{"scalars":{"array":[0.5,0.5],"dtype":"float64","shape":[2]}}'),
        ([np.array([1, 2])] * 2, '{"arrays":{"array":[1,2,1,2],"dtype":"int64","shape":[2,2]}}'),
        (
            [(np.int8(1), 0.5), (np.int8(2), 0.5)],
            '{"tuples":[{"scalars":{"array":[1,2],"dtype":"int8","shape":[2]}},'
            '{"floats":{"array":[0.5,0.5],"dtype":"float64","shape":[2]}}]}',
        ),
        ([{"0": 3}, {"1": 3}], '{"values":[{"dict":[["0",3]]},{"dict":[["1",3]]}]}'),
    ],
)
def test_a_text_says_what_is_in_the_results(results: list[Any], form: str) -> None:
    assert results_text(results) == f'{{"format":"pennylane-qexec results","results":{form},"version":2}}'


def results_form(form: Any) -> str:
    return json.dumps({"format": "pennylane-qexec results", "version": 2, "results": form})


EMPTY = {"array": [], "dtype": "float64", "shape": [10**12, 0]}


@pytest.mark.parametrize(
    "form",
    [
        None,
        [],
        {},
        {"values": 1},
        {"values": [{"object": 1}]},
        {"tuples": []},
        {"tuples": [{"values": [1]}, {"values": [1, 2]}]},
        {"floats": [0.5]},
        {"floats": matrix(1, 1)},
        {"floats": {"array": [[0.5, 0.5]], "dtype": "complex128", "shape": [1]}},
        {"scalars": matrix(1, 1)},
        {"scalars": {**matrix(1), "shape": [10**12]}},
        {"arrays": {"array": [0.5], "dtype": "float64", "shape": []}},
        {"arrays": EMPTY},
        {"arrays": {"float64": 0.5}},
        {"arrays": matrix(1), "floats": matrix(1)},
    ],
)
def test_damaged_results_are_refused(form: Any) -> None:
    with pytest.raises(ConfigurationError):
        results_of(results_form(form))
