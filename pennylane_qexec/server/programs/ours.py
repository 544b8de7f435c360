"""All programs of jobs that are not Aer's with the noise of a backend: those of executors, clusters, and primitives."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pennylane_qexec.errors import ConfigurationError, unknown
from pennylane_qexec.server.programs import circuits
from pennylane_qexec.server.programs.clusters import ClusterJob, running
from pennylane_qexec.server.programs.payloads import seed_of
from pennylane_qexec.server.sources import Kind, Primitives

if TYPE_CHECKING:
    from qiskit.primitives import PrimitiveResult

PROGRAMS = ("circuits", "estimator", "sampler")


def run(job: ClusterJob, program: str, params: Mapping[str, Any]) -> str:
    """The result of a job, as JSON that IBM's client reads, or :class:`~pennylane_qexec.QExecRemote`.

    Args:
        job: the job. Its user's seed is taken from ``params``.
        program: one of :data:`PROGRAMS`.
        params: what its user has sent, decoded: circuits of Qiskit and arrays of NumPy; of ``circuits``, as it came.

    Raises:
        QExecError: it cannot be run, or was not; the text says why to the job's user.
    """
    if program not in PROGRAMS:
        raise ConfigurationError(unknown(f"program of {job.source.name!r}", program, PROGRAMS))
    if program != "circuits":
        from qiskit_ibm_runtime.utils import RuntimeEncoder

        return json.dumps(run_primitive(job, program, params), cls=RuntimeEncoder)
    with running(job.id):
        if job.source.kind is Kind.PRIMITIVES:
            raise ConfigurationError(f"{job.source.name!r} runs a sampler and an estimator, and no other programs.")
        return circuits.run(job, params)


def run_primitive(job: ClusterJob, program: str, params: Mapping[str, Any]) -> PrimitiveResult:
    """The result of a sampler or an estimator.

    Args:
        job: the job.
        program: ``"sampler"`` or ``"estimator"``.
        params: with PUBs and options, decoded.

    Raises:
        QExecError: it cannot be run, or was not.
    """
    with running(job.id):
        return _run_primitive(job, program, params)


def _run_primitive(job: ClusterJob, program: str, params: Mapping[str, Any]) -> PrimitiveResult:
    from qiskit.primitives import PrimitiveResult
    from qiskit.primitives.containers.estimator_pub import EstimatorPub
    from qiskit.primitives.containers.sampler_pub import SamplerPub

    from pennylane_qexec.server.programs import primitives

    options, pubs = params.get("options") or {}, [tuple(pub) for pub in params["pubs"]]
    given, result = job.source.given, None
    shots, precision = options.get("default_shots") or primitives.SHOTS, _precision(options, primitives.PRECISION)
    if isinstance(given, Primitives) and job.source.kind is Kind.PRIMITIVES:
        if program == "sampler":
            result = given.execute_sampler(_completed(pubs, 3, shots), dict(options), job.metadata.name)
        else:
            result = given.execute_estimator(_completed(pubs, 4, precision), dict(options), job.metadata.name)
    elif program == "sampler":
        result = primitives.sampled(_with_seed(job, options), _coerced(SamplerPub, pubs, shots))
    else:
        result = primitives.estimated(_with_seed(job, options), _coerced(EstimatorPub, pubs, precision))
    if not isinstance(result, PrimitiveResult):
        raise ConfigurationError(f"{job.source.name!r} returned {type(result).__name__} in place of a PrimitiveResult.")
    return result


def _completed(pubs: Sequence[tuple[Any, ...]], length: int, usual: float) -> list[tuple[Any, ...]]:
    """The PUBs, with the shots or the precision at their end that those are to have which have none."""
    whole = [(*pub, *[None] * (length - len(pub))) for pub in pubs]
    return [(*pub[:-1], usual) if pub[-1] is None else pub for pub in whole]


def _coerced(kind: Any, pubs: Sequence[tuple[Any, ...]], usual: float) -> list[Any]:
    """The PUBs, as Qiskit checks them.

    Args:
        kind: of PUBs.
        pubs: what the user has sent.
        usual: the shots, or the precision, of those that have none.
    """
    from qiskit.exceptions import QiskitError

    coerced = []
    for number, pub in enumerate(pubs):
        try:
            coerced.append(kind.coerce(pub, usual))
        except (QiskitError, TypeError, ValueError) as error:
            raise ConfigurationError(f"PUB {number} is not valid: {error}") from error
    return coerced


def _precision(options: Mapping[str, Any], usual: float) -> float:
    """That of PUBs without one. A number of shots goes first, as in IBM's local testing mode."""
    if shots := options.get("default_shots"):
        return 1 / math.sqrt(shots)
    return float(options.get("default_precision") or usual)


def _with_seed(job: ClusterJob, options: Mapping[str, Any]) -> ClusterJob:
    """The job with its user's seed, if what else the user asks of the simulation can be had."""
    simulator = options.get("simulator") or {}
    if simulator.get("noise_model") is not None:
        raise ConfigurationError(
            f"noise_model: {job.source.name!r} has its own noise, or none. Take a backend that Aer executes, or leave "
            "the option out."
        )
    kind = (options.get("execution") or {}).get("meas_type", "classified")
    if kind != "classified":
        raise ConfigurationError(f"meas_type={kind!r}: {job.source.name!r} measures bits. Leave the option out.")
    return replace(job, seed=seed_of(options))
