"""PUBs of samplers and estimators, as Qiskit checks them, within the limits of a server."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
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
    for pub in params["pubs"]:
        try:
            pubs.append(kind.coerce(tuple(pub), usual))
        except (QiskitError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise ProgramError(f"PUB {len(pubs)} is not valid: {error}", INVALID) from error
        if program == "sampler":
            check_registers(f"PUB {len(pubs) - 1}", pubs[-1].circuit)
    check_amounts(((math.prod(pub.shape), _shots(pub), pub.circuit.num_clbits) for pub in pubs), limits)
    return pubs


def check_amounts(asked: Iterable[tuple[int, int, int]], limits: Limits) -> None:
    """Refuse a job that is more than a server takes.

    Args:
        asked: by each of its parts: how often its circuit is run with parameters, the shots of each, and its bits.
        limits: how much it may be.

    Raises:
        ProgramError: it is more.
    """
    circuits = shots = bits = 0
    for rows, of_each, width in asked:
        circuits += rows
        shots += rows * of_each
        bits += rows * of_each * width
        for count, most, what in (
            (circuits, limits.circuits, "circuits"),
            (shots, limits.shots, "shots in all"),
            (bits, limits.bits, "measured bits"),
        ):
            if count > most:
                raise ProgramError(
                    f"the job has more than {most:,} {what}, which is the most here. Make several jobs of it.", INVALID
                )


def check_registers(name: str, circuit: Any) -> None:
    """Refuse registers of bits that are not beside each other: Qiskit's primitives would read other bits.

    Args:
        name: of what has the circuit.
        circuit: of Qiskit.

    Raises:
        ProgramError: they are not.
    """
    for register in circuit.cregs:
        places = [circuit.find_bit(bit).index for bit in register]
        if places != list(range(places[0], places[0] + len(places)) if places else ()):
            raise ProgramError(
                f"the bits of the classical register {register.name!r} of {name} are not beside each other: give each "
                "register bits of its own.",
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
