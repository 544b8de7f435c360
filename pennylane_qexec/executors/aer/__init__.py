"""Qiskit's Aer, with everything that takes long done once for each structure."""

from pennylane_qexec.executors.aer.executor import AerExecutor

__all__ = ["AerExecutor"]
