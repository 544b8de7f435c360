"""Quantum programs as plain data: at most 4 wires and 12 operations, and what PennyLane makes of them.

A program knows nothing of devices. ``function`` makes it the quantum function that a user would have written;
``drawing.py`` draws programs at random, ``theory.py`` says what is right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.operation import Operator

LABELS: tuple[tuple[Any, ...], ...] = ((0, 1, 2, 3), ("a", "b", "c", "d"), ("q", 7, -1, "aux"), (3, 1, 0, 2))
"""Names of wires: those of each row are used from the left."""

SPARE = "spare"
"""The label of one more wire, which the Hadamard test needs."""

STEP = 0.37
"""The difference between neighbouring values of a batch."""


@dataclass(frozen=True)
class Number:
    """A factor times 1, times an argument, or times what a nested QNode makes of an argument: its cosine."""

    factor: float
    argument: int | None = None
    nested: bool = False


@dataclass(frozen=True)
class Gate:
    """An operation.

    Attributes:
        name: see ``GATES``.
        wires: positions of wires.
        numbers: its parameters.
        seed: of matrices, words and states.
        wrapper: ``""``, ``"adjoint"``, ``"pow"``; or ``"ctrl"``, by the first wire.
        condition: number of a mid-circuit measurement, and the outcome it must have had.
    """

    name: str
    wires: tuple[int, ...]
    numbers: tuple[Number, ...] = ()
    seed: int = 0
    wrapper: str = ""
    condition: tuple[int, int] | None = None


@dataclass(frozen=True)
class MidMeasure:
    """A measurement in the middle of a circuit."""

    wire: int
    reset: bool = False
    postselect: int | None = None


@dataclass(frozen=True)
class Observable:
    """An observable: ``"word"`` (Pauli letters), ``"hermitian"``, ``"projector"``, ``"hamiltonian"`` or ``"sum"``.

    Attributes:
        kind: which of these.
        wires: positions of wires.
        word: letters, or bits of a projector.
        seed: of a Hermitian matrix.
        numbers: coefficients; their arguments are those of the program's coefficients.
        terms: words, as many.
    """

    kind: str
    wires: tuple[int, ...] = ()
    word: str = ""
    seed: int = 0
    numbers: tuple[Number, ...] = ()
    terms: tuple[Observable, ...] = ()


@dataclass(frozen=True)
class Measured:
    """What is returned: the kind of measurement, and of what.

    Attributes:
        kind: a function of PennyLane's.
        observable: the observable, if it is one that is measured.
        wires: positions of wires, if it is wires; ``None`` for all there are.
        mid: numbers of mid-circuit measurements, if it is these.
        other: the second part of a mutual information.
        all_outcomes: of counts.
        seed: of classical shadows.
    """

    kind: str
    observable: Observable | None = None
    wires: tuple[int, ...] | None = None
    mid: tuple[int, ...] = ()
    other: tuple[int, ...] = ()
    all_outcomes: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Program:
    """A quantum function of arguments ``x`` and coefficients ``c``.

    Attributes:
        wires: how many.
        operations: gates and mid-circuit measurements, in order.
        measurements: what it returns: a tuple, or the only one.
        arguments: the values of ``x``.
        coefficients: the values of ``c``.
        batch: if it is called with a batch of arguments, how many.
        labels: which names of wires.
    """

    wires: int
    operations: tuple[Gate | MidMeasure, ...]
    measurements: tuple[Measured, ...]
    arguments: tuple[float, ...] = ()
    coefficients: tuple[float, ...] = ()
    batch: int | None = None
    labels: int = 0

    @property
    def names(self) -> tuple[Any, ...]:
        """The labels of its wires."""
        return LABELS[self.labels][: self.wires]

    @property
    def x(self) -> np.ndarray:
        """The arguments, of shape ``(arguments,)``, or ``(arguments, batch)``."""
        x = np.array(self.arguments, dtype=float)
        return x if self.batch is None else x[:, None] + STEP * np.arange(self.batch)

    @property
    def c(self) -> np.ndarray:
        """The coefficients, of shape ``(coefficients,)``."""
        return np.array(self.coefficients, dtype=float)

    @property
    def mid_measures(self) -> tuple[MidMeasure, ...]:
        """Its mid-circuit measurements."""
        return tuple(one for one in self.operations if isinstance(one, MidMeasure))

    @property
    def has_channels(self) -> bool:
        """Whether it has noise of its own, which devices for pure states have not."""
        return any(isinstance(one, Gate) and one.name in CHANNELS for one in self.operations)


def _unitary(seed: int, wires: int) -> np.ndarray:
    normal = np.random.default_rng(seed).normal(size=(2, 2**wires, 2**wires))
    q, r = np.linalg.qr(normal[0] + 1j * normal[1])
    return q * (np.diag(r) / np.abs(np.diag(r)))


def _hermitian(seed: int, wires: int) -> np.ndarray:
    normal = np.random.default_rng(seed).normal(size=(2, 2**wires, 2**wires))
    matrix = normal[0] + 1j * normal[1]
    return (matrix + matrix.conj().T) / 4


def _state(seed: int, wires: int) -> np.ndarray:
    return _unitary(seed, wires)[0]


def _word(seed: int, wires: int) -> str:
    return "".join(np.random.default_rng(seed).choice(list("XYZ"), size=wires))


def _bits(seed: int, wires: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2, size=wires)


def _two_terms(wires: Sequence[Any]) -> Operator:
    return qml.dot([0.7, -0.4], [qml.X(wires[0]) @ qml.X(wires[-1]), qml.Z(wires[0])])


def _generator(wire: Any, seed: int) -> Operator:
    if seed % 4 == 0:
        return qml.X(wire) + 0.5 * qml.Z(wire)
    return qml.X(wire) if seed % 4 < 3 else 0.7 * qml.Y(wire)


def _plain(name: str) -> Callable[..., Operator]:
    def make(wires: Sequence[Any], numbers: Sequence[Any], seed: int) -> Operator:
        return getattr(qml, name)(*numbers, wires=wires)

    return make


# name: (wires, parameters); wires 0 stands for any number of at least one
_SIMPLE = {
    "H": (1, 0), "X": (1, 0), "Y": (1, 0), "Z": (1, 0), "S": (1, 0), "T": (1, 0), "SX": (1, 0),
    "RX": (1, 1), "RY": (1, 1), "RZ": (1, 1), "PhaseShift": (1, 1), "U1": (1, 1), "Rot": (1, 3), "U2": (1, 2),
    "U3": (1, 3), "CNOT": (2, 0), "CZ": (2, 0), "CY": (2, 0), "CH": (2, 0), "SWAP": (2, 0), "ISWAP": (2, 0),
    "SISWAP": (2, 0), "ECR": (2, 0), "CRX": (2, 1), "CRY": (2, 1), "CRZ": (2, 1), "CRot": (2, 3),
    "ControlledPhaseShift": (2, 1), "IsingXX": (2, 1), "IsingYY": (2, 1), "IsingZZ": (2, 1), "IsingXY": (2, 1),
    "PSWAP": (2, 1), "SingleExcitation": (2, 1), "SingleExcitationPlus": (2, 1), "FermionicSWAP": (2, 1),
    "Toffoli": (3, 0), "CSWAP": (3, 0), "CCZ": (3, 0), "DoubleExcitation": (4, 1), "QFT": (0, 0),
    "MultiRZ": (0, 1), "Identity": (0, 0), "Barrier": (0, 0),
}  # fmt: skip
_CHANNELS = {"DepolarizingChannel": 0.6, "AmplitudeDamping": 1.0, "PhaseDamping": 1.0, "BitFlip": 1.0}

_MADE: dict[str, tuple[int, int, Callable[..., Operator]]] = {
    "GlobalPhase": (0, 1, lambda wires, numbers, seed: qml.GlobalPhase(numbers[0], wires=wires)),
    "PauliRot": (0, 1, lambda wires, numbers, seed: qml.PauliRot(numbers[0], _word(seed, len(wires)), wires)),
    "QubitUnitary": (0, 0, lambda wires, numbers, seed: qml.QubitUnitary(_unitary(seed, len(wires)), wires)),
    "DiagonalQubitUnitary": (
        0, 0, lambda wires, numbers, seed: qml.DiagonalQubitUnitary(np.exp(1j * np.arange(2 ** len(wires))), wires),
    ),
    "ControlledQubitUnitary": (2, 0, lambda wires, numbers, seed: qml.ControlledQubitUnitary(_unitary(seed, 1), wires)),
    "GroverOperator": (3, 0, lambda wires, numbers, seed: qml.GroverOperator(wires)),
    "TrotterProduct": (
        2, 1, lambda wires, numbers, seed: qml.TrotterProduct(_two_terms(wires), numbers[0], n=2, order=2),
    ),
    "ApproxTimeEvolution": (
        2, 1, lambda wires, numbers, seed: qml.ApproxTimeEvolution(_two_terms(wires), numbers[0], 1),
    ),
    "evolve": (1, 1, lambda wires, numbers, seed: qml.evolve(_generator(wires[0], seed), numbers[0])),
    "QuantumPhaseEstimation": (
        3, 0, lambda wires, numbers, seed: qml.QuantumPhaseEstimation(
            qml.RZ(0.1 + seed, wires[0]), estimation_wires=wires[1:]
        ),
    ),
    "AngleEmbedding": (
        2, 2, lambda wires, numbers, seed: qml.AngleEmbedding(qml.math.stack(numbers), wires, rotation="XYZ"[seed % 3]),
    ),
    "BasicEntanglerLayers": (
        2, 2, lambda wires, numbers, seed: qml.BasicEntanglerLayers(qml.math.stack([qml.math.stack(numbers)]), wires),
    ),
    "StronglyEntanglingLayers": (
        3, 0, lambda wires, numbers, seed: qml.StronglyEntanglingLayers(
            np.random.default_rng(seed).uniform(0, 3, (1, 3, 3)), wires
        ),
    ),
    "FlipSign": (2, 0, lambda wires, numbers, seed: qml.FlipSign(_bits(seed, 2), wires)),
    "Permute": (3, 0, lambda wires, numbers, seed: qml.Permute([wires[2], wires[0], wires[1]], wires)),
    "prod": (2, 1, lambda wires, numbers, seed: qml.prod(qml.RX(numbers[0], wires[0]), qml.Y(wires[1]))),
    **{
        name: (1, 1, lambda wires, numbers, seed, name=name: getattr(qml, name)(numbers[0], wires=wires))
        for name in _CHANNELS
    },
}  # fmt: skip

_PREPARED: dict[str, tuple[int, int, Callable[..., Operator]]] = {
    "BasisState": (0, 0, lambda wires, numbers, seed: qml.BasisState(_bits(seed, len(wires)), wires)),
    "StatePrep": (0, 0, lambda wires, numbers, seed: qml.StatePrep(_state(seed, len(wires)), wires)),
    "AmplitudeEmbedding": (
        0, 0, lambda wires, numbers, seed: qml.AmplitudeEmbedding(2 * _state(seed, len(wires)), wires, normalize=True),
    ),
    "MottonenStatePreparation": (
        0, 0, lambda wires, numbers, seed: qml.MottonenStatePreparation(_state(seed, len(wires)), wires),
    ),
}  # fmt: skip

GATES: dict[str, tuple[int, int, Callable[..., Operator]]] = {
    **{name: (*sizes, _plain(name)) for name, sizes in _SIMPLE.items()},
    **_MADE,
    **_PREPARED,
}
"""How many wires (0: any number) and parameters a gate has, and what makes it of wires, parameters and a seed."""

PREPARATIONS = frozenset(_PREPARED)
"""Gates that only begin a circuit."""

CHANNELS = frozenset(_CHANNELS)
"""Gates that are noise."""

STACKED = frozenset({"AngleEmbedding", "BasicEntanglerLayers"})
"""Gates whose parameters are one array, which has the batch first."""


def operator(gate: Gate, values: Sequence[Any], names: Sequence[Any]) -> Operator:
    """The operator of a gate, without its condition."""
    wires = [names[position] for position in gate.wires]
    make = GATES[gate.name][2]
    if gate.wrapper == "ctrl":
        return qml.ctrl(make(wires[1:], values, gate.seed), control=wires[0])
    made = make(wires, values, gate.seed)
    if gate.wrapper == "adjoint":
        return qml.adjoint(made)
    return qml.pow(made, 2) if gate.wrapper == "pow" else made


def observable(measured: Observable, c: Any, names: Sequence[Any]) -> Operator:
    """The operator of an observable."""
    wires = [names[position] for position in measured.wires]
    if measured.kind == "word":
        factors = [getattr(qml, letter)(wire) for letter, wire in zip(measured.word, wires, strict=True)]
        return factors[0] if len(factors) == 1 else qml.prod(*factors)
    if measured.kind == "hermitian":
        return qml.Hermitian(_hermitian(measured.seed, len(wires)), wires)
    if measured.kind == "projector":
        return qml.Projector([int(bit) for bit in measured.word], wires)
    coefficients = [one.factor if one.argument is None else one.factor * c[one.argument] for one in measured.numbers]
    terms = [observable(term, c, names) for term in measured.terms]
    if measured.kind == "hamiltonian":
        return qml.Hamiltonian(coefficients, terms)
    return qml.sum(*(qml.s_prod(one, term) for one, term in zip(coefficients, terms, strict=True)))


def _nested(angle: Any) -> Any:
    """What a QNode on a plain device makes of an angle: its cosine."""

    @qml.qnode(qml.device("default.qubit", wires=1))
    def inner(angle: Any) -> Any:
        qml.H(0)
        qml.RZ(angle, 0)
        return qml.expval(qml.X(0))  # of which PennyLane makes operators while the other one is recorded

    return inner(angle)


def _value(number: Number, x: Any) -> Any:
    if number.argument is None:
        return number.factor
    value = x[number.argument]
    return number.factor * (_nested(value) if number.nested else value)


def function(program: Program) -> Callable[[Any, Any], Any]:
    """The quantum function, of ``x`` and ``c``, as a user would have written it."""
    names = program.names

    def program_as_written(x: Any, c: Any) -> Any:
        outcomes: list[Any] = []
        for step in program.operations:
            if isinstance(step, MidMeasure):
                outcomes.append(qml.measure(names[step.wire], reset=step.reset, postselect=step.postselect))
                continue
            values = [_value(number, x) for number in step.numbers]
            if step.condition is None:
                operator(step, values, names)
            else:
                number, outcome = step.condition
                qml.cond(outcomes[number] == outcome, lambda: operator(step, values, names))()  # noqa: B023
        returned = [process(one, c, names, outcomes) for one in program.measurements]
        return returned[0] if len(returned) == 1 else tuple(returned)

    return program_as_written


def process(measured: Measured, c: Any, names: Sequence[Any], outcomes: Sequence[Any]) -> Any:
    """The measurement process of what is returned."""
    make = getattr(qml, measured.kind)
    options: dict[str, Any] = {"all_outcomes": True} if measured.all_outcomes else {}
    if measured.mid:
        mid = [outcomes[number] for number in measured.mid]
        return make(op=mid[0] if len(mid) == 1 and measured.kind != "probs" else mid, **options)
    if measured.observable is not None:
        made = observable(measured.observable, c, names)
        return make(made, seed=measured.seed) if measured.kind == "shadow_expval" else make(op=made, **options)
    if measured.kind == "state":
        return make()
    wires = None if measured.wires is None else [names[position] for position in measured.wires]
    if measured.kind == "mutual_info":
        return make(wires, [names[position] for position in measured.other])
    if measured.kind == "classical_shadow":
        return make(wires, seed=measured.seed)
    return make(wires=wires, **options)
