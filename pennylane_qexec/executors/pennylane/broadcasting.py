"""Circuits of one structure as one broadcasted circuit, on simulators that are faster with that.

Nothing shows in the results: every circuit gets its own, and draws the random numbers that it would draw if the
circuits ran one after the other. Whether that is faster depends on the size: see ``benchmarks/broadcasting.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, groupby
from typing import Any, NamedTuple

import numpy as np
from pennylane.devices import DefaultMixed, DefaultQubit, Device, ExecutionConfig
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.sampling import SHADOWS
from pennylane_qexec.circuits.templates import Fused, SweepCircuits, Template, fuse
from pennylane_qexec.concurrency.once import OnceCache
from pennylane_qexec.executors.pennylane import mid_circuit
from pennylane_qexec.executors.pennylane.legacy import replaced
from pennylane_qexec.executors.pennylane.seeds import (
    Draws,
    PartitionedGenerator,
    RecordingGenerator,
    Stream,
    StreamOffsets,
)
from pennylane_qexec.job import Result

# What can be broadcasted

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

    def at_places(self, circuits: Sequence[QuantumScript], places: StreamOffsets) -> list[Result]:
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
        turns = PartitionedGenerator(stream, plan.draws, starts)
        with replaced(self._device, "_rng", turns):
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
        circuit = template.circuit
        if circuit.batch_size is not None or any(isinstance(one, SHADOWS) for one in circuit.measurements):
            return None
        try:
            witnesses, alone = [RecordingGenerator(stream) for _ in circuits], []
            for circuit, witness in zip(circuits, witnesses, strict=True):
                with replaced(self._device, "_rng", witness):
                    alone += self.alone([circuit])
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
    numbers = chain.from_iterable(operation.data for operation in circuit.operations)
    return all(type(one) in _PLAIN_NUMBERS or isinstance(one, np.ndarray) for one in numbers)


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


# Running it

_WORTH_TRYING = 12
_KEPT_STRUCTURES = 1024

_FEWEST_CIRCUITS = 3
_MOST_AMPLITUDES = 2**12
_MOST_SHOTS = 2**15
"""As one, 48 circuits are 4 to 10 times as fast at 2 to 10 qubits, twice at 12, and no faster from 14 qubits on."""


@dataclass
class _Known:
    """What is known of a structure on one kind of device.

    Attributes:
        seen: how many circuits of it there have been.
        tried: whether it was tried if its circuits can run as one.
        plan: how they do; ``None`` if they cannot.
    """

    seen: int = 0
    tried: bool = False
    plan: Plan | None = None


_structures: OnceCache[_Known] = OnceCache(_KEPT_STRUCTURES)


class _Group:
    """Circuits of one structure in a batch."""

    def __init__(self, device: Device, fused: Fused) -> None:
        key, circuit = fused.template.key, fused.template.circuit
        self.fused = fused
        self.known = _structures.get(None if key is None else (type(device), key), _Known)
        self.most = rows_at_once(device, circuit)
        amplitudes = 2 ** (len(circuit.wires) * (2 if isinstance(device, DefaultMixed) else 1))
        self.may_run_as_one = (
            len(fused.indices) >= _FEWEST_CIRCUITS
            and amplitudes <= _MOST_AMPLITUDES
            and self.most > 1
            and (circuit.shots.total_shots or 0) <= _MOST_SHOTS
        )


def execute(
    device: Device,
    circuits: Sequence[QuantumScript],
    config: ExecutionConfig,
    *,
    places: StreamOffsets | None = None,
) -> list[Result]:
    """Run circuits on a device, as one where that is possible and faster: many small ones of one structure.

    Args:
        device: the device.
        circuits: circuits that went through the device's own program.
        config: the configuration of that program.
        places: where each circuit begins to draw; ``None`` if it goes on where the last one has ended.

    Returns:
        For each circuit what the device returns for it, if it runs the circuits one after the other.
    """
    if len(circuits) == 1 or not broadcasts(device, config):
        if places is None:
            return mid_circuit.execute(device, circuits, config)
        return Native(device, config).at_places(circuits, places)
    simulator = Native(device, config)
    stream = simulator.stream() if places is None else places.stream
    groups = [_Group(device, fused) for fused in fuse(circuits)]
    for group in groups:
        if stream is not None and group.may_run_as_one:
            _find_out(simulator, circuits, group, stream)
    if not any(group.may_run_as_one and group.known.plan is not None for group in groups):
        return simulator.alone(circuits) if places is None else simulator.at_places(circuits, places)
    return _Batch(simulator, circuits, groups, places).results()


def _find_out(simulator: Native, circuits: Sequence[QuantumScript], group: _Group, stream: Stream) -> None:
    """See if circuits of a structure can run as one, once there have been enough of them to make that worth while."""
    known, indices = group.known, group.fused.indices
    known.seen += len(indices)
    if known.tried or known.seen < _WORTH_TRYING or len(indices) < SAMPLES:
        return
    rows = np.linspace(0, len(indices) - 1, SAMPLES).astype(int)
    sample = [circuits[indices[row]] for row in rows]
    known.plan = simulator.plan(group.fused.template, group.fused.parameters[rows], sample, stream)
    known.tried = True


class _Batch:
    """Circuits, some of which may run as one.

    Where it is not known what random numbers a circuit draws, those before it have to run first, and the others later.
    """

    def __init__(
        self,
        simulator: Native,
        circuits: Sequence[QuantumScript],
        groups: Sequence[_Group],
        places: StreamOffsets | None,
    ) -> None:
        self._simulator = simulator
        self._circuits = circuits
        self._places = places
        self._group_of = {index: group for group in groups for index in group.fused.indices}
        self._plans: dict[int, Plan | None] = {}
        for group in groups:
            rows = group.fused.indices[: 1 if isinstance(circuits, SweepCircuits) else None]
            plain = all(has_plain_numbers(circuits[index]) for index in rows)
            self._plans[id(group)] = group.known.plan if plain else None

    def results(self) -> list[Result]:
        if self._places is not None:
            return self._at_places(self._places)
        results: list[Result] = []
        for known, part in groupby(range(len(self._circuits)), key=lambda index: self._plan(index) is not None):
            indices = list(part)
            stream = self._simulator.stream() if known else None
            if stream is not None:
                results += self._in_turns(indices, stream)
            else:
                results += self._simulator.alone([self._circuits[index] for index in indices])
        return results

    def _plan(self, index: int) -> Plan | None:
        return self._plans[id(self._group_of[index])]

    def _at_places(self, places: StreamOffsets) -> list[Result]:
        """Run circuits that begin to draw where they are told to."""
        start_of = dict(enumerate(places.starts))
        known = [index for index in start_of if self._plan(index) is not None]
        others = [index for index in start_of if self._plan(index) is None]
        results = self._by_group({index: start_of[index] for index in known}, places.stream)
        alone = self._one_by_one(others, [start_of[index] for index in others], places.stream)
        results.update(zip(others, alone, strict=True))
        return [results[index] for index in start_of]

    def _in_turns(self, indices: Sequence[int], stream: Stream) -> list[Result]:
        """Run circuits group by group, each with its own part of the stream."""
        plans = [self._plan(index) for index in indices]
        places = list(accumulate([sum(plan.draws) for plan in plans if plan is not None], initial=0))
        results = self._by_group(dict(zip(indices, places, strict=False)), stream)
        stream.go_to(places[-1])
        return [results[index] for index in indices]

    def _by_group(self, start_of: Mapping[int, int], stream: Stream) -> dict[int, Result]:
        """Run circuits that may run as one; of each it is known where it begins to draw."""
        results: dict[int, Result] = {}
        for group in dict.fromkeys([self._group_of[index] for index in start_of]):
            wanted = [row for row, index in enumerate(group.fused.indices) if index in start_of]
            for first in range(0, len(wanted), group.most):
                rows = wanted[first : first + group.most]
                chosen = [group.fused.indices[row] for row in rows]
                starts = [start_of[index] for index in chosen]
                results.update(zip(chosen, self._as_one(group, rows, starts, stream), strict=True))
        return results

    def _as_one(self, group: _Group, rows: Sequence[int], starts: Sequence[int], stream: Stream) -> list[Result]:
        plan, fused = self._plans[id(group)], group.fused
        if plan is not None and len(rows) > 1:
            try:
                return self._simulator.together(fused.template, fused.parameters[rows], plan, stream, starts)
            except Exception:  # whatever it is, it will be raised again where it is one circuit's fault
                group.known.plan = None
        return self._one_by_one([fused.indices[row] for row in rows], starts, stream)

    def _one_by_one(self, indices: Sequence[int], starts: Sequence[int], stream: Stream) -> list[Result]:
        circuits = [self._circuits[index] for index in indices]
        return self._simulator.at_places(circuits, StreamOffsets(stream, starts))
