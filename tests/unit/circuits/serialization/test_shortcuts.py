"""What is written by shortcuts is, to the character, what is written the long way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import every_kind
import numpy as np
import pennylane as qml
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pennylane import numpy as pnp
from pennylane.measurements import ExpectationMP, MeasurementProcess
from pennylane.operation import Operator
from pennylane.tape import QuantumScript
from test_results import RESULTS
from unit.circuits import test_fingerprint

from pennylane_qexec.circuits.serialization import circuit_text, circuit_texts, result_text
from pennylane_qexec.circuits.serialization.circuits import drafted
from pennylane_qexec.circuits.serialization.results import result_form
from pennylane_qexec.circuits.serialization.values import text_of
from pennylane_qexec.circuits.structure import BARE, CONTROLLED, measured_by
from pennylane_qexec.circuits.templates import StructureMatcher
from pennylane_qexec.errors import ConfigurationError

KINDS: list[Any] = sorted(BARE | CONTROLLED, key=lambda kind: str(kind.__name__))

WORDS = [
    qml.Z(0),
    qml.Z("a") @ qml.X(1),
    qml.Y(True) @ qml.Z(-2) @ qml.H("\u03bb"),
    qml.Identity(1),
    qml.Z(0) @ qml.I(2),
]


class Custom(qml.RX):
    """A gate of somebody who derives from PennyLane's."""


def labels(count: int) -> st.SearchStrategy[list[Any]]:
    """Labels of wires, among which are equal ones of different types, such as 1, True and 1.0."""
    usual = st.integers(-2, 3) | st.sampled_from(["a", "b", "1", '"', "\u03bb", "\n"])
    odd = st.sampled_from(
        [True, False, 1.0, 0.0, -1.5, np.int64(1), np.float64(0), np.str_("a"), (1, 2), (True, 2), 10**20]
    )
    return st.lists(usual | odd, min_size=count, max_size=count, unique=True)


def wrapped(number: float) -> st.SearchStrategy[Any]:
    """A number in all the ways in which it comes."""
    wraps = [float, np.float64, np.array, np.float32, pnp.array, lambda each: pnp.array(each, requires_grad=False)]
    others = [
        lambda each: np.array([each, 0.5]),
        lambda _: 3,
        lambda _: True,
        lambda _: np.int64(2),
        lambda _: np.array(1),
    ]
    swapped = [lambda each: np.array(each, dtype=">f8"), lambda each: np.float16(1), complex]
    return st.sampled_from([*wraps * 3, *others, *swapped]).map(lambda wrap: wrap(number))


FLOATS = st.floats(width=32) | st.sampled_from([0.0, -0.0, 1e16, 1e-7, 0.1 + 0.2, np.pi])
NUMBERS = FLOATS.flatmap(wrapped)


@st.composite
def gates(draw: Any) -> Operator:
    kind = draw(st.sampled_from(KINDS))
    wires = draw(labels(kind.num_wires if isinstance(kind.num_wires, int) else 1))
    gate: Operator = kind(*[draw(NUMBERS) for _ in range(kind.num_params)], wires=wires)
    wrap = draw(
        st.sampled_from([None] * 8 + [qml.adjoint, lambda each: qml.pow(each, 2), lambda each: qml.ctrl(each, "c")])
    )
    return gate if wrap is None else wrap(gate)


def observables() -> st.SearchStrategy[Operator]:
    """Sums and products of letters and gates, in several depths."""
    coefficients = st.floats(-2, 2).flatmap(wrapped).filter(lambda number: np.ndim(number) == 0)
    return st.recursive(
        st.sampled_from(WORDS),
        lambda inner: (
            st.tuples(coefficients, inner).map(lambda both: qml.s_prod(*both, lazy=True))
            | st.lists(inner, min_size=2, max_size=3).map(lambda several: qml.sum(*several))
            | st.lists(inner, min_size=2, max_size=3).map(lambda several: qml.prod(*several, lazy=True))
            | st.lists(inner, min_size=1, max_size=3).map(
                lambda several: qml.Hamiltonian([0.5] * len(several), several)
            )
            | st.lists(inner, min_size=2, max_size=2).map(lambda several: qml.Hamiltonian(np.array([-0.0, 1]), several))
        ),
        max_leaves=5,
    )


MEASUREMENTS = st.one_of(
    observables().map(lambda observable: ExpectationMP(observable)),
    st.sampled_from([*every_kind.measurements().values(), qml.probs(wires=[True, 2])]),
)

SHOTS = st.sampled_from([None, 1, 100, (10, 10, 5), ((7, 2), 7)])


