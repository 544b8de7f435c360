"""The method that Aer computes exact results by."""

from __future__ import annotations

import pytest

from pennylane_qexec.executors.aer.simulation import SAVED_WIRES, method_of_exact_results


@pytest.mark.parametrize(
    ("mixed", "width", "method"),
    [
        (False, SAVED_WIRES, {"method": "statevector"}),
        (False, SAVED_WIRES + 1, {}),
        (True, 3, {"method": "density_matrix"}),
    ],
)
def test_probabilities_of_clifford_circuits_are_saved_by_amplitudes_and_not_by_stabilizers(
    mixed: bool, width: int, method: dict[str, str]
):
    assert method_of_exact_results(mixed, width) == method
