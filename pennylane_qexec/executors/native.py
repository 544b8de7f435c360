"""Simulators that run broadcasted circuits natively, and what circuits can be run there as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from pennylane.devices import DefaultMixed, DefaultQubit, Device, ExecutionConfig
from pennylane.measurements import ClassicalShadowMP, ShadowExpvalMP
from pennylane.tape import QuantumScript

from pennylane_qexec.executors import mid_circuit
from pennylane_qexec.executors.turns import Draws, Places, Stream, Turns, Witness
from pennylane_qexec.fusion import Template
from pennylane_qexec.job import Result

_NATIVE = (DefaultQubit, DefaultMixed)
_PLAIN_NUMBERS = (float, int, np.float64)
_MOST_BYTES_OF_STATES = 2**22
_MOST_BYTES_OF_SAMPLES = 2**26
_COPIES_OF_SAMPLES = 3

SAMPLES = 3
"""With how many circuits it is tried if those of a structure can run as one; no other axis has that length."""


class Plan(NamedTuple):
    """How circuits of one structure run as one.

    Attributes:
        draws: the random numbers that each of them draws.
        form: the types in each of their results.
    """

    draws: Draws
    form: Any


class Native:
    """A simulator, as the thread that may use it now uses it.

    Args:
        device: a device for which :func:`broadcasts` holds.
        config: the configuration to run circuits with.
    """

    def __init__(self, device: Device, config: ExecutionConfig) -> None:
        self._device: Any = device
        self._config = config

    def stream(self) -> Stream | None:
        """The random numbers that the simulator draws from; ``None`` if they cannot be shared out."""
        return Stream.of(self._device._rng)

    def alone(self, circuits: Sequence[QuantumScript]) -> list[Result]:
        """Run circuits one after the other, as the simulator does."""
        return mid_circuit.execute(self._device, circuits, self._config)

    def at_places(self, circuits: Sequence[QuantumScript], places: Places) -> list[Result]:
        """Run circuits one after the other, each of which draws from its own place on."""
        results: list[Result] = []
        for circuit, start in zip(circuits, places.starts, strict=True):
            places.stream.go_to(start)
            results += self.alone([circuit])
        return results

    def together(
        self, template: Template, parameters: np.ndarray, plan: Plan, stream: Stream, starts: Sequence[int]
    ) -> list[Result]:
        """Run circuits of one structure as one.

        Args:
            template: the structure.
            parameters: ``(R, P)``: the parameters of the circuits.
            plan: how they run.
            stream: what the simulator draws from.
            starts: where the random numbers of each circuit begin, ``R`` places.

        Raises:
            OutOfTurnError: the simulator drew others.
            ValueError: what it gave are not results for ``R`` circuits.
        """
        circuit = template.bind(list(np.ascontiguousarray(parameters.T)))
        turns = Turns(stream, plan.draws, starts)
        with self._drawing_from(turns):
            (result,) = self.alone([circuit])
        turns.check_over()
        return _rows_of(result, len(parameters), plan.form)

    def plan(
        self, template: Template, parameters: np.ndarray, circuits: Sequence[QuantumScript], stream: Stream
    ) -> Plan | None:
        """Find out how circuits run as one: they are run alone, watched, and then as one.

        Args:
            template: their structure.
            parameters: ``(SAMPLES, P)``: their parameters.
            circuits: the circuits.
            stream: what the simulator draws from, which is left as it was.

        Returns:
            How they run as one; ``None`` if that is not possible, or gives something else.
        """
        if not _may_broadcast(template.circuit):
            return None
        try:
            witnesses = [Witness(stream) for _ in circuits]
            alone = [self._watched(circuit, witness) for circuit, witness in zip(circuits, witnesses, strict=True)]
            draws = witnesses[0].draws
            plan, number = Plan(draws, _form(alone[0])), sum(draws)
            if any(witness.draws != draws for witness in witnesses) or not stream.is_at(len(circuits) * number):
                return None
            together = self.together(template, parameters, plan, stream, [row * number for row in range(SAMPLES)])
            return plan if all(map(_same, alone, together)) else None
        except Exception:  # whatever it is, it will be raised again where the circuits run alone
            return None
        finally:
            stream.go_to(0)

    def _watched(self, circuit: QuantumScript, witness: Witness) -> Result:
        with self._drawing_from(witness):
            return self.alone([circuit])[0]

    @contextmanager
    def _drawing_from(self, generator: np.random.Generator) -> Iterator[None]:
        own = self._device._rng
        self._device._rng = generator
        try:
            yield
        finally:
            self._device._rng = own


def broadcasts(device: Any, config: ExecutionConfig) -> bool:
    """Whether a device runs broadcasted circuits natively, and nobody looks at how it runs circuits."""
    return (
        type(device) in _NATIVE
        and config.gradient_method != "backprop"
        and not config.use_device_jacobian_product
        and not config.device_options.get("max_workers")
        and device._debugger is None
        and device._prng_key is None
        and not device.tracker.active
    )


def rows_at_once(device: Device, circuit: QuantumScript) -> int:
    """How many circuits like this one may run as one, to keep within some megabytes of memory."""
    wires = len(circuit.wires)
    states = 16 * 2 ** (2 * wires if isinstance(device, DefaultMixed) else wires)
    samples = 8 * _COPIES_OF_SAMPLES * wires * (circuit.shots.total_shots or 0)
    return int(min(_MOST_BYTES_OF_STATES // states, _MOST_BYTES_OF_SAMPLES // max(samples, 1)))


def has_plain_numbers(circuit: QuantumScript) -> bool:
    """Whether no library but NumPy has a hand in a circuit's parameters."""
    for operation in circuit.operations:
        for value in operation.data:
            if type(value) not in _PLAIN_NUMBERS and not isinstance(value, np.ndarray):
                return False
    return True


def _may_broadcast(circuit: QuantumScript) -> bool:
    shadows = any(isinstance(measurement, ClassicalShadowMP | ShadowExpvalMP) for measurement in circuit.measurements)
    return not shadows and circuit.batch_size is None


def _form(result: Result) -> Any:
    return tuple([_form(each) for each in result]) if isinstance(result, tuple) else type(result)


def _rows_of(result: Any, number: int, form: Any) -> list[Result]:
    """The result of each row of a broadcasted circuit, in the form that it has for a single circuit."""
    if isinstance(result, tuple):
        return list(zip(*[_rows_of(each, number, part) for each, part in zip(result, form, strict=True)], strict=True))
    if len(result) != number:
        raise ValueError(f"a broadcasted circuit of {number} rows gave {len(result)} results")
    return [np.asarray(row) for row in result] if form is np.ndarray else list(result)


def _same(one: Any, other: Any) -> bool:
    """Whether two results are of one form, and equal but for rounding."""
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return list(one.items()) == list(other.items())
    if np.shape(one) != np.shape(other) or np.asarray(one).dtype != np.asarray(other).dtype:
        return False
    return bool(np.allclose(one, other, rtol=1e-10, atol=1e-10, equal_nan=True))
