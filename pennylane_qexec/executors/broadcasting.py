"""Circuits of one structure as one broadcasted circuit, where a simulator is faster with that.

Nothing shows in the results: every circuit gets its own, and draws the random numbers that it would draw if the
circuits ran one after the other. Whether it is faster depends on the size, and is measured while one works.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from functools import partial
from itertools import accumulate, groupby
from typing import NamedTuple

import numpy as np
from pennylane.devices import Device, ExecutionConfig
from pennylane.tape import QuantumScript

from pennylane_qexec.executors.contest import Contest
from pennylane_qexec.executors.native import SAMPLES, Native, Plan, broadcasts, has_plain_numbers, rows_at_once
from pennylane_qexec.executors.turns import Places, Stream
from pennylane_qexec.fusion import Fused, fuse
from pennylane_qexec.job import Result
from pennylane_qexec.kept import Kept

_WORTH_TRYING = 12
_TRIAL_ROWS = 16
_TRIAL_SHARE = 4
_KEPT_STRUCTURES = 1024

CONTEST = Contest()
"""For which sizes broadcasting is faster in this process: way 0, against 1, one after the other."""


class _Known:
    """What is known of a structure on one kind of device.

    Attributes:
        seen: how many circuits of it there have been.
        tried: whether it was tried if its circuits can run as one.
        plan: how they do; ``None`` if they cannot.
    """

    def __init__(self) -> None:
        self.seen = 0
        self.tried = False
        self.plan: Plan | None = None


_structures: Kept[_Known] = Kept(_KEPT_STRUCTURES)


class _Size(NamedTuple):
    """What the time per circuit depends on; counts in powers of two."""

    device: type[Device]
    wires: int
    operations: int
    circuits: int
    shots: int


class _Group:
    """Circuits of one structure in a batch."""

    def __init__(self, device: Device, fused: Fused) -> None:
        key, circuit = fused.template.key, fused.template.circuit
        self.fused = fused
        self.known = _structures.get(None if key is None else (type(device), key), _Known)
        self.most = rows_at_once(device, circuit)
        self.size = _Size(
            type(device),
            len(circuit.wires),
            len(circuit.operations).bit_length(),
            len(fused.indices).bit_length(),
            (circuit.shots.total_shots or 0).bit_length(),
        )

    @property
    def may_run_as_one(self) -> bool:
        return len(self.fused.indices) > 1 and self.most > 1


def execute(
    device: Device,
    circuits: Sequence[QuantumScript],
    config: ExecutionConfig,
    contest: Contest = CONTEST,
    *,
    places: Places | None = None,
) -> list[Result]:
    """Run circuits on a device, as one where that is possible and has turned out to be faster.

    Args:
        device: the device.
        circuits: circuits that went through the device's own program.
        config: the configuration of that program.
        contest: what knows of the sizes for which it is faster.
        places: where each circuit begins to draw; ``None`` if it goes on where the last one has ended.

    Returns:
        For each circuit what the device returns for it, if it runs the circuits one after the other.
    """
    simulator = Native(device, config)
    if len(circuits) == 1 or not broadcasts(device, config):
        return simulator.alone(circuits) if places is None else simulator.at_places(circuits, places)
    stream = simulator.stream() if places is None else places.stream
    groups = [_Group(device, fused) for fused in fuse(circuits)]
    for group in groups:
        if stream is not None and group.may_run_as_one and contest.settled(group.size) != 1:
            _find_out(simulator, circuits, group, stream)
    if not any(group.may_run_as_one and group.known.plan is not None for group in groups):
        return simulator.alone(circuits) if places is None else simulator.at_places(circuits, places)
    return _Batch(simulator, circuits, groups, contest, places).results()


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
        contest: Contest,
        places: Places | None,
    ) -> None:
        self._simulator = simulator
        self._circuits = circuits
        self._contest = contest
        self._places = places
        self._group_of = {index: group for group in groups for index in group.fused.indices}
        self._plans: dict[int, Plan | None] = {}
        for group in groups:
            plain = all(has_plain_numbers(circuits[index]) for index in group.fused.indices)
            self._plans[id(group)] = group.known.plan if plain else None

    def results(self) -> list[Result]:
        if self._places is not None:
            return self._at_places(self._places)
        results: list[Result] = []
        for known, part in groupby(range(len(self._circuits)), key=lambda index: self._plan(index) is not None):
            indices = list(part)
            stream = self._simulator.stream() if known else None
            results += self._in_turns(indices, stream) if stream is not None else self._alone(indices)
        return results

    def _plan(self, index: int) -> Plan | None:
        return self._plans[id(self._group_of[index])]

    def _alone(self, indices: Sequence[int]) -> list[Result]:
        return self._simulator.alone([self._circuits[index] for index in indices])

    def _at_places(self, places: Places) -> list[Result]:
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
            for rows in self._chunks(group, start_of.keys()):
                chosen = [group.fused.indices[row] for row in rows]
                starts = [start_of[index] for index in chosen]
                ways = (
                    partial(self._as_one, group, rows, starts, stream),
                    partial(self._one_by_one, chosen, starts, stream),
                )
                results.update(zip(chosen, self._contest.run(group.size, len(rows), ways), strict=True))
        return results

    def _chunks(self, group: _Group, indices: Container[int]) -> Iterator[list[int]]:
        """Rows that fit into memory together; few of them while it is not known what is faster."""
        rows = [row for row, index in enumerate(group.fused.indices) if index in indices]
        while rows:
            most = max(group.most, 1)
            if self._contest.settled(group.size) is None:
                most = min(most, max(2, min(_TRIAL_ROWS, group.most // _TRIAL_SHARE)))
            yield rows[:most]
            rows = rows[most:]

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
        return self._simulator.at_places(circuits, Places(stream, starts))
