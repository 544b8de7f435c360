"""Circuits as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pennylane as qml
from pennylane.measurements import MeasurementProcess
from pennylane.operation import Operator
from pennylane.queuing import QueuingManager
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.observables import numbers_of_observable
from pennylane_qexec.circuits.serialization.decoding import CircuitDecoder, built, shots_of
from pennylane_qexec.circuits.serialization.encoding import ALL, CircuitEncoder, plain_text, shots_form
from pennylane_qexec.circuits.serialization.shortcuts import gates_text, remembered
from pennylane_qexec.circuits.serialization.values import canonical, content_of, guarded, items_of, text_of
from pennylane_qexec.errors import ConfigurationError


def circuit_text(circuit: QuantumScript) -> str:
    """A circuit as text that is safe to load and can be read without this package.

    Args:
        circuit: operators and measurements of PennyLane, with numbers as parameters.

    Returns:
        JSON in ASCII, on one line: operations, measurements, shots and which parameters are trainable. Equal circuits
        give equal texts, in every process and version of Python: mid-circuit measurements, whose ids are random, are
        numbered in their order, and a number is the same however it is wrapped.

    Raises:
        ConfigurationError: there is something in the circuit that cannot be stored, such as a function, or an operator
            that is not PennyLane's.
    """
    return circuit_texts([circuit])[0]


def circuit_texts(circuits: Sequence[QuantumScript]) -> list[str]:
    """Circuits as texts: what :func:`circuit_text` gives for each, sooner if they have been made of the same objects.

    The circuits of a gradient, for instance, share measurements and nearly all operations.

    Args:
        circuits: any circuits. They must not be changed until all are written.

    Raises:
        ConfigurationError: as for :func:`circuit_text`.
    """
    writer = CircuitWriter(shared=len(circuits) > 1)
    return [guarded("the circuit", partial(writer.text, circuit)) for circuit in circuits]


def circuit_of(text: str) -> QuantumScript:
    """The circuit of a text.

    Args:
        text: what :func:`circuit_text` has written. It may come from anybody: nothing in it is executed, and nothing is
            looked for by the names in it but operators and measurements of PennyLane.

    Returns:
        A circuit with the :func:`~pennylane_qexec.circuits.fingerprint.fingerprint` of the one that was written.

    Raises:
        ConfigurationError: the text is no stored circuit, damaged, or of a later version, or the PennyLane that is
            installed does not build from it what it says.
    """
    content = content_of("circuit", text)
    if set(content) != {"measurements", "operations", "shots", "trainable"}:
        raise ConfigurationError(f"a stored circuit has the parts {sorted(content)!r:.80}: the text is damaged.")
    return guarded("the stored circuit", lambda: built("the circuit", lambda: _circuit(content)))


class CircuitWriter:
    """Writes circuits as :func:`drafted` does, part by part: what several have in common is written once.

    Args:
        shared: whether to look for operations and measurements that are the same objects as in another circuit. Nobody
            may change these until all are written.
    """

    def __init__(self, shared: bool) -> None:
        self._shared = shared
        self._texts: dict[int, str] = {}
        self._counts: dict[int, int] = {}
        self._alive: list[Any] = []

    def text(self, circuit: QuantumScript) -> str:
        """A circuit.

        Raises:
            ConfigurationError: there is something in it that cannot be stored.
        """
        draft = CircuitEncoder()
        self._alive += (circuit.operations, circuit.measurements)  # as long as they are, no other part has their id
        try:
            operations = None if self._shared else gates_text(circuit.operations)
            if operations is None:
                operations = ",".join([self._part(operation, draft) for operation in circuit.operations])
            measurements = ",".join([self._measurement(measurement, draft) for measurement in circuit.measurements])
            shots, trainable = canonical(shots_form(circuit.shots)), self._trainable(circuit)
        except (ConfigurationError, RecursionError, TypeError, ValueError):
            return drafted(circuit)  # which says what is wrong
        if draft.has_templates:
            return drafted(circuit)
        return (
            f'{_START}"measurements":[{measurements}],"operations":[{operations}],'
            f'"shots":{shots},"trainable":{trainable}{_END}'
        )

    def _part(self, part: Any, draft: CircuitEncoder) -> str:
        text = self._texts.get(id(part))
        if text is None:
            text = plain_text(part) or canonical(draft.form(part))
            if self._shared and draft.is_common:
                self._texts[id(part)] = text
        return text

    def _measurement(self, measurement: MeasurementProcess, draft: CircuitEncoder) -> str:
        if id(measurement) in self._texts:
            return self._texts[id(measurement)]
        numbers = numbers_of_observable(measurement)
        if numbers is None:
            return self._part(measurement, draft)
        self._counts[id(measurement.obs)] = len(numbers.data)
        return remembered(measurement, numbers, lambda: (self._part(measurement, draft), draft.is_common))

    def _trainable(self, circuit: QuantumScript) -> str:
        chosen = circuit._trainable_params
        if chosen is None:
            return _ALL
        chosen = list(map(int, chosen))
        return _ALL if chosen == list(range(len(chosen))) and len(chosen) == self._count(circuit) else canonical(chosen)

    def _count(self, circuit: QuantumScript) -> int:
        """How many parameters a circuit has; PennyLane is slow to collect those of a sum."""
        count = sum([len(operation.data) for operation in circuit.operations])
        for observable in _observables(circuit):
            if id(observable) not in self._counts:
                self._counts[id(observable)] = len(observable.data)
            count += self._counts[id(observable)]
        return count


def drafted(circuit: QuantumScript) -> str:
    """A circuit as text, the long way: what :func:`circuit_text` gives, by which its shortcuts are judged.

    Raises:
        ConfigurationError: as for :func:`circuit_text`.
    """
    draft = CircuitEncoder()
    content = _content(circuit, draft)
    text = text_of("circuit", content)
    if draft.has_templates:
        _circuit(content)
    return text


def _content(circuit: QuantumScript, draft: CircuitEncoder) -> dict[str, Any]:
    return {
        "operations": forms_of("operation", circuit.operations, draft.form),
        "measurements": forms_of("measurement", circuit.measurements, draft.form),
        "shots": shots_form(circuit.shots),
        "trainable": _trainable(circuit),
    }


def forms_of(what: str, parts: Sequence[Any], form: Callable[[Any], Any]) -> list[Any]:
    """The forms of the operations or measurements of a circuit; of what cannot be stored, it is said which it is.

    Raises:
        ConfigurationError: one cannot be.
    """
    forms: list[Any] = []
    try:
        for part in parts:
            forms.append(form(part))
    except ConfigurationError as error:
        name = type(parts[len(forms)]).__name__
        raise ConfigurationError(f"{what} {len(forms)} of the circuit, {name}, cannot be stored: {error}") from error
    return forms


def _trainable(circuit: QuantumScript) -> str | list[int]:
    if circuit._trainable_params is None:
        return ALL
    chosen = [int(index) for index in circuit.trainable_params]
    return ALL if chosen == list(range(_parameters(circuit))) else chosen


def _parameters(circuit: QuantumScript) -> int:
    return sum(len(operator.data) for operator in [*circuit.operations, *_observables(circuit)])


def _observables(circuit: QuantumScript) -> list[Operator]:
    return [measurement.obs for measurement in circuit.measurements if measurement.obs is not None]


def _circuit(content: dict[str, Any]) -> QuantumScript:
    reading = CircuitDecoder()
    with QueuingManager.stop_recording():
        operations = [reading.named(form, Operator) for form in items_of(content["operations"])]
        measurements = [reading.named(form, MeasurementProcess) for form in items_of(content["measurements"])]
    circuit = QuantumScript(operations, measurements, shots=shots_of(content["shots"]))
    if content["trainable"] != ALL:
        circuit._trainable_params = _chosen(content["trainable"], _parameters(circuit))
    _check(circuit, content)
    return circuit


def _chosen(form: Any, count: int) -> list[int]:
    chosen = items_of(form)
    if not all(type(index) is int and 0 <= index < count for index in chosen):
        raise ConfigurationError(f"the trainable parameters {chosen!r:.80} must be indices of the {count} there are.")
    return chosen


def _check(circuit: QuantumScript, content: dict[str, Any]) -> None:
    """Whether a circuit is what the text says: writing it must give the text again."""
    again = _content(circuit, CircuitEncoder())
    for key, each in content.items():
        if canonical(again[key]) != canonical(each):
            raise ConfigurationError(
                f"PennyLane {qml.__version__} does not build the {key} that the stored circuit has: the text is "
                "damaged, or was written with another version of PennyLane. Use that one."
            )


_ALL = canonical(ALL)

_START, _END = text_of("circuit", {"measurements": None}).split('"measurements":null')
