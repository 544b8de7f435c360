"""Circuits as JSON at once: character by character what their forms are written as.

Most of what circuits are made of goes this way, and the rest is drafted. What several circuits share is written once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from pennylane.measurements import ExpectationMP, MeasurementProcess, Shots, VarianceMP
from pennylane.operation import Operator
from pennylane.ops import LinearCombination, Prod, SProd, Sum
from pennylane.tape import QuantumScript

from pennylane_qexec.fingerprint import parts_of
from pennylane_qexec.structure import BARE, CONTROLLED
from pennylane_qexec.written.documents import canonical, text_of
from pennylane_qexec.written.drafts import ALL, Draft, shots_form
from pennylane_qexec.written.kinds import name_of
from pennylane_qexec.written.moulds import Mould
from pennylane_qexec.written.numerals import DEEPEST, array_text, number_text

_MOULDS = 4
"""The most moulds that are made for circuits that are written together: each costs as much as some circuits."""

_COMPOSED = frozenset({Prod, SProd, Sum, LinearCombination})

_OF_OBSERVABLES = frozenset({ExpectationMP, VarianceMP})

_Part = tuple[str, int]
"""An operation's text, and how many parameters it has."""


class Shortcuts:
    """Writes circuits.

    Args:
        shared: whether to look for operations that are the same objects as in the circuit before, and measurements and
            observables that are the same as in any. Nobody may change these until all are written.
    """

    def __init__(self, shared: bool) -> None:
        self._shared = shared
        self._parts: dict[int, _Part] = {}
        self._texts: dict[int, str] = {}
        self._counts: dict[int, int] = {}
        self._alive: list[Any] = []
        self._mould: Mould | None = None
        self._moulds_left = _MOULDS if shared else 0
        self._length = -1

    def text(self, circuit: QuantumScript, draft: Draft) -> str:
        """A circuit.

        Args:
            circuit: the circuit.
            draft: a new one, for the parts that do not go this way.

        Raises:
            ConfigurationError: there is something in it that cannot be stored.
            ValueError: there is a whole number of thousands of digits in it.
        """
        operations, measurements = circuit.operations, circuit.measurements
        self._alive += (operations, measurements)  # as long as they are, no other part has their id
        if self._mould is not None:
            text = self._mould.text(circuit)
            if text is not None:
                return f"{text}{self._trainable(circuit, self._mould.parameters)}{_END}"
        parts = self._operations(operations, draft)
        count = sum([count for _, count in parts])
        measured = [self._kept(measurement, self._measurement, draft) for measurement in measurements]
        texts = [text for text, _ in parts]
        begin = f'{_START}"measurements":[{",".join(measured)}],"operations":['
        end = f'],"shots":{_shots_text(circuit.shots)},"trainable":'
        if draft.is_common:
            self._prepare(circuit, texts, begin, end)
        return f"{begin}{','.join(texts)}{end}{self._trainable(circuit, count)}{_END}"

    def _prepare(self, circuit: QuantumScript, texts: Sequence[str], begin: str, end: str) -> None:
        """Make a mould for the circuits to come, if this one is like the one before."""
        alike = len(texts) == self._length
        self._length = len(texts)
        if alike and self._moulds_left:
            self._moulds_left -= 1
            self._mould = Mould(circuit, texts, begin, end)

    def _operations(self, operations: Sequence[Operator], draft: Draft) -> list[_Part]:
        if not self._shared:
            return [_plain(operation) or self._other(operation, draft) for operation in operations]
        keys = list(map(id, operations))
        parts = [
            part or _plain(operation) or self._other(operation, draft)
            for part, operation in zip(map(self._parts.get, keys), operations, strict=True)
        ]
        self._parts = dict(zip(keys, parts, strict=True)) if draft.is_common else {}
        return parts

    def _other(self, operation: Operator, draft: Draft) -> _Part:
        return self._operator(operation, draft, 0), len(operation.data)

    def _kept(self, part: Any, write: Callable[[Any, Draft], str], draft: Draft) -> str:
        text = self._texts.get(id(part))
        if text is None:
            text = write(part, draft)
            if self._shared and draft.is_common:
                self._texts[id(part)] = text
        return text

    def _measurement(self, measurement: MeasurementProcess, draft: Draft) -> str:
        kind, observable = type(measurement), measurement.obs
        if kind not in _OF_OBSERVABLES or not isinstance(observable, Operator) or not observable:
            return canonical(draft.form(measurement))
        if measurement.raw_wires is not None or measurement._eigvals is not None:
            return canonical(draft.form(measurement))
        return f'{{"name":"{name_of(kind)}","of":{self._kept(observable, self._operator, draft)}}}'

    def _operator(self, operator: Operator, draft: Draft, depth: int = 0) -> str:
        kind = type(operator)
        if kind not in _COMPOSED or depth == DEEPEST:
            part = _plain(operator)
            return canonical(draft.form(operator)) if part is None else part[0]
        leaves, metadata = parts_of(operator)
        parts = ",".join([self._leaf(leaf, draft, depth + 1) for leaf in leaves])
        if not metadata:
            return f'{{"name":"{name_of(kind)}","parts":[{parts}]}}'
        settings = "[null]" if metadata == (None,) else canonical(draft.settings(metadata))
        return f'{{"name":"{name_of(kind)}","parts":[{parts}],"settings":{settings}}}'

    def _leaf(self, leaf: Any, draft: Draft, depth: int) -> str:
        part = _plain(leaf)
        if part is not None:
            return part[0]
        if isinstance(leaf, Operator):
            return self._operator(leaf, draft, depth)
        if type(leaf) is list and depth < DEEPEST:
            return f"[{','.join([self._leaf(each, draft, depth + 1) for each in leaf])}]"
        return number_text(leaf) or array_text(leaf) or canonical(draft.number(leaf))

    def _trainable(self, circuit: QuantumScript, count: int) -> str:
        if circuit._trainable_params is None:
            return _ALL
        chosen = tuple(circuit.trainable_params)
        text, first = _chosen(chosen)
        if first and len(chosen) >= count:
            for measurement in circuit.measurements:
                count += self._count(measurement.obs)
            if len(chosen) == count:
                return _ALL
        return text

    def _count(self, observable: Operator | None) -> int:
        if observable is None:
            return 0
        count = self._counts.get(id(observable))
        if count is None:
            count = _parameters(observable)
            if self._shared:
                self._counts[id(observable)] = count
        return count


