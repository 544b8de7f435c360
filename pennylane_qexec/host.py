"""The cluster device on which a QNode for another device is to run."""

from __future__ import annotations

from typing import Any

from pennylane.wires import Wires

from pennylane_qexec.cluster import QCluster
from pennylane_qexec.device import ClusterDevice
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.executors import like


def device_for(origin: Any, executors: Any, options: dict[str, Any]) -> ClusterDevice:
    """The device on which a QNode for another one is to run."""
    if executors is None and isinstance(origin, ClusterDevice):
        if options:
            raise ConfigurationError(
                f"the QNode's device is a cluster already: give {sorted(options)} to that device, or executors=."
            )
        return origin
    wires = plain(origin.wires)
    if isinstance(executors, QCluster):
        device = ClusterDevice(wires, cluster=executors, **options)
    else:
        device = ClusterDevice(wires, executors=[like(origin)] if executors is None else executors, **options)
    device.stand_in_for(origin)
    return device


def plain(wires: Wires | None) -> Any:
    """Wires as users write them: some simulators are slower with labels than with a number."""
    if wires is None:
        return None
    return len(wires) if wires.labels == tuple(range(len(wires))) else list(wires.labels)
