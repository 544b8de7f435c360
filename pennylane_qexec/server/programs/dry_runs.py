"""Dry runs: everything is checked, nothing is computed, and the results have the right shapes and are all 0."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pennylane_qexec.server.programs.tasks import ProgramError


def run(program: str, params: Mapping[str, Any]) -> str:
    """The result of a dry run, as IBM's client reads it.

    Args:
        program: ``"sampler"`` or ``"estimator"``.
        params: of the job, decoded.

    Raises:
        ProgramError: the program has no dry runs, or a PUB is not valid.
    """
    import numpy as np
    from qiskit.exceptions import QiskitError
    from qiskit.primitives import BitArray, DataBin, PrimitiveResult, PubResult, SamplerPubResult
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.primitives.containers.sampler_pub import SamplerPub
    from qiskit_ibm_runtime.utils import RuntimeEncoder

    options = params.get("options") or {}
    results: list[Any] = []
    try:
        for pub in params["pubs"] if program in ("sampler", "estimator") else ():
            if program == "sampler":
                one = SamplerPub.coerce(tuple(pub), options.get("default_shots") or 4096)
                bits = {
                    register.name: BitArray(
                        np.zeros((*one.shape, one.shots, (register.size + 7) // 8), np.uint8), register.size
                    )
                    for register in one.circuit.cregs
                }
                results.append(SamplerPubResult(DataBin(**bits, shape=one.shape), {"shots": one.shots}))
            else:
                other = EstimatorPub.coerce(tuple(pub), options.get("default_precision") or 0.015625)
                zeros = np.zeros(other.shape)
                data = DataBin(evs=zeros, stds=zeros, shape=other.shape)
                results.append(PubResult(data, {"target_precision": other.precision}))
    except (QiskitError, TypeError, ValueError) as error:
        raise ProgramError(f"PUB {len(results)} is not valid: {error}") from error
    if not results:
        raise ProgramError(f"the program {program!r} has no dry runs: run it on the backend itself.")
    return json.dumps(PrimitiveResult(results, {"version": 2}), cls=RuntimeEncoder)
