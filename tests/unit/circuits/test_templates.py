"""Circuits of one structure become one template; nothing that differs in more than numbers does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.fingerprint import fingerprint
from pennylane_qexec.circuits.structure import wire_labels
from pennylane_qexec.circuits.templates import Fused, Group, fuse, unfused

Z = [qml.expval(qml.Z(0))]


def script(*operations: Any, measurements: Any = Z, shots: Any = None) -> QuantumScript:
    return QuantumScript(operations, measurements, shots=shots)


def rebuilt(groups: list[Fused]) -> list[QuantumScript]:
    """The circuits that groups stand for, in order."""
    number = sum(len(group.indices) for group in groups)
    return unfused(((group, [group.template.bind(row) for row in group.parameters]) for group in groups), number)


def shifted(layers: int = 2, shots: int | None = 100) -> list[QuantumScript]:
    """The circuits of a gradient, as PennyLane makes them."""
    rng = np.random.default_rng(1)
    operations: list[Any] = []
    for _ in range(layers):
        operations += [gate(rng.random(), wire) for wire in range(3) for gate in (qml.RX, qml.RZ)]
        operations += [qml.CRY(rng.random(), [0, 1]), qml.CNOT([1, 2]), qml.Rot(*rng.random(3), 2)]
    circuit = script(*operations, shots=shots)
    return list(qml.gradients.param_shift(circuit)[0])


def test_the_circuits_of_a_gradient_are_one_template_and_a_matrix() -> None:
    circuits = shifted()
    (group,) = fuse([circuit for circuit in circuits if len(circuit.operations) == len(circuits[0].operations)])
    assert group.parameters.shape == (len(circuits), 20)
    assert group.indices == tuple(range(len(circuits)))


def test_every_circuit_comes_back_as_it_was() -> None:
    circuits = shifted() + shifted(layers=1) + shifted(shots=None)
    circuits = [circuits[index] for index in np.random.default_rng(2).permutation(len(circuits))]
    groups = fuse(circuits)
    assert len(groups) == 3
    for before, after in zip(circuits, rebuilt(groups), strict=True):
        after.trainable_params = before.trainable_params
        assert fingerprint(after) == fingerprint(before)


ALIKE = {
    "other angles": (script(qml.RX(0.1, 0)), script(qml.RX(0.2, 0))),
    "an integer and a numpy number": (script(qml.RX(1, 0)), script(qml.RX(np.float64(0.2), 0))),
    "gates built anew": (script(qml.CNOT([0, 1]), qml.RZ(1.0, 1)), script(qml.CNOT([0, 1]), qml.RZ(2.0, 1))),
    "a gate inverted": (script(qml.adjoint(qml.RX(0.1, 0))), script(qml.adjoint(qml.RX(0.4, 0)))),
    "a gate controlled": (
        script(qml.ctrl(qml.IsingXX(0.1, [0, 1]), [2, 3])),
        script(qml.ctrl(qml.IsingXX(0.7, [0, 1]), [2, 3])),
    ),
    "Pauli rotations": (script(qml.PauliRot(0.1, "XY", [0, 1])), script(qml.PauliRot(0.2, "XY", [0, 1]))),
    "equal unitaries": (script(qml.QubitUnitary(np.eye(2), 0)), script(qml.QubitUnitary(np.eye(2), 0))),
    "equal observables": (
        script(measurements=[qml.expval(qml.Hamiltonian([0.5, 2.0], [qml.X(0), qml.Z(0) @ qml.Z(1)]))]),
        script(measurements=[qml.expval(qml.Hamiltonian([0.5, 2.0], [qml.X(0), qml.Z(0) @ qml.Z(1)]))]),
    ),
    "equal shot vectors": (script(qml.RX(0.1, 0), shots=[10, 10, 20]), script(qml.RX(0.3, 0), shots=[10, 10, 20])),
}


@pytest.mark.parametrize("pair", ALIKE.values(), ids=ALIKE)
def test_of_one_structure_are_circuits_with(pair: tuple[QuantumScript, QuantumScript]) -> None:
    (group,) = fuse(pair)
    assert group.template.key is not None
    assert [fingerprint(one) for one in map(_floats, rebuilt([group]))] == [fingerprint(_floats(one)) for one in pair]


def _floats(circuit: QuantumScript) -> QuantumScript:
    """The circuit with integers in its gates as numbers with a point."""
    parameters = circuit.get_parameters(trainable_only=False, operations_only=True)
    indices = [index for index, value in enumerate(parameters) if np.ndim(value) == 0]
    floats = circuit.bind_new_parameters([float(parameters[index]) for index in indices], indices)
    floats.trainable_params = []
    return floats


DIFFERENT = {
    "other wires": (script(qml.RX(0.1, 0)), script(qml.RX(0.1, 1))),
    "other control wires": (script(qml.CNOT([0, 1])), script(qml.CNOT([2, 1]))),
    "the wires of a controlled gate swapped": (script(qml.CRX(0.1, [0, 1])), script(qml.CRX(0.1, [1, 0]))),
    "other control values": (
        script(qml.ctrl(qml.RX(0.1, 0), [1], control_values=[0])),
        script(qml.ctrl(qml.RX(0.1, 0), [1], control_values=[1])),
    ),
    "another gate": (script(qml.RX(0.1, 0)), script(qml.RY(0.1, 0))),
    "another gate inverted": (script(qml.adjoint(qml.S(0))), script(qml.adjoint(qml.T(0)))),
    "another power": (script(qml.pow(qml.X(0), 0.5)), script(qml.pow(qml.X(0), 0.25))),
    "another Pauli word": (script(qml.PauliRot(0.1, "XY", [0, 1])), script(qml.PauliRot(0.1, "YX", [0, 1]))),
    "another unitary": (script(qml.QubitUnitary(np.eye(2), 0)), script(qml.QubitUnitary(np.diag([1, -1]), 0))),
    "another state": (script(qml.BasisState([0, 1], [0, 1])), script(qml.BasisState([1, 1], [0, 1]))),
    "another observable": (script(), script(measurements=[qml.expval(qml.X(0))])),
    "another wire measured": (script(), script(measurements=[qml.expval(qml.Z(1))])),
    "another measurement": (script(), script(measurements=[qml.var(qml.Z(0))])),
    "measurements in another order": (
        script(measurements=[qml.expval(qml.X(0)), qml.expval(qml.Z(1))]),
        script(measurements=[qml.expval(qml.Z(1)), qml.expval(qml.X(0))]),
    ),
    "another coefficient": (
        script(measurements=[qml.expval(2 * qml.X(0))]),
        script(measurements=[qml.expval(3 * qml.X(0))]),
    ),
    "other shots": (script(shots=10), script(shots=20)),
    "a shot vector of the same sum": (script(shots=20), script(shots=[10, 10])),
    "all outcomes counted": (
        script(measurements=[qml.counts(wires=[0])], shots=5),
        script(measurements=[qml.counts(wires=[0], all_outcomes=True)], shots=5),
    ),
    "another rotation as the observable": (
        script(measurements=[qml.expval(qml.RX(0.1, 0))]),
        script(measurements=[qml.expval(qml.RX(0.7, 0))]),
    ),
    "samples of another type": (
        script(measurements=[qml.sample(wires=0, dtype="int8")], shots=5),
        script(measurements=[qml.sample(wires=0, dtype="int16")], shots=5),
    ),
    "an array and numbers in another order": (
        script(qml.Rot(0.1, 0.2, 0.3, 0), qml.Rot(*np.ones((3, 2)), 0)),
        script(qml.Rot(*np.ones((3, 2)), 0), qml.Rot(0.1, 0.2, 0.3, 0)),
    ),
    "another complex number": (
        script(qml.exp(qml.X(0), np.complex128(0.3j))),
        script(qml.exp(qml.X(0), np.complex128(0.9j))),
    ),
    "one gate more": (script(qml.RX(0.1, 0)), script(qml.RX(0.1, 0), qml.RX(0.1, 0))),
}


@pytest.mark.parametrize("pair", DIFFERENT.values(), ids=DIFFERENT)
def test_of_two_structures_are_circuits_with(pair: tuple[QuantumScript, QuantumScript]) -> None:
    groups = fuse(pair)
    assert [group.indices for group in groups] == [(0,), (1,)]
    assert len({group.template.key for group in groups}) == 2


class Scaled(qml.operation.Operation):
    """A rotation by an angle times an attribute, which PennyLane knows nothing of."""

    num_params = 1
    num_wires = 1

    def __init__(self, angle: Any, wires: Any, scale: Any = 1.0) -> None:
        super().__init__(angle, wires=wires)
        self.scale = scale


class Doubled(qml.operation.Operation):
    """A rotation whose angle is not the number that it was built with."""

    num_params = 1
    num_wires = 1

    def __init__(self, angle: Any, wires: Any) -> None:
        super().__init__(2 * angle, wires=wires)


class Plain(qml.operation.Operation):
    """A rotation as users write them."""

    num_params = 1
    num_wires = 1


class Mean(qml.measurements.SampleMeasurement):
    """A measurement with an attribute, which PennyLane knows nothing of."""

    def __init__(self, scale: float) -> None:
        super().__init__(wires=qml.wires.Wires([0]))
        self.scale = scale

    def process_samples(self, samples: Any, *_: Any) -> Any:
        return self.scale * samples.mean()

    def process_counts(self, *_: Any) -> Any:
        raise NotImplementedError


def of_new_class(sign: int) -> Any:
    """An observable whose class has the name of others, as in a cell of a notebook that is run again."""

    class Observable(qml.operation.Operator):
        num_wires = 1

        @staticmethod
        def compute_matrix() -> Any:
            return np.diag([sign, 1])

    return Observable(0)


@pytest.mark.parametrize(
    "make",
    [
        lambda x: script(Scaled(0.1, 0, x)),
        lambda x: script(qml.ctrl(Scaled(x, 0, 2.0), 1)),
        lambda x: script(Doubled(x, 0)),
        lambda x: script(measurements=[Mean(x)], shots=5),
        lambda x: script(measurements=[qml.expval(of_new_class(x))]),
        lambda x: script(measurements=[qml.expval(of_new_class(x) @ qml.Z(1))]),
    ],
)
def test_what_users_write_is_not_taken_for_something_else(make: Any) -> None:
    groups = fuse([make(0.5), make(0.25)])
    assert [group.indices for group in groups] == [(0,), (1,)]
    assert groups[0].template.key != groups[1].template.key
    assert groups[0].parameters.size == 0


def test_operations_that_users_write_are_of_one_structure() -> None:
    (group,) = fuse([script(qml.ctrl(Plain(angle, 0), 1)) for angle in (0.1, 0.2)])
    assert group.parameters.tolist() == [[0.1], [0.2]]


@pytest.mark.parametrize(
    "make",
    [
        lambda x: qml.Reflection(qml.RX(x, 0), x),
        lambda x: qml.QuantumPhaseEstimation(qml.RZ(x, 0), estimation_wires=[1]),
        lambda x: qml.AmplitudeAmplification(qml.RX(x, 0), qml.Z(0)),
        lambda x: qml.change_op_basis(qml.RX(x, 0), qml.RZ(2 * x, 0)),
        lambda x: qml.ApproxTimeEvolution(qml.Hamiltonian([x, 0.2], [qml.X(0), qml.Z(0)]), x, 2),
        lambda x: qml.TrotterProduct(qml.dot([x, 0.2], [qml.X(0), qml.Z(0)]), x, n=2),
        lambda x: qml.Select([qml.RX(x, 1), qml.RY(2 * x, 1)], control=0),
    ],
)
def test_operations_with_others_inside_come_back_as_they_were(make: Any) -> None:
    """PennyLane's copies of some of them with other numbers are mixtures of old and new."""
    circuits = [script(make(x)) for x in (0.3, 0.7)]
    for before, after in zip(circuits, rebuilt(fuse(circuits)), strict=True):
        assert np.allclose(qml.matrix(before.operations[0]), qml.matrix(after.operations[0]))


