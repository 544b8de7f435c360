"""Which executors can be used in this environment."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import pennylane as qml

from pennylane_qexec.errors import QExecError
from pennylane_qexec.executors.device import DeviceExecutor
from pennylane_qexec.executors.quirks import Quirks
from pennylane_qexec.executors.specs import schemes


class Found(NamedTuple):
    """An executor that this environment has, or would have.

    Attributes:
        spec: what to write in ``executors=[...]``.
        kind: simulator, device (which may be remote), or plug-in.
        shots: whether it needs shots.
        usable: whether it could be built with no options but wires.
        reason: why not.
    """

    spec: str
    kind: str
    shots: str
    usable: bool
    reason: str


def survey() -> list[Found]:
    """Try to build every PennyLane device, and list the schemes of installed packages."""
    devices = [_try(name) for name in sorted(qml.plugin_devices) if name != "qexec.cluster"]
    return devices + [Found(f"{name}:...", "plug-in", "", True, "") for name in sorted(schemes())]


def _try(name: str) -> Found:
    quirks = Quirks.of(name, {})
    kind = "simulator" if quirks.simulator else "device"
    shots = "needed" if quirks.needs_shots else "optional"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            DeviceExecutor(name, wires=1)
    except QExecError as error:
        cause = error.__cause__ or error
        return Found(name, kind, shots, False, str(cause).strip().splitlines()[0])
    return Found(name, kind, shots, True, "")