@st.composite
def circuits(draw: Any) -> QuantumScript:
    """Circuits, with some of their gates twice, and any of their parameters trainable."""
    operations = draw(st.lists(gates(), max_size=5))
    operations += draw(st.lists(st.sampled_from(operations), max_size=2)) if operations else []
    measurements: list[MeasurementProcess] = draw(st.lists(MEASUREMENTS, max_size=2))
    circuit = QuantumScript(operations, measurements, shots=draw(SHOTS))
    count = len(circuit.par_info)
    some = st.sets(st.integers(0, count - 1)) if count else st.just(set())
    chosen = draw(st.none() | st.integers(0, count).map(range) | some)
    return circuit.copy(trainable_params=None if chosen is None else sorted(chosen))


def long_way(circuit: QuantumScript) -> str | None:
    """The text of a circuit the long way, or none if that is refused."""
    try:
        return drafted(circuit)
    except ConfigurationError:
        return None


@pytest.mark.slow
@given(circuits())
def test_a_circuit_is_written_as_the_long_way_does(circuit: QuantumScript) -> None:
    expected = long_way(circuit)
    if expected is None:
        with pytest.raises(ConfigurationError):
            circuit_text(circuit)
    else:
        assert [circuit_text(circuit) for _ in range(3)] == [expected] * 3  # by what is remembered too


@pytest.mark.slow
@given(st.data())
def test_circuits_of_one_structure_with_any_numbers_are_written_as_the_long_way_does(data: Any) -> None:
    kinds = data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
    wires = [data.draw(labels(kind.num_wires if isinstance(kind.num_wires, int) else 1)) for kind in kinds]
    for _ in range(4):
        numbers = [[data.draw(NUMBERS) for _ in range(kind.num_params)] for kind in kinds]
        gates = [kind(*given, wires=on) for kind, given, on in zip(kinds, numbers, wires, strict=True)]
        circuit = QuantumScript(gates, [qml.expval(qml.Z(0))], shots=data.draw(SHOTS))
        expected = long_way(circuit)
        if expected is not None:
            assert circuit_text(circuit) == expected


@pytest.mark.slow
@given(st.lists(circuits(), min_size=2, max_size=3), st.data())
def test_circuits_that_share_their_parts_are_written_as_each_alone(several: list[QuantumScript], data: Any) -> None:
    parts = st.lists(st.sampled_from([each for circuit in several for each in circuit.operations] or [qml.X(0)]))
    measurements = [each for circuit in several for each in circuit.measurements] or [qml.counts()]
    mixed = [QuantumScript(data.draw(parts), measurements, shots=shots) for shots in (None, 10)]
    sharing = [circuit for circuit in [*several, *mixed, *several] if long_way(circuit) is not None]
    assert circuit_texts(sharing) == [drafted(circuit) for circuit in sharing]


def test_circuits_of_every_kind_are_written_as_the_long_way_does_together_and_alone() -> None:
    operators = [QuantumScript([each]) for each in every_kind.operators().values()]
    measured = [QuantumScript([qml.H(0)], [each], shots=10) for each in every_kind.measurements().values()]
    others = [circuit for circuit in test_fingerprint.kinds().values() if long_way(circuit) is not None]
    several = [*operators, *measured, every_kind.dynamic(), *others, every_kind.dynamic(), *operators[:20]]
    expected = [drafted(circuit) for circuit in several]
    assert circuit_texts(several) == expected
    assert [circuit_text(circuit) for circuit in several] == expected


def test_mid_circuit_measurements_that_circuits_share_are_numbered_in_each() -> None:
    first, second = qml.ops.MidMeasure(0, meas_uid="1"), qml.ops.MidMeasure(1, meas_uid="2")
    then = qml.ops.Conditional(qml.ops.MeasurementValue([second]), qml.X(2))
    several = [QuantumScript(each) for each in ([first, second, then], [second, then], [second, first, then])]
    assert circuit_texts(several) == [drafted(circuit) for circuit in several]


def test_equal_labels_and_numbers_of_different_types_are_not_mixed_up() -> None:
    wires: list[Any] = [1, True, 1.0, np.int64(1), np.float64(1), (1, 2), (True, 2), (1.0, 2)]
    several = [QuantumScript([qml.RX(0.5, [wire]), qml.CNOT([0, wire]), qml.X([wire])]) for wire in wires * 2]
    several += [QuantumScript([qml.RZ(number, 0)]) for number in (0.0, -0.0, 0, False, 1.0, 1, True, np.nan, -np.inf)]
    assert [circuit_text(circuit) for circuit in several] == [drafted(circuit) for circuit in several]
    assert circuit_texts(several) == [drafted(circuit) for circuit in several]


