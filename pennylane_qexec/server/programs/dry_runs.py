"""Dry runs: everything is checked, nothing is computed, and the results have the right shapes and are all 0."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pennylane_qexec.server.limits import Limits
from pennylane_qexec.server.programs.pubs import checked_pubs
from pennylane_qexec.server.programs.tasks import ProgramError


def run(program: str, params: Mapping[str, Any], limits: Limits) -> str:
    """The result of a dry run, as IBM's client reads it.

    Args:
        program: ``"sampler"`` or ``"estimator"``.
        params: of the job, decoded.
        limits: how large its PUBs may be.

    Raises:
        ProgramError: the program has no dry runs, or a PUB is not valid.
    """
    import numpy as np
    from qiskit.primitives import BitArray, DataBin, PrimitiveResult, PubResult, SamplerPubResult
    from qiskit_ibm_runtime.utils import RuntimeEncoder

    if program not in ("sampler", "estimator"):
        raise ProgramError(f"the program {program!r} has no dry runs: run it on the backend itself.")
    results: list[Any] = []
    for pub in checked_pubs(program, params, limits):
        if program == "sampler":
            bits = {
                register.name: BitArray(
                    np.zeros((*pub.shape, pub.shots, (register.size + 7) // 8), np.uint8), register.size
                )
                for register in pub.circuit.cregs
            }
            results.append(SamplerPubResult(DataBin(**bits, shape=pub.shape), {"shots": pub.shots}))
        else:
            zeros = np.zeros(pub.shape)
            data = DataBin(evs=zeros, stds=zeros, shape=pub.shape)
            results.append(PubResult(data, {"target_precision": pub.precision}))
    return json.dumps(PrimitiveResult(results, {"version": 2}), cls=RuntimeEncoder)
