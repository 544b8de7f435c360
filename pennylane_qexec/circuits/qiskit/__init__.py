"""From PennyLane's circuits to Qiskit's, for Aer and for Qiskit Runtime.

Circuits of Qiskit.
"""

from __future__ import annotations
