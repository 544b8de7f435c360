"""The PennyLane device over executors, and QNodes that run later."""

from pennylane_qexec.device.device import ClusterDevice

__all__ = ["ClusterDevice"]
