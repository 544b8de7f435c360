"""From dispatches to entries: what is run, checked before anything is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.experiment.dispatch import Dispatch
from pennylane_qexec.experiment.dispatched import DispatchJob
from pennylane_qexec.experiment.entry import Entry
from pennylane_qexec.experiment.forms import Form, form_of
from pennylane_qexec.programs import Program, read
from pennylane_qexec.programs.bits import Order
from pennylane_qexec.providers import Backend


def joined(dispatches: Sequence[Dispatch]) -> Dispatch:
    """One dispatch for several circuits.

    Args:
        dispatches: one for each circuit, in order.

    Returns:
        Their jobs. Those of one backend and with equal options are one job with several circuits, so that a seed is the
        seed of all of them.
    """
    groups: dict[Any, list[tuple[DispatchJob, int]]] = {}
    for number, dispatch in enumerate(dispatches):
        seen: Counter[Any] = Counter()
        for job in dispatch:
            key = (job.place, tuple(sorted((name, repr(value)) for name, value in job.config.items())))
            seen[key] += 1
            groups.setdefault((*key, seen[key]), []).append((job, number))
    result = Dispatch(adds_up=all(dispatch.adds_up for dispatch in dispatches))
    for parts in groups.values():
        first = parts[0][0]
        result.append(
            DispatchJob(
                first.provider_name,
                first.backend_name,
                tuple([circuit for job, _ in parts for circuit in job.circuits]),
                tuple([shots for job, _ in parts for shots in job.shots]),
                first.config,
                tuple([number for job, number in parts for _ in job.circuits]),
            )
        )
    return result


def entries_of(
    dispatch: Dispatch, programs: Mapping[int, Program], find: Callable[[str, str], Backend], order: Order
) -> list[Entry]:
    """The entries of a dispatch, in its order.

    Args:
        dispatch: the jobs.
        programs: programs that were read already, by the identity of their circuits.
        find: finds a backend by the names of its provider and its own.
        order: how bit strings are written.

    Raises:
        ConfigurationError: the dispatch is empty, a circuit cannot be read or has no shots, or there is no such
            backend or option.
    """
    if not len(dispatch):
        raise ConfigurationError("the dispatch has no jobs: add some with add_job(...).")
    backends = {job.place: find(job.provider_name, job.backend_name) for job in dispatch}
    for job in dispatch:
        backends[job.place].check(job.config)
    known = dict(programs)
    shots = _totals(dispatch, known)
    forms: dict[tuple[int, int], Form] = {}
    entries = []
    shares: Counter[int] = Counter()
    for number, job in enumerate(dispatch):
        for circuit, wanted, place in zip(job.circuits, job.shots, job.numbers, strict=True):
            program = known[id(circuit)]
            key = (place, id(circuit))
            if key not in forms:
                forms[key] = form_of(program, shots[place], order)
            own = program.shots if wanted is None else wanted
            _check(program, own, place)
            entries.append(Entry(number, place, backends[job.place], own, job.config, forms[key], shares[place]))
            shares[place] += 1
    return entries


def _totals(dispatch: Dispatch, known: dict[int, Program]) -> dict[int, int | None]:
    """All the shots of each circuit; circuits that are not known yet are read."""
    totals: dict[int, int | None] = {}
    for job in dispatch:
        for circuit, wanted, number in zip(job.circuits, job.shots, job.numbers, strict=True):
            if id(circuit) not in known:
                known[id(circuit)] = read(circuit)
            own = known[id(circuit)].shots if wanted is None else wanted
            totals[number] = (totals.get(number) or 0) + own if own is not None else totals.get(number)
    return totals


def _check(program: Program, shots: int | None, number: int) -> None:
    if shots is None and program.bits is not None:
        raise ConfigurationError(
            f"circuit {number} has its outcomes counted, and no shots: give shots=, a number or one for each circuit."
        )