def _plain(operation: Operator) -> _Part | None:
    """An operation that consists of wires and doubles; ``None`` if it is another."""
    kind: Any = type(operation)
    if kind in BARE:
        if operation.hyperparameters:
            return None
        data = operation.data
        frame = _frame(kind, *operation._wires._labels)
    elif kind in CONTROLLED:
        settings = operation._hyperparameters
        data = settings["base"].data
        frame = _frame(kind, *settings["control_wires"]._labels, *operation._wires._labels)
    else:
        return None
    if frame is None:
        return None
    if not data:
        return frame[0], 0
    _, before, after = frame
    if len(data) == 1:
        text = number_text(data[0])
        return None if text is None else (f"{before}{text}{after}", 1)
    texts = list(map(number_text, data))
    return None if None in texts else (f"{before}{','.join(texts)}{after}", len(texts))  # type: ignore[arg-type]


@lru_cache(2**14, typed=True)
def _frame(kind: Any, *labels: Any) -> tuple[str, str, str] | None:
    """What is the same in all operations of a class on some wires: without parameters, before them, and after them."""
    if not all(type(label) in (int, str) for label in labels):
        return None
    name, wires = f'{{"name":"{name_of(kind)}"', f'"wires":{canonical(list(labels))}}}'
    return f"{name},{wires}", f'{name},"parameters":[', f"],{wires}"


def _parameters(operator: Operator) -> int:
    """How many parameters an operator has: the length of its data, which PennyLane is slow to collect."""
    kind = type(operator)
    if kind is SProd:
        return 1 + _parameters(operator.base)
    return sum(map(_parameters, operator.operands)) if kind in _COMPOSED else len(operator.data)


@lru_cache(64)
def _shots_text(shots: Shots) -> str:
    return canonical(shots_form(shots))


@lru_cache(64)
def _chosen(indices: tuple[Any, ...]) -> tuple[str, bool]:
    """Trainable parameters, and whether they are the first ones there are."""
    chosen = list(map(int, indices))
    return canonical(chosen), chosen == list(range(len(chosen)))


_ALL = canonical(ALL)

_START, _END = text_of("circuit", {"measurements": None}).split('"measurements":null')
