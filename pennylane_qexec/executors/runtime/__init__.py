"""Qiskit Runtime: IBM's quantum computers, and what simulates them on this machine."""

from pennylane_qexec.executors.runtime.executor import QiskitExecutor, RuntimeExecutor

__all__ = ["QiskitExecutor", "RuntimeExecutor"]
