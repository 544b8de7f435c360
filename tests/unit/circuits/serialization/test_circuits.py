"""Circuits as text: what is read is what was written, and texts are the same everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import every_kind
import numpy as np
import pennylane as qml
import pytest
from fakes import programs
from pennylane.measurements import MeasurementProcess
from pennylane.operation import Operator
from pennylane.ops import MidMeasure
from pennylane.pauli import PauliSentence, PauliWord
from pennylane.tape import QuantumScript
from unit.circuits import test_fingerprint

from pennylane_qexec.circuits.fingerprint import fingerprint
from pennylane_qexec.circuits.serialization import circuit_of, circuit_text
from pennylane_qexec.circuits.serialization.decoding import CircuitDecoder
from pennylane_qexec.circuits.serialization.encoding import CircuitEncoder, kinds
from pennylane_qexec.errors import ConfigurationError

COMPUTED = ("measured", "measured and reset", "postselected")
"""Circuits with values that are computed of mid-circuit measurements."""


def read_again(circuit: QuantumScript) -> QuantumScript:
    """A circuit that was written and read; checks what must be the same."""
    text = circuit_text(circuit)
    again = circuit_of(text)
    assert fingerprint(again) == fingerprint(circuit)
    assert circuit_text(again) == text
    assert [type(part) for part in again.circuit] == [type(part) for part in circuit.circuit]
    assert again.shots == circuit.shots
    return again


def of(operator: Operator, *measurements: MeasurementProcess, **options: Any) -> QuantumScript:
    return QuantumScript([operator], measurements, **options)


def test_an_operator_of_each_kind_is_read_as_it_was_written() -> None:
    for operator in every_kind.operators().values():
        (again,) = read_again(of(operator)).operations
        assert qml.equal(again, operator, check_interface=False, check_trainability=False)


def test_no_kind_of_operator_is_forgotten() -> None:
    made = {type(operator) for operator in every_kind.operators().values()}
    made |= {type(each) for each in [*every_kind.measurements().values(), *every_kind.dynamic().circuit]}
    assert {name for name, kind in kinds().items() if kind not in made} == {"Projector"}  # chooses another class


@pytest.mark.parametrize("shots", [None, 100, (10, 10, 5)])
def test_measurements_of_each_kind_are_read_as_they_were_written(shots: Any) -> None:
    for measurement in every_kind.measurements().values():
        (again,) = read_again(of(qml.H(0), measurement, shots=shots)).measurements
        assert qml.equal(again, measurement, check_interface=False, check_trainability=False)


def test_all_circuits_that_have_fingerprints_can_be_stored_but_for_computed_values() -> None:
    circuits = {name: circuit for name, circuit in test_fingerprint.kinds().items() if name not in COMPUTED}
    assert len(circuits) >= 40
    for circuit in circuits.values():
        assert qml.equal(read_again(circuit), circuit, check_interface=False, check_trainability=False)


def test_no_two_kinds_of_circuits_share_a_text() -> None:
    circuits = [circuit for name, circuit in test_fingerprint.kinds().items() if name not in COMPUTED]
    assert len({circuit_text(circuit) for circuit in circuits}) == len(circuits)


def test_a_text_says_what_is_in_the_circuit() -> None:
    circuit = QuantumScript([qml.RX(0.3, "a"), qml.CNOT(["a", 1])], [qml.expval(qml.Z(1))], shots=10)
    assert circuit_text(circuit) == (
        '{"format":"pennylane-qexec circuit",'
        '"measurements":[{"name":"ExpectationMP","of":{"name":"PauliZ","wires":[1]}}],'
        '"operations":[{"name":"RX","parameters":[0.3],"wires":["a"]},{"name":"CNOT","wires":["a",1]}],'
        '"shots":[[10,1]],"trainable":"all","version":1}'
    )


def test_mid_circuit_measurements_are_the_same_objects_wherever_they_occur() -> None:
    circuit = read_again(every_kind.dynamic())
    first, second, third, on_second, on_third = circuit.operations
    assert on_second.meas_val.measurements[0] is second
    assert on_third.meas_val.measurements[0] is third
    assert circuit.measurements[0].mv.measurements[0] is first
    assert [value.measurements[0] for value in circuit.measurements[1].mv] == [second, first]
    assert len({first.meas_uid, second.meas_uid, third.meas_uid}) == 3


def test_ids_of_mid_circuit_measurements_are_not_in_the_text_and_are_new_when_it_is_read() -> None:
    text = circuit_text(every_kind.dynamic())
    assert text == circuit_text(every_kind.dynamic())
    assert circuit_of(text).operations[0].meas_uid != circuit_of(text).operations[0].meas_uid


def test_a_measurement_that_is_no_operation_of_the_circuit_is_written_where_it_is_used() -> None:
    value = qml.ops.MeasurementValue([MidMeasure("a", meas_uid="1", postselect=0)])
    circuit = read_again(of(MidMeasure("b", meas_uid="1"), qml.expval(value), qml.sample(value)))
    used, again = (measurement.mv.measurements[0] for measurement in circuit.measurements)
    assert used is again
    assert (used.wires.tolist(), used.postselect, used.meas_uid) == (["a"], 0, circuit.operations[0].meas_uid)


@pytest.mark.parametrize("label", [0, -7, "aux", "\u03b1", ("grid", 1, (2, 3)), True, 0.5, np.int64(3), np.int32(3)])
def test_wires_may_have_any_label(label: Any) -> None:
    (wire,) = read_again(of(qml.RX(0.3, [label]))).operations[0].wires
    assert wire == label
    assert type(wire) is (int if type(label) is np.int64 else type(label))


@pytest.mark.parametrize("angle", [-0.0, 5e-324, 0.1 + 0.2, float("inf"), float("nan"), 1, np.float32(0.1), 10**30])
def test_numbers_are_exact(angle: Any) -> None:
    (again,) = read_again(of(qml.RX(angle, 0))).operations[0].data
    assert repr(again) == repr(angle)


@pytest.mark.parametrize("make", [np.float64, np.array, qml.numpy.array])
def test_how_a_parameter_is_wrapped_does_not_matter(make: Callable[[float], Any]) -> None:
    assert circuit_text(of(qml.RX(make(0.3), 0))) == circuit_text(of(qml.RX(0.3, 0)))


@pytest.mark.slow
def test_tensors_of_jax_and_torch_become_numbers() -> None:
    import jax
    import torch

    angles = [torch.tensor(0.3, dtype=torch.float64, requires_grad=True), jax.numpy.asarray(0.3)]
    exact = [0.3, float(np.asarray(angles[1]))]
    for angle, number in zip(angles, exact, strict=True):
        (again,) = circuit_of(circuit_text(of(qml.RX(angle, 0)))).operations[0].data
        assert float(again) == number


def test_broadcasted_parameters_stay_arrays() -> None:
    for angles in (np.array([0.3, 0.4]), np.linspace(0, 1, 100)):
        (again,) = read_again(of(qml.RX(angles, 0))).operations[0].data
        np.testing.assert_array_equal(again, angles)


@pytest.mark.parametrize("chosen", [[], [0], [1, 2], [0, 1, 2]])
def test_trainable_parameters_are_kept(chosen: list[int]) -> None:
    circuit = of(qml.Rot(0.1, 0.2, 0.3, 0), trainable_params=chosen)
    assert read_again(circuit).trainable_params == chosen


def test_that_all_parameters_are_trainable_need_not_be_said() -> None:
    rotation = qml.Rot(0.1, 0.2, 0.3, 0)
    assert circuit_text(of(rotation, trainable_params=[0, 1, 2])) == circuit_text(of(rotation))


def test_a_normalized_state_is_not_normalized_again() -> None:
    """Its norm is 1 - 1e-16 or so: dividing by it would change the last digits."""
    for seed in range(20):
        state = np.random.default_rng(seed).normal(size=3)
        embedding = qml.AmplitudeEmbedding(state, wires=[0, 1], pad_with=0.3, normalize=True)
        (again,) = read_again(of(embedding)).operations
        np.testing.assert_array_equal(again.data[0], embedding.data[0])
        assert again.hyperparameters == embedding.hyperparameters


def test_pauli_words_and_sentences_are_values_like_others() -> None:
    word = PauliWord({"b": "X", 0: "Z"})
    sentence = PauliSentence({word: 0.5, PauliWord({}): 1j})
    assert CircuitDecoder().value(json.loads(json.dumps(CircuitEncoder().form([word, sentence])))) == [word, sentence]


def test_reading_a_circuit_records_nothing() -> None:
    text = circuit_text(test_fingerprint.kinds()["trotter"])
    with qml.queuing.AnnotatedQueue() as queue:
        circuit_of(text)
    assert list(queue) == []


def test_a_tape_is_read_as_a_circuit() -> None:
    with qml.tape.QuantumTape() as tape:
        qml.H(0)
    assert type(circuit_of(circuit_text(tape))) is QuantumScript


class Foreign(qml.RX):
    """A class that PennyLane does not have."""


def test_operators_of_others_are_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match=r"operation 0 of the circuit, Foreign, cannot be stored: .*Foreign"):
        circuit_text(of(Foreign(0.3, 0)))
    with pytest.raises(ConfigurationError, match=r"test_circuits.Foreign cannot be stored"):
        circuit_text(of(qml.adjoint(qml.ctrl(Foreign(0.3, 0), 1))))


class Invented(qml.measurements.ExpectationMP):
    """A measurement that PennyLane does not have."""


def test_measurements_of_others_are_refused_by_name() -> None:
    with pytest.raises(
        ConfigurationError, match=r"measurement 0 of the circuit, Invented, cannot be stored: .*Invented"
    ):
        circuit_text(of(qml.H(0), Invented(obs=qml.Z(0))))


def test_parameters_without_a_value_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="'angle' is no number: give the parameter a value first"):
        circuit_text(of(qml.RX("angle", 0)))


def test_functions_are_refused() -> None:
    product = qml.TrotterizedQfunc(0.1, qfunc=lambda time, wires: qml.RX(time, wires), n=1, wires=[0])
    for operator in (product, qml.MPS([0, 1], 2, lambda weights, wires: None, 1)):
        with pytest.raises(ConfigurationError, match=r"cannot be stored: .*Decompose it"):
            circuit_text(of(operator))
    with pytest.raises(ConfigurationError, match=r"measurement 1 of the circuit, SampleMP, .*object"):
        circuit_text(of(qml.H(0), qml.state(), qml.sample(wires=[object()])))


def test_values_computed_of_mid_circuit_measurements_are_refused() -> None:
    for name in COMPUTED:
        with pytest.raises(ConfigurationError, match=r"operation 2 of the circuit, Conditional, .*defer_measurements"):
            circuit_text(test_fingerprint.kinds()[name])


def test_a_template_that_pennylane_does_not_build_again_is_refused_when_it_is_written() -> None:
    circuit = of(qml.ArbitraryUnitary(np.ones(3), wires=[0]))
    circuit.operations[0].hyperparameters["forgotten"] = 3
    with pytest.raises(ConfigurationError, match="does not build"):
        circuit_text(circuit)


@pytest.mark.slow
def test_texts_are_the_same_in_another_process() -> None:
    script = (
        "import every_kind, json; from pennylane.tape import QuantumScript; "
        "from pennylane_qexec.circuits.serialization import circuit_text; "
        "texts = {k: circuit_text(QuantumScript([o], [])) for k, o in every_kind.operators().items()}; "
        "print(json.dumps(texts))"
    )
    there = json.loads(programs.run(script).stdout.splitlines()[-1])
    assert there == {name: circuit_text(of(operator)) for name, operator in every_kind.operators().items()}


STORED = Path(__file__).parent / "stored_by_version_1.jsonl"
"""Texts that were written when the format was new: they are read for ever."""


def test_texts_that_were_written_with_the_first_version_are_still_read() -> None:
    texts = STORED.read_text(encoding="ascii").splitlines()
    assert len(texts) >= 40
    for text in texts:
        assert circuit_text(circuit_of(text)) == text