@pytest.mark.parametrize("odd", [np.complex128(0.3 + 2j), np.array(0.3 + 2j), None, "0.3"])
def test_what_is_no_real_number_is_made_none(odd: Any) -> None:
    first = qml.RX(0.1, 0)
    for circuits in ([script(qml.RX(0.2, 1)), script(qml.RX(odd, 1))], [script(first), script(first, qml.RX(odd, 1))]):
        assert len(fuse(circuits)) == 2
        assert fuse(circuits)[1].template.circuit is circuits[1]


def test_the_key_of_a_structure_is_the_same_in_another_batch() -> None:
    (one,), (other,) = fuse(shifted()), fuse(shifted()[3:7])
    assert one.template.key == other.template.key
    assert hash(one.template.key) == hash(other.template.key)


def test_large_arrays_that_differ_in_one_entry_are_two_structures() -> None:
    """PennyLane's own hash abbreviates arrays of more than 1,000 entries."""
    unitary = np.eye(64)
    other = np.eye(64)
    other[30:32, 30:32] = [[0, 1], [1, 0]]
    assert len(fuse([script(qml.QubitUnitary(one, range(6))) for one in (unitary, other)])) == 2


def by_themselves() -> dict[str, QuantumScript]:
    measured = qml.measure(0)
    with qml.queuing.AnnotatedQueue() as queue:
        conditional = qml.measure(0)
        qml.cond(conditional, qml.X)(1)
    return {
        "a mid-circuit measurement": script(*measured.measurements, measurements=[qml.expval(qml.Z(0))]),
        "a conditional gate": QuantumScript.from_queue(queue),
        "the outcome of a measurement": script(*measured.measurements, measurements=[qml.expval(measured)]),
    }


