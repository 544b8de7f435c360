"""A local simulator with the options that Covalent's users know."""

from __future__ import annotations

from typing import Any

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors.base import Parallel
from pennylane_qexec.executors.device import DeviceExecutor
from pennylane_qexec.executors.shots import checked_shots
from pennylane_qexec.machine import cores

_IN_THE_CALLING_THREAD = ("auto", "sync", False, None)


class Simulator(DeviceExecutor):
    """Runs circuits on a local simulator.

    Args:
        device: the name of a simulator that ``qml.device`` takes.
        parallel: ``"thread"``: in threads. ``"process"``: in warm worker processes, which is faster for circuits that
            take more than a few milliseconds. ``"auto"``, ``"sync"`` or ``False``: in the calling thread, as long as
            that is possible and worth while. Or a :class:`concurrent.futures.Executor`.
        workers: how many threads or processes. There is never more than one process for each core.
        shots: 0 for the shots of the QNode, ``None`` for analytic results, or a number of shots. The latter two go
            before those of the QNode.
        name: how it is called in policies, tables and errors; default: the device's name.
        options: ``wires`` and the other options of :class:`DeviceExecutor`; what it does not know goes to
            ``qml.device``. Without ``wires`` it takes whatever wires a circuit has.

    Raises:
        ConfigurationError: there is no such simulator, or it does not take these options.
    """

    def __init__(
        self,
        device: str = "default.qubit",
        parallel: Parallel | str | bool | None = "thread",
        workers: int = 10,
        shots: int | None = 0,
        name: str | None = None,
        **options: Any,
    ) -> None:
        if not isinstance(device, str):
            raise ConfigurationError(
                f"device={device!r} is no name: give a simulator's name, or use DeviceExecutor(device) for a device "
                "that is built already."
            )
        here = isinstance(parallel, str | bool | None) and parallel in _IN_THE_CALLING_THREAD
        where: Any = "auto" if here else parallel
        if parallel == "process" and isinstance(workers, int):
            workers = min(workers, cores())
        super().__init__(device, name=name, parallel=where, workers=1 if here else workers, **options)
        self.shots = checked_shots(shots)
