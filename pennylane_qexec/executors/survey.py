"""Which executors can be used in this environment."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pennylane as qml

from pennylane_qexec.errors import QExecError
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.device import DeviceExecutor
from pennylane_qexec.executors.quirks import Quirks
from pennylane_qexec.executors.specs import BUILT_IN, executor, schemes

_OWN = (("aer", "optional"), ("aer:fake_manila", "optional"), ("ibm:fake_manila", "needed"), ("jax", "optional"))


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
    """Try to build this package's executors and every PennyLane device, and list the schemes of installed packages."""
    own = [_try(spec, "simulator", shots, partial(executor, spec)) for spec, shots in _OWN]
    devices = [_device(name) for name in sorted(qml.plugin_devices) if name != "qexec.cluster"]
    installed = sorted(schemes().keys() - BUILT_IN.keys())
    return own + devices + [Found(f"{name}:...", "plug-in", "", True, "") for name in installed]


def _device(name: str) -> Found:
    quirks = Quirks.of(name, {})
    kind = "simulator" if quirks.simulator else "device"
    shots = "needed" if quirks.needs_shots else "optional"
    return _try(name, kind, shots, partial(DeviceExecutor, name, wires=1))


def _try(spec: str, kind: str, shots: str, make: Callable[[], Executor]) -> Found:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            make().close()
    except QExecError as error:
        cause = error.__cause__ or error
        first, *others = filter(None, map(str.strip, str(cause).splitlines()))
        reason = " ".join([first, *others[:1]]) if first.endswith(":") else first
        return Found(spec, kind, shots, False, reason)
    return Found(spec, kind, shots, True, "")
