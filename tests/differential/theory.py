"""What is right: programs computed with density matrices, by NumPy alone.

No device, recording, decomposition into native gates or transform takes part, so that what is wrong with these cannot
be wrong here too. Mid-circuit measurements branch: each branch has its outcomes and its part of the density matrix.
Derivatives are differences of five points, exact to about 1e-9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.operation import Operator

from differential import programs
from differential.programs import Gate, Measured, MidMeasure, Observable, Program

Branch = tuple[tuple[int, ...], np.ndarray]


class NotDerivable(ArithmeticError):
    """A quantity has no derivative there, or changes too fast to compute one."""


@dataclass(frozen=True)
class Right:
    """What is right for one measurement.

    Attributes:
        value: of an analytic device; ``None`` if there is none (classical shadows).
        values: what one shot can yield: numbers for an observable, rows of bits for wires; ``None`` if it cannot be
            read off single shots.
        probabilities: of these.
        spread: an upper limit of the standard deviation of the value of one shot.
        reach: an upper limit of the distance of one shot's value from the mean.
        weight: the probability of a shot to be left after postselection.
    """

    value: np.ndarray | None
    values: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    spread: float = 0.0
    reach: float = 0.0
    weight: float = 1.0


@lru_cache(maxsize=100)
def state_of(program: Program, x: tuple[float, ...], wires: tuple[Any, ...]) -> State:
    """The state at the end of a program; see :class:`State`."""
    return State(program, x, wires)


class State:
    """The density matrix at the end of a program, by outcomes of its mid-circuit measurements.

    Args:
        program: the program.
        x: its arguments, of shape ``(arguments,)``: not a batch.
        wires: the labels of all wires there are, in the order that a measurement without wires has.
    """

    def __init__(self, program: Program, x: Sequence[float], wires: Sequence[Any]) -> None:
        self.program, self.wires = program, tuple(wires)
        self._number = len(self.wires)
        ground = np.zeros((2**self._number,) * 2, dtype=complex)
        ground[0, 0] = 1
        branches: list[Branch] = [((), ground)]
        for step in program.operations:
            branches = self._measured(branches, step) if isinstance(step, MidMeasure) else self._done(branches, step, x)
        weight = sum(rho.trace().real for _, rho in branches)
        if weight < 1e-9:
            raise NotDerivable("nothing is left after postselection")
        self.weight = weight
        self.branches: list[Branch] = [(outcomes, rho / weight) for outcomes, rho in branches]
        self.rho: np.ndarray = sum((rho for _, rho in self.branches), np.zeros_like(ground))

    def _measured(self, branches: list[Branch], step: MidMeasure) -> list[Branch]:
        position = self.wires.index(self.program.names[step.wire])
        result = []
        for outcomes, rho in branches:
            for outcome in (0, 1) if step.postselect is None else (step.postselect,):
                projector = np.diag([1.0 - outcome, outcome]).astype(complex)
                left = _applied([projector], rho, [position], self._number)
                if step.reset and outcome:
                    left = _applied([np.array([[0, 1], [1, 0]], dtype=complex)], left, [position], self._number)
                if left.trace().real > 1e-14:
                    result.append(((*outcomes, outcome), left))
        return result

    def _done(self, branches: list[Branch], gate: Gate, x: Sequence[float]) -> list[Branch]:
        values = tuple([number_of(one, x) for one in gate.numbers])
        steps = _matrices(gate, values, self.program.names, self.wires)
        result = []
        for outcomes, rho in branches:
            if gate.condition is None or outcomes[gate.condition[0]] == gate.condition[1]:
                for matrices in steps:
                    rho = sum((one @ rho @ one.conj().T for one in matrices), np.zeros_like(rho))
            result.append((outcomes, rho))
        return result

    def _positions(self, wires: Sequence[Any]) -> list[int]:
        return [self.wires.index(wire) for wire in wires]

    def reduced(self, positions: Sequence[int]) -> np.ndarray:
        """The density matrix of some wires, in this order."""
        return _reduced(self.rho, positions, self._number)

    def right(self, measured: Measured, c: Sequence[float]) -> Right:
        """What is right for one measurement."""
        return replace(self._right(measured, c), weight=self.weight)

    def _right(self, measured: Measured, c: Sequence[float]) -> Right:
        if measured.mid:
            return self._of_outcomes(measured)
        if measured.observable is not None:
            return self._of_observable(measured, c)
        named = [self.program.names[position] for position in measured.wires or ()]
        positions = self._positions(named if measured.wires is not None else self.wires)
        rho = self.reduced(positions)
        if measured.kind in ("probs", "counts", "sample"):
            return _of_wires(measured, rho)
        if measured.kind == "classical_shadow":
            return Right(None)
        if measured.kind == "mutual_info":
            other = self._positions([self.program.names[position] for position in measured.other])
            parts = _entropy(rho) + _entropy(self.reduced(other))
            return Right(np.array(parts - _entropy(self.reduced([*positions, *other]))))
        analytic: dict[str, Callable[[np.ndarray], Any]] = {
            "state": np.array,
            "density_matrix": np.array,
            "purity": lambda rho: np.trace(rho @ rho).real,
            "vn_entropy": _entropy,
        }
        return Right(np.array(analytic[measured.kind](rho)))

    def _of_observable(self, measured: Measured, c: Sequence[float]) -> Right:
        assert measured.observable is not None
        matrix, wires = matrix_of(measured.observable, c, self.program.names)
        rho = self.reduced(self._positions(wires))
        values, vectors = np.linalg.eigh(matrix)
        probabilities = np.einsum("ij,ik,kj->j", vectors.conj(), rho, vectors).real.clip(0, 1)
        mean, square = probabilities @ values, probabilities @ values**2
        if measured.kind == "probs":
            return _of_eigenbasis(measured.observable, rho)
        value = square - mean**2 if measured.kind == "var" else mean
        spread, reach = np.sqrt(max(square - mean**2, 0.0)), float(max(abs(values - mean)))
        if measured.observable.numbers:
            # Terms may be measured in different shots: the standard deviations add up at worst.
            spread, reach = self._of_terms(measured.observable, c)
        if measured.kind == "shadow_expval":
            spread = reach = 3.0 ** len(measured.observable.wires) + abs(float(mean))
        return Right(np.array(value), values, probabilities, float(spread), reach)

    def _of_terms(self, sum_: Observable, c: Sequence[float]) -> tuple[float, float]:
        spread = reach = 0.0
        for number, term in zip(sum_.numbers, sum_.terms, strict=True):
            factor = abs(number.factor * (1 if number.argument is None else c[number.argument]))
            matrix, wires = matrix_of(term, c, self.program.names)
            mean = np.trace(matrix @ self.reduced(self._positions(wires))).real
            spread += factor * np.sqrt(max(1 - mean**2, 0.0))
            reach += 2 * factor
        return spread, reach

    def _of_outcomes(self, measured: Measured) -> Right:
        rows = np.array(list(product((0, 1), repeat=len(measured.mid))))
        probabilities = np.zeros(len(rows))
        for outcomes, rho in self.branches:
            row = [outcomes[number] for number in measured.mid]
            probabilities[int("".join(map(str, row)), 2)] += rho.trace().real
        if measured.kind in ("expval", "var"):
            mean = probabilities[1]
            value = mean if measured.kind == "expval" else mean * (1 - mean)
            return Right(np.array(value), np.array([0.0, 1.0]), probabilities, float(np.sqrt(mean * (1 - mean))), 1.0)
        return Right(probabilities, rows, probabilities)


def matrix_of(observable: Observable, c: Sequence[float], names: Sequence[Any]) -> tuple[np.ndarray, list[Any]]:
    """The matrix of an observable, and the labels of its wires, in the matrix's order."""
    wires = [names[position] for position in observable.wires]
    if observable.kind == "word":
        matrix = np.ones((1, 1), dtype=complex)
        for letter in observable.word:
            matrix = np.kron(matrix, _LETTERS[letter])
        return matrix, wires
    if observable.kind == "projector":
        matrix = np.zeros((2 ** len(wires),) * 2, dtype=complex)
        matrix[(int(observable.word, 2),) * 2] = 1
        return matrix, wires
    if observable.kind == "hermitian":
        return programs._hermitian(observable.seed, len(wires)), wires
    everywhere = list(dict.fromkeys(wire for term in observable.terms for wire in matrix_of(term, c, names)[1]))
    total = np.zeros((2 ** len(everywhere),) * 2, dtype=complex)
    for number, term in zip(observable.numbers, observable.terms, strict=True):
        factor = number.factor * (1 if number.argument is None else c[number.argument])
        matrix, there = matrix_of(term, c, names)
        total = total + factor * _expanded(matrix, [everywhere.index(wire) for wire in there], len(everywhere))
    return total, everywhere