@pytest.mark.parametrize("name", by_themselves())
def test_by_itself_stays_a_circuit_with(name: str) -> None:
    circuit = by_themselves()[name]
    groups = fuse([circuit, circuit])
    assert [group.indices for group in groups] == [(0,), (1,)]
    assert all(group.template.key is None and group.template.circuit is circuit for group in groups)


def test_broadcasted_circuits_are_structures_with_their_arrays() -> None:
    wide = [script(qml.RX(np.array([0.1, x]), 0)) for x in (0.2, 0.2, 0.3)]
    assert [group.indices for group in fuse(wide)] == [(0, 1), (2,)]


def test_a_broadcasted_circuit_among_others_takes_nothing_from_them() -> None:
    circuits = [script(qml.RX(0.1, 0)), script(qml.RX(np.array([0.1, 0.2]), 0)), script(qml.RX(0.3, 0))]
    groups = fuse(circuits)
    assert sorted(index for group in groups for index in group.indices) == [0, 1, 2]
    assert [fingerprint(one) for one in rebuilt(groups)] == [fingerprint(one) for one in circuits]


@pytest.mark.parametrize("interface", ["autograd", "torch", "jax"])
def test_parameters_that_are_being_differentiated_are_left_alone(interface: str) -> None:
    seen = []

    def fusing(x: Any) -> Any:
        circuits = [script(qml.RX(x, 0)), script(qml.RX(2 * x, 0))]
        seen.append([group.template.key for group in fuse(circuits)])
        return x

    if interface == "autograd":
        qml.grad(fusing)(qml.numpy.array(0.1))
    elif interface == "torch":
        import torch

        fusing(torch.tensor(0.1, requires_grad=True))
    else:
        import jax

        jax.grad(fusing)(0.1)
    assert seen == [[None, None]]


