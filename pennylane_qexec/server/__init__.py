"""A server of one's own that speaks IBM Qiskit Runtime's REST API, over executors and clusters."""