def test_what_is_changed_in_place_is_written_as_it_is_now() -> None:
    angle, hamiltonian = np.array(0.1), qml.Hamiltonian(np.array([0.5, 0.25]), [qml.Z(0) @ qml.Z(1), qml.X(0)])
    circuit = QuantumScript([qml.RX(angle, 0), qml.RY(0.2, 0), qml.CRX(0.3, [0, 1])], [qml.expval(hamiltonian)])
    texts = [circuit_texts([circuit, circuit])[0]]
    angle[...] = 0.7
    texts.append(circuit_texts([circuit, circuit])[0])
    circuit.operations[1].data = (0.9,)
    circuit.operations[2].data = (0.4,)
    texts.append(circuit_text(circuit))
    circuit.operations[1].hyperparameters["more"] = 1
    texts.append(circuit_text(circuit))
    assert len(set(texts)) == len(texts)
    assert texts[-1] == drafted(circuit)


def test_circuits_that_come_again_with_other_numbers_are_written_as_the_long_way_does() -> None:
    hamiltonian = qml.Hamiltonian(np.array([0.5, 0.25]), [qml.Z(0) @ qml.Z("%s"), qml.X(0)])
    for wire in ("%s", 1, True):
        for angle in (0.1, -0.0, np.float64(1e-300), np.array(0.3), 2, np.nan, 0.4):
            gates = [qml.Rot(angle, 0.2, -angle, 0), qml.CRX(angle, [0, wire]), qml.H(wire)]
            for measurement in (qml.expval(hamiltonian), qml.var(hamiltonian), qml.expval(qml.Z(wire)), qml.probs()):
                for trainable in (None, [0, 1, 2, 3], [0, 1, 2, 3, 4, 5], [1]):
                    circuit = QuantumScript(gates, [measurement]).copy(trainable_params=trainable)
                    assert circuit_text(circuit) == drafted(circuit)


IN_OTHERS: dict[str, Callable[[Operator], Operator]] = {
    "alone": lambda hamiltonian: hamiltonian,
    "scaled": lambda hamiltonian: qml.s_prod(2.0, hamiltonian, lazy=True),
    "in a sum": lambda hamiltonian: qml.sum(hamiltonian, qml.s_prod(0.5, qml.X(1))),
    "in a product": lambda hamiltonian: qml.prod(hamiltonian, qml.s_prod(0.5, qml.Y(1))),
    "adjoint": lambda hamiltonian: qml.adjoint(hamiltonian),
    "power": lambda hamiltonian: qml.pow(hamiltonian, 2),
    "exponential": lambda hamiltonian: qml.exp(hamiltonian, 0.5),
    "in a Hamiltonian": lambda hamiltonian: qml.Hamiltonian([0.3], [hamiltonian]),
}


@pytest.mark.parametrize("made_of", [np.array, list])
@pytest.mark.parametrize("within", IN_OTHERS.values(), ids=IN_OTHERS)
def test_hamiltonians_whose_coefficients_were_changed_in_place_are_seen_to_be_others(
    within: Callable[[Operator], Operator], made_of: Callable[[list[float]], Any]
) -> None:
    coefficients = made_of([0.5, 0.25])
    observable = within(qml.Hamiltonian(coefficients, [qml.Z(0), qml.X(0)]))
    circuit = QuantumScript([qml.RX(0.1, 0)], [qml.expval(observable)])
    text, structure, matches = circuit_text(circuit), measured_by(circuit), StructureMatcher(circuit)
    assert circuit_text(circuit) == text
    coefficients[0] = -0.5
    assert not matches(circuit)
    fresh = QuantumScript([], [qml.expval(within(qml.Hamiltonian([-0.5, 0.25], [qml.Z(0), qml.X(0)])))])
    assert len({structure, measured_by(circuit), measured_by(fresh)}) == 3  # PennyLane computes with both numbers
    with pytest.raises(ConfigurationError, match="make a new Hamiltonian"):
        circuit_text(circuit)
    coefficients[0] = 0.5
    assert matches(circuit)
    assert (circuit_text(circuit), measured_by(circuit)) == (text, structure)


@pytest.mark.parametrize(("before", "after"), [(0.0, -0.0), (1, 1.0)])
def test_numbers_that_are_equal_and_written_in_another_way_are_seen_to_be_others(before: Any, after: Any) -> None:
    coefficients = [before, 0.25]
    circuit = QuantumScript([], [qml.expval(qml.Hamiltonian(coefficients, [qml.Z(0), qml.X(0)]))])
    assert circuit_text(circuit) == drafted(circuit)
    coefficients[0] = after
    assert circuit_text(circuit) == drafted(circuit)


@pytest.mark.parametrize("operator", [qml.Hamiltonian([1.0, 0.5], [qml.Z(0), qml.X(0)]), qml.Z(0) + qml.X(0)])
def test_groups_that_pennylane_works_out_when_a_sum_is_measured_are_not_written(operator: Any) -> None:
    circuit = QuantumScript([qml.RX(0.1, 0)], [qml.expval(operator)], shots=10)
    before = circuit_text(circuit)
    operator.compute_grouping()
    assert circuit_text(circuit) == before == drafted(circuit)


