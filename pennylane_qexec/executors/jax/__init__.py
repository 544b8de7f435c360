"""Circuits compiled by JAX, one function for each structure."""

from pennylane_qexec.executors.jax.executor import JaxExecutor

__all__ = ["JaxExecutor"]
