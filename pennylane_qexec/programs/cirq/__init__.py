"""Circuits of Cirq."""
