"""What programs would count with endless shots."""

from __future__ import annotations

from typing import Any

import numpy as np
import pennylane as qml
from pennylane.measurements import ProbabilityMP
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits import frameworks


def probabilities(program: frameworks.Program, order: Any = "native") -> dict[str, float]:
    """The probabilities of all outcomes that are possible, by what ``program.bits`` writes for them."""
    (counts,) = program.circuit.measurements
    measured = ProbabilityMP(counts.mv) if counts.mv is not None else ProbabilityMP(wires=counts.wires)
    script = QuantumScript(program.circuit.operations, [measured])
    (result,) = qml.execute([script], qml.device("default.qubit"))
    size = int(np.log2(len(result)))
    found: dict[str, float] = {}
    assert program.bits is not None
    for number, probability in enumerate(np.asarray(result)):
        (key,) = program.bits.write({f"{number:0{size}b}" if size else "": 1}, order)
        if probability > 1e-12:
            found[key] = found.get(key, 0.0) + float(probability)
    return found
