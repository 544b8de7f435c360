"""A task run by the program and the source that it names: what worker processes call."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pennylane_qexec.errors import ConfigurationError, JobCancelledError, QExecError
from pennylane_qexec.redaction import scrub
from pennylane_qexec.server.catalogue import DRY_RUN, Catalogue
from pennylane_qexec.server.limits import Limits
from pennylane_qexec.server.programs.options import CIRCUITS, EXECUTOR, PRIMITIVES, check_params
from pennylane_qexec.server.programs.payloads import decoded
from pennylane_qexec.server.programs.pubs import checked_pubs
from pennylane_qexec.server.programs.tasks import FAILED, INVALID, Answer, ProgramError, Task
from pennylane_qexec.server.sources import Kind, Source

if TYPE_CHECKING:
    from qiskit.primitives import PrimitiveResult

    from pennylane_qexec.server.programs.clusters import ClusterJob

Params = Any
"""What a program is run with: the parameters of a job, decoded."""


def run(task: Task, catalogue: Catalogue, sources: Mapping[str, Source], limits: Limits) -> list[Answer]:
    """Run a task.

    Args:
        task: of one job, or of several that run as one.
        catalogue: has the backend.
        sources: what runs jobs, by the names of the executors of published backends.
        limits: how large payloads and circuits may be.

    Returns:
        What became of each job, in order. Nothing that a job can do raises.
    """
    start = time.perf_counter()
    read = [_read(task.program, payload, limits) for payload in task.payloads]
    good = [number for number, params in enumerate(read) if not isinstance(params, Answer)]
    rest = replace(task, ids=tuple(task.ids[number] for number in good))
    answers = iter(_answers(rest, [read[number] for number in good], catalogue, sources, limits, start) if good else ())
    return [one if isinstance(one, Answer) else next(answers) for one in read]


def _read(program: str, payload: bytes, limits: Limits) -> Any:
    """What a program is run with, or an :class:`Answer` that says why it is not."""
    try:
        if program == EXECUTOR:
            from pennylane_qexec.server.programs import quantum_payloads

            return quantum_payloads.decoded(payload, limits)
        params: Params = json.loads(payload) if program == CIRCUITS else decoded(payload, limits)
        check_params(program, params)
        if program in PRIMITIVES:
            checked_pubs(program, params, limits)
        return params
    except ProgramError as error:
        return Answer(None, error.reason, error.code)
    except ConfigurationError as error:
        return Answer(None, _reason(error), FAILED)
    except (ValueError, RecursionError) as error:
        return Answer(None, f"the payload is no JSON: {error}", INVALID)


def _answers(
    task: Task,
    params: Sequence[Params],
    catalogue: Catalogue,
    sources: Mapping[str, Source],
    limits: Limits,
    start: float,
) -> list[Answer]:
    try:
        results = _results(task, params, catalogue, sources, limits)
    except JobCancelledError:
        return [Answer(None, "the job was cancelled.", cancelled=True, seconds=_share(start, params))] * len(params)
    except Exception as error:
        if len(params) > 1:  # it may be one of them alone
            alone = [(replace(task, ids=(job,)), one) for job, one in zip(task.ids, params, strict=True)]
            return [_answers(own, [one], catalogue, sources, limits, time.perf_counter())[0] for own, one in alone]
        return [Answer(None, _reason(error), FAILED, _share(start, params))]
    seconds = _share(start, params)
    return [Answer(result, seconds=seconds) for result in results]


def _share(start: float, params: Sequence[Params]) -> float:
    return (time.perf_counter() - start) / len(params)


def _reason(error: Exception) -> str:
    """What a user is told of an error: what it says, without where in our files it was raised."""
    said = scrub(" ".join(str(error).split()))[:2000]
    return said if isinstance(error, QExecError) else f"{type(error).__name__}: {said}"


def _results(
    task: Task, params: Sequence[Params], catalogue: Catalogue, sources: Mapping[str, Source], limits: Limits
) -> list[str]:
    if task.backend.executor == DRY_RUN:
        if task.program == EXECUTOR:
            from pennylane_qexec.server.programs import quantum_programs

            jobs = zip(params, task.ids, strict=True)
            return [quantum_programs.dry_run(one, job, limits.memory) for one, job in jobs]
        from pennylane_qexec.server.programs import dry_runs

        return [dry_runs.run(task.program, one, limits) for one in params]
    source = sources[task.backend.executor]
    if task.program == EXECUTOR:
        from pennylane_qexec.server.programs import quantum_programs

        return [
            quantum_programs.run(one, job, _sampler(task, job, catalogue, source, limits), limits.memory)
            for one, job in zip(params, task.ids, strict=True)
        ]
    if source.kind is Kind.AER and task.program in PRIMITIVES:
        from qiskit_ibm_runtime.utils import RuntimeEncoder

        from pennylane_qexec.server.programs import aer

        found = aer.run(task.program, task.backend, params, catalogue, source, limits.memory)
        return [json.dumps(one, cls=RuntimeEncoder) for one in found]
    from pennylane_qexec.server.programs import ours

    return [
        ours.run(_cluster_job(task, job, catalogue, source), task.program, one)
        for job, one in zip(task.ids, params, strict=True)
    ]


def _sampler(
    task: Task, job: str, catalogue: Catalogue, source: Source, limits: Limits
) -> Callable[[Mapping[str, Any]], PrimitiveResult]:
    """The program ``sampler`` of the backend that a task names."""

    def sample(params: Mapping[str, Any]) -> PrimitiveResult:
        if source.kind is Kind.AER:
            from pennylane_qexec.server.programs import aer

            return aer.run("sampler", task.backend, [params], catalogue, source, limits.memory)[0]
        from pennylane_qexec.server.programs import ours

        return ours.run_primitive(_cluster_job(task, job, catalogue, source), "sampler", params)

    return sample


def _cluster_job(task: Task, job: str, catalogue: Catalogue, source: Source) -> ClusterJob:
    from pennylane_qexec.server.programs.clusters import ClusterJob

    metadata = catalogue.metadata(task.backend.metadata)
    return ClusterJob(job, source, metadata, lambda: catalogue.backend(task.backend.metadata), task.store)