_LETTERS = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]),
    "H": np.array([[1, 1], [1, -1]]) / np.sqrt(2),
}


def number_of(number: programs.Number, x: Sequence[float]) -> float:
    """The value of a parameter."""
    if number.argument is None:
        return number.factor
    value = float(x[number.argument])
    return number.factor * (np.cos(value) if number.nested else value)


@lru_cache(maxsize=2000)
def _matrices(
    gate: Gate, values: tuple[float, ...], names: tuple[Any, ...], wires: tuple[Any, ...]
) -> list[list[np.ndarray]]:
    """Kraus matrices of all wires, for each step of a gate."""
    given = [np.array(one) for one in values] if gate.name in programs.STACKED else values
    return [
        [_expanded(one, [wires.index(wire) for wire in op.wires], len(wires)) for one in kraus]
        for kraus, op in _kraus(programs.operator(gate, given, names))
    ]


def _kraus(op: Operator) -> list[tuple[list[np.ndarray], Operator]]:
    """Kraus matrices of an operator, or of what it decomposes into, each with the operator whose wires they are for."""
    if isinstance(op, qml.operation.Channel):
        return [([np.asarray(one, dtype=complex) for one in op.kraus_matrices()], op)]
    if isinstance(op, qml.operation.StatePrepBase):
        return [([_preparing(np.asarray(op.state_vector(wire_order=op.wires)).reshape(-1))], op)]
    if isinstance(op, qml.Barrier) or not op.wires:
        return []
    if op.has_matrix:
        return [([np.asarray(op.matrix(wire_order=op.wires), dtype=complex)], op)]
    return [step for part in op.decomposition() for step in _kraus(part)]


