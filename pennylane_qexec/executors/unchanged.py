"""Circuits that a simulator's program leaves as they are: others of their structure need not go through it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.devices import ExecutionConfig
from pennylane.tape import QuantumScript

from pennylane_qexec.executors.sources import BuiltDevices, GivenDevice
from pennylane_qexec.fusion import Likeness
from pennylane_qexec.job import Postprocessing

_SIMULATORS = ("default.mixed", "default.qubit", "lightning.qubit")
"""Simulators whose programs decide by kinds of operations, wires, measurements and shots, never by parameters."""

_KEPT = 4
_KEPT_PROGRAMS = 16
_NUMBERS = (float, int, np.float64)


class Unchanged:
    """Remembers what a program left as it was.

    Only circuits of plain gates are remembered: with them, nothing but the structure can make a difference.
    """

    def __init__(self) -> None:
        self._likenesses: tuple[Likeness, ...] = ()
        self._tries = _KEPT

    def covers(self, circuit: QuantumScript) -> bool:
        """Whether the program would leave a circuit as it is."""
        for likeness in self._likenesses:
            if likeness(circuit) and _is_plain(circuit):
                self._tries += 1
                return True
        return False

    def note(self, circuit: QuantumScript, circuits: Sequence[QuantumScript], postprocess: Postprocessing) -> None:
        """Remember what the program made of a circuit; not if that never helped before."""
        if self._tries <= 0 or len(circuits) != 1 or circuits[0] is not circuit or not _is_plain(circuit):
            return
        self._tries -= 1
        result: Any = object()
        likeness = Likeness(circuit)
        if likeness.plain and postprocess((result,))[0] is result:
            self._likenesses = (likeness, *self._likenesses[: _KEPT - 1])


class _ByProgram(threading.local):
    """What was remembered in this thread, with the program that it is of, by the program's id; the oldest first."""

    def __init__(self) -> None:
        self.kept: dict[int, tuple[Any, Unchanged]] = {}


_here = _ByProgram()


def unchanged_by(program: Any, source: GivenDevice | BuiltDevices, config: ExecutionConfig) -> Unchanged | None:
    """What this thread knows of a program; ``None`` if such programs are not known well enough.

    Args:
        program: the program of a device.
        source: where the device comes from.
        config: the configuration that the program is for.
    """
    known = isinstance(source, BuiltDevices) and source.name in _SIMULATORS
    if not known or config.gradient_method is not None or qml.capture.enabled():
        return None
    of, unchanged = _here.kept.get(id(program), (None, None))
    if unchanged is None or of is not program:
        unchanged = Unchanged()
        _here.kept[id(program)] = (program, unchanged)
        while len(_here.kept) > _KEPT_PROGRAMS:
            del _here.kept[next(iter(_here.kept))]
    return unchanged


def _is_plain(circuit: QuantumScript) -> bool:
    """Whether every parameter is one number."""
    for operation in circuit.operations:
        for value in operation.data:
            if type(value) not in _NUMBERS and not (isinstance(value, np.ndarray) and value.shape == ()):
                return False
    return True
