"""PUBs of samplers and estimators, as Qiskit checks them, within the limits of a server."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from pennylane_qexec.server.limits import Limits
from pennylane_qexec.server.programs.tasks import INVALID, ProgramError

SHOTS, PRECISION = 4096, 0.015625
"""Of PUBs that say nothing, where their job says nothing either: IBM's."""


def checked_pubs(program: str, params: Mapping[str, Any], limits: Limits) -> list[Any]:
    """The PUBs of a job, with the shots or the precision that they are run with.

    Args:
        program: ``"sampler"`` or ``"estimator"``.
        params: of the job, decoded.
        limits: how large they may be.

    Raises:
        ProgramError: one is not valid, or they are too large together.
    """
    from qiskit.exceptions import QiskitError
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    options = params.get("options") or {}
    kind, usual = (
        (SamplerPub, options.get("default_shots") or SHOTS)
        if program == "sampler"
        else (EstimatorPub, precision_of(options))
    )
    pubs: list[Any] = []
    circuits = shots = bits = 0
    for pub in params["pubs"]:
        try:
            pubs.append(kind.coerce(tuple(pub), usual))
        except (QiskitError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise ProgramError(f"PUB {len(pubs)} is not valid: {error}", INVALID) from error
        if program == "sampler":
            _check_registers(len(pubs) - 1, pubs[-1].circuit)
        rows = math.prod(pubs[-1].shape)
        circuits += rows
        shots += rows * _shots(pubs[-1])
        bits += rows * _shots(pubs[-1]) * pubs[-1].circuit.num_clbits
        for count, most, what in (
            (circuits, limits.circuits, "circuits"),
            (shots, limits.shots, "shots in all"),
            (bits, limits.bits, "measured bits"),
        ):
            if count > most:
                raise ProgramError(
                    f"the PUBs of the job have more than {most:,} {what}, which is the most here. Make several jobs of "
                    "them.",
                    INVALID,
                )
    return pubs


def _check_registers(number: int, circuit: Any) -> None:
    """Refuse registers of bits that are not beside each other: Qiskit's primitives would read other bits."""
    for register in circuit.cregs:
        places = [circuit.find_bit(bit).index for bit in register]
        if places != list(range(places[0], places[0] + len(places)) if places else ()):
            raise ProgramError(
                f"the bits of the classical register {register.name!r} of PUB {number} are not beside each other: give "
                "each register bits of its own.",
                INVALID,
            )


def precision_of(options: Mapping[str, Any]) -> float:
    """That of PUBs without one. A number of shots goes first, as in the client's local testing mode."""
    if shots := options.get("default_shots"):
        return 1 / math.sqrt(shots)
    return float(options.get("default_precision") or PRECISION)


def _shots(pub: Any) -> int:
    """Of one circuit; an estimator needs as many for each basis that it measures in."""
    if hasattr(pub, "shots"):
        return int(pub.shots)
    return math.ceil(1 / pub.precision**2) if pub.precision > 0 else 0
