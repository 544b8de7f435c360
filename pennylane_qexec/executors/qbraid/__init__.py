"""qBraid: the devices of all its providers, as executors."""

from pennylane_qexec.executors.qbraid.executor import QBraidExecutor

__all__ = ["QBraidExecutor"]
