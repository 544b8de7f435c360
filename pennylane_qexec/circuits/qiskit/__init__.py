"""Qiskit's circuits: read into PennyLane's, and written from them for Aer, Qiskit Runtime and qBraid."""

from __future__ import annotations