def _preparing(vector: np.ndarray) -> np.ndarray:
    matrix = np.zeros((len(vector),) * 2, dtype=complex)
    matrix[:, 0] = vector
    return matrix


def _expanded(matrix: np.ndarray, positions: Sequence[int], number: int) -> np.ndarray:
    rest = [position for position in range(number) if position not in positions]
    order = [*positions, *rest]
    full = np.kron(matrix, np.eye(2 ** len(rest))).reshape((2,) * (2 * number))
    back = [order.index(position) for position in range(number)]
    return full.transpose([*back, *(number + one for one in back)]).reshape((2**number,) * 2)


def _applied(kraus: Sequence[np.ndarray], rho: np.ndarray, positions: Sequence[int], number: int) -> np.ndarray:
    full = [_expanded(one, positions, number) for one in kraus]
    return sum((one @ rho @ one.conj().T for one in full), np.zeros_like(rho))


def _reduced(rho: np.ndarray, positions: Sequence[int], number: int) -> np.ndarray:
    rest = [position for position in range(number) if position not in positions]
    order = [*positions, *rest]
    tensor = rho.reshape((2,) * (2 * number)).transpose([*order, *(number + one for one in order)])
    tensor = tensor.reshape(2 ** len(positions), 2 ** len(rest), 2 ** len(positions), 2 ** len(rest))
    return np.einsum("iaja->ij", tensor)


def _entropy(rho: np.ndarray) -> float:
    values = np.linalg.eigvalsh(rho)
    values = values[values > 1e-14]
    return float(-(values * np.log(values)).sum())


def _of_wires(measured: Measured, rho: np.ndarray) -> Right:
    probabilities = np.diag(rho).real.clip(0, 1)
    number = int(np.log2(len(probabilities)))
    return Right(probabilities, np.array(list(product((0, 1), repeat=number))), probabilities)


def _of_eigenbasis(observable: Observable, rho: np.ndarray) -> Right:
    """Probabilities of an observable's eigenvectors, in the order of PennyLane's diagonalizing gates."""
    if observable.kind == "word":
        rotation = np.ones((1, 1), dtype=complex)
        for letter in observable.word:
            rotation = np.kron(rotation, _ROTATIONS.get(letter, np.eye(2)))
        return Right(np.diag(rotation @ rho @ rotation.conj().T).real.clip(0, 1))
    _, vectors = np.linalg.eigh(programs._hermitian(observable.seed, len(observable.wires)))
    return Right(np.einsum("ij,ik,kj->j", vectors.conj(), rho, vectors).real.clip(0, 1))


_ROTATIONS = {
    "X": np.array([[1, 1], [1, -1]]) / np.sqrt(2),
    "Y": np.array([[1, -1j], [1, 1j]]) / np.sqrt(2),
    "H": np.linalg.eigh(_LETTERS["H"])[1].T[::-1],
}


def derivative(function: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-3) -> np.ndarray:
    """The gradient of a function of one array.

    Raises:
        NotDerivable: with half the step, another one comes out.
    """
    coarse, fine = _differences(function, at, step), _differences(function, at, step / 2)
    if not np.allclose(coarse, fine, rtol=1e-5, atol=1e-6):
        raise NotDerivable("the derivative changes too fast")
    return fine


def _differences(function: Callable[[np.ndarray], float], at: np.ndarray, step: float) -> np.ndarray:
    result = np.zeros(at.shape)
    for index in np.ndindex(at.shape):
        shift = np.zeros(at.shape)
        shift[index] = step
        near = function(at + shift) - function(at - shift)
        far = function(at + 2 * shift) - function(at - 2 * shift)
        result[index] = (8 * near - far) / (12 * step)
    return result


def hessian(function: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-2) -> np.ndarray:
    """The second derivatives of a function of one array of shape ``(n,)``, exact to about 1e-7."""
    result = np.zeros((at.size, at.size))
    places, factors = (-2, -1, 1, 2), (1 / 12, -8 / 12, 8 / 12, -1 / 12)
    for row in range(at.size):
        for column in range(row, at.size):
            total = 0.0
            for one, by_one in zip(places, factors, strict=True):
                for other, by_other in zip(places, factors, strict=True):
                    shift = np.zeros(at.size)
                    shift[row] += one * step
                    shift[column] += other * step
                    total += by_one * by_other * function(at + shift)
            result[row, column] = result[column, row] = total / step**2
    return result