def test_the_template_takes_symbols_for_parameters() -> None:
    from qiskit.circuit import Parameter

    (group,) = fuse([script(qml.RX(0.1, 0), qml.CRZ(0.2, [0, 1]))])
    symbols = [Parameter("a"), Parameter("b")]
    assert [operation.data[0] for operation in group.template.operations(symbols)] == symbols


GATES = (qml.CNOT, qml.CY, qml.CZ, qml.CH, qml.CSWAP, qml.Toffoli, qml.SWAP, qml.IsingXY, qml.CRX, qml.CRot, qml.Rot)


@pytest.mark.parametrize("gate", GATES)
def test_the_labels_of_wires_are_pennylanes(gate: Any) -> None:
    operation = gate(*[0.1] * gate.num_params, wires=["c", 0, 7][: gate.num_wires])
    assert wire_labels(operation) == operation.wires.labels


def test_circuits_with_arrays_of_their_own_are_compared_with_few_others(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0
    matches = Group.matches

    def counted(group: Group, circuit: QuantumScript) -> bool:
        nonlocal compared
        compared += 1
        return matches(group, circuit)

    monkeypatch.setattr(Group, "matches", counted)
    circuits = [
        QuantumScript([qml.RX(0.1 * row, 0), qml.PhaseShift(0.3, 1), qml.QubitUnitary(turn, 1)], [qml.expval(qml.Z(1))])
        for row in range(3)
        for turn in [qml.RZ(0.1 * place, 0).matrix() for place in range(50)]
    ]
    groups = fuse(circuits)
    assert [group.indices for group in groups] == [(place, place + 50, place + 100) for place in range(50)]
    assert np.allclose(groups[7].parameters, [[0.0, 0.3], [0.1, 0.3], [0.2, 0.3]])
    assert compared <= 4 * len(circuits)


def pool() -> list[QuantumScript]:
    """Circuits in which wires, arrays, settings, controls, observables and shots are alike or not, twice each."""
    turns = [qml.RZ(angle, 0).matrix() for angle in (0.1, 0.2)]
    gates: list[Callable[[], Any]] = [
        lambda: qml.RX(0.1, 0),
        lambda: qml.RX(0.2, 0),
        lambda: qml.RX(0.1, 1),
        lambda: qml.CRX(0.1, ["a", 0]),
        lambda: qml.CRX(0.1, [0, "a"]),
        lambda: qml.MultiControlledX([0, 1, 2], [True, False]),
        lambda: qml.MultiControlledX([0, 1, 2], [True, True]),
        lambda: qml.MultiControlledX([1, 0, 2], [False, True]),
        *(lambda turn=turn, wire=wire: qml.QubitUnitary(turn.copy(), wire) for turn in turns for wire in (0, 1)),
        *(lambda word=word: qml.PauliRot(0.1, word, [0, 1]) for word in ("XY", "YX")),
        *(lambda power=power: qml.pow(qml.T(0), power) for power in (0.3, 0.4)),
        *(lambda value=value: qml.ctrl(qml.RX(0.1, 0), 1, control_values=value) for value in ([0], [1])),
        *(lambda angle=angle: qml.adjoint(qml.RX(angle, 0), lazy=True) for angle in (0.1, 0.2)),
    ]
    measured: list[Callable[[], Any]] = [
        lambda: qml.expval(qml.Z(0)),
        lambda: qml.expval(qml.Z(1)),
        lambda: qml.var(qml.Z(0)),
        lambda: qml.expval(qml.Hamiltonian([0.5, 1.0], [qml.Z(0), qml.X(1)])),
        lambda: qml.expval(qml.Hamiltonian([0.25, 1.0], [qml.Z(0), qml.X(1)])),
        lambda: qml.expval(qml.Hermitian(np.eye(2), 0)),
        lambda: qml.expval(qml.Hermitian(2 * np.eye(2), 0)),
        lambda: qml.probs([0, 1]),
        lambda: qml.probs([1, 0]),
    ]
    once = [
        *[([gate], measure, None) for gate in gates for measure in (measured[0], measured[3])],
        *[([gate, gates[8]], measured[0], None) for gate in gates],
        *[([gates[0]], measure, shots) for measure in measured for shots in (None, 10, [10, 10])],
    ]
    return [QuantumScript([g() for g in made], [measure()], shots=shots) for made, measure, shots in once * 2]


def test_keys_are_equal_exactly_where_circuits_match() -> None:
    circuits = pool()
    keys = [Group(0, circuit).key for circuit in circuits]
    assert all(key is not None for key in keys)
    matching = 0
    for one, key in zip(circuits, keys, strict=True):
        group = Group(0, one)
        for other, others in zip(circuits, keys, strict=True):
            if [*map(type, one.operations)] == [*map(type, other.operations)]:
                same = group.matches(other)
                matching += same
                assert (key == others) == same, (one.operations, other.operations)
                assert not same or hash(key) == hash(others)
            else:
                assert key != others
    assert matching > 2 * len(circuits)
