"""Circuits of any framework, as one kind of circuit: what they do, and how their outcomes are written.

Each framework's circuits become PennyLane's, which every executor takes. The outcomes that come back are written with
the bits where the framework, or whoever asks, expects them. Frameworks are imported when a circuit of theirs is read.
"""

from pennylane_qexec.circuits.frameworks.builder import Bits, Program
from pennylane_qexec.circuits.frameworks.limits import with_includes
from pennylane_qexec.circuits.frameworks.reading import from_text, one_or_many, read, to_text
from pennylane_qexec.circuits.frameworks.tables import CircuitTable, table_of

__all__ = [
    "Bits",
    "CircuitTable",
    "Program",
    "from_text",
    "one_or_many",
    "read",
    "table_of",
    "to_text",
    "with_includes",
]
