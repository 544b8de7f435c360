"""From PennyLane's circuits to Qiskit's, for Aer and for Qiskit Runtime."""