def test_gates_of_others_are_refused_among_those_of_pennylane() -> None:
    circuit = QuantumScript([qml.RX(0.1, 0), Custom(0.1, 0)])
    with pytest.raises(ConfigurationError, match="operation 1 of the circuit, Custom, cannot be stored"):
        circuit_texts([QuantumScript([qml.RX(0.1, 0)]), circuit])


@pytest.mark.filterwarnings("ignore:The 'id' argument")
def test_the_id_of_a_gate_is_not_written() -> None:
    assert circuit_text(QuantumScript([qml.RX(0.1, 0, id="mine")])) == circuit_text(QuantumScript([qml.RX(0.1, 0)]))


def test_whole_numbers_of_thousands_of_digits_are_refused_as_the_long_way_does() -> None:
    for operation in (qml.RX(10**5000, 0), qml.X(10**5000)):
        with pytest.raises(ConfigurationError, match="leave such numbers out"):
            circuit_text(QuantumScript([operation]))
    with pytest.raises(ConfigurationError, match="leave such numbers out"):
        result_text((10**5000,))


@pytest.mark.slow
@given(RESULTS)
def test_a_result_is_written_as_the_long_way_does(result: Any) -> None:
    assert result_text(result) == text_of("result", {"result": result_form(result)})


@settings(max_examples=25)
@given(st.lists(NUMBERS, max_size=4), st.dictionaries(st.text(), st.integers() | st.integers(0, 9).map(np.int64)))
def test_usual_results_are_written_as_the_long_way_does(numbers: list[Any], counts: dict[str, Any]) -> None:
    jacobian = (tuple(numbers), (np.linspace(0, 1, 3), np.zeros((2, 0)), np.ones((2, 3)).T))
    for result in (
        *numbers,
        tuple(numbers),
        jacobian,
        counts,
        [counts, jacobian],
        np.arange(65.0),
        [[[[[[[[0.5]]]]]]]],
    ):
        assert result_text(result) == text_of("result", {"result": result_form(result)})


def gradient(seed: int, gates: int = 12, measured: Any = None) -> list[QuantumScript]:
    """Circuits of one structure, with numbers and objects of their own, as a gradient that was prepared has them."""
    rng = np.random.default_rng(seed)

    def one() -> QuantumScript:
        numbers = rng.uniform(-3, 3, 3 * gates)
        rotations = [qml.RX(np.array(numbers[3 * wire]), wire) for wire in range(gates)]
        turns = [qml.Rot(*map(float, numbers[3 * wire : 3 * wire + 3]), wire) for wire in range(gates)]
        bound = [qml.CRX(numbers[3 * wire + 1], [wire, wire + 1]) for wire in range(gates - 1)]
        observable = qml.Hamiltonian([0.5, 0.25], [qml.Z(0) @ qml.X(1), qml.Y(2)]) if measured is None else measured
        letters = [qml.H(0), qml.CNOT([0, 1])]
        return QuantumScript([*rotations, *letters, *turns, *bound], [qml.expval(observable)], shots=100)

    return [one() for _ in range(7)]


def test_circuits_of_one_structure_are_written_as_the_long_way_does() -> None:
    shared = qml.Z(0) @ qml.Z(1)
    for circuits in (gradient(1), gradient(2, measured=shared), [*gradient(3), *gradient(4, gates=5), *gradient(5)]):
        assert circuit_texts(circuits) == list(map(drafted, circuits))


@pytest.mark.parametrize("number", [0.0, -0.0, 1e-5, 1e300, 5e-324, np.inf, np.nan, 3, 2**70])
def test_odd_numbers_among_circuits_of_one_structure_are_written_as_the_long_way_does(number: Any) -> None:
    circuits = gradient(6)
    circuits[4] = _with(circuits[4], 3, qml.RX(number, 3))
    assert circuit_texts(circuits) == list(map(drafted, circuits))


def test_labels_that_are_equal_but_of_other_types_are_not_mixed_up() -> None:
    circuits = gradient(7)
    circuits[5] = _with(circuits[5], 1, qml.RX(0.1, True))
    assert circuit_texts(circuits) == list(map(drafted, circuits))


def test_which_parameters_are_trainable_is_written_for_each_circuit() -> None:
    circuits = gradient(8)
    for index, circuit in enumerate(circuits):
        circuit.trainable_params = list(range(index))
    assert circuit_texts(circuits) == list(map(drafted, circuits))


def _with(circuit: QuantumScript, index: int, operation: Operator) -> QuantumScript:
    operations = list(circuit.operations)
    operations[index] = operation
    return QuantumScript(operations, circuit.measurements, shots=circuit.shots)
