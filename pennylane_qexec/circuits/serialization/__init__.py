"""Circuits, sweeps and results as text: safe to load, exact, and readable without this package.

The format is described in ``docs/reference/stored.md``.
"""

from pennylane_qexec.circuits.serialization.circuits import circuit_of, circuit_text, circuit_texts
from pennylane_qexec.circuits.serialization.results import result_of, result_text
from pennylane_qexec.circuits.serialization.sweeps import results_of, results_text, sweep_of, sweep_text, template_text

__all__ = [
    "circuit_of",
    "circuit_text",
    "circuit_texts",
    "result_of",
    "result_text",
    "results_of",
    "results_text",
    "sweep_of",
    "sweep_text",
    "template_text",
]
