"""Durable runs as pages show them: what they have used, who ran it, how they were forked, how their values went."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, case, func, select

from pennylane_qexec.persistence.store import Mark, Run, State
from pennylane_qexec.persistence.store.forks import marks_of
from pennylane_qexec.persistence.store.tables import jobs, marks, runs
from pennylane_qexec.persistence.store.validation import run_of

PAGE = 50
MOST_POINTS = 2000
"""Of one line of a chart."""


@dataclass
class Used:
    """What circuits have used together.

    Attributes:
        circuits: how many there are in each state, as people know it.
        copied: how many came with their results from the run that this one was forked from.
        shots: of those that are done, but for those copied, as for the rest.
        seconds: running time, of all attempts.
        cost: US dollars, of all attempts.
    """

    circuits: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    copied: int = 0
    shots: int = 0
    seconds: float = 0.0
    cost: float = 0.0

    def add(self, row: Any) -> None:
        """Add a group of circuits."""
        if row.copied:
            self.copied += row.circuits
            return
        state = State(row.state)
        self.circuits[state.in_words] += row.circuits
        self.shots += row.shots if state is State.DONE else 0
        self.seconds += row.seconds
        self.cost += row.cost


_COPIED = case((jobs.c.copied_from.is_not(None), 1), else_=0).label("copied")
_GROUPS = select(
    jobs.c.run,
    jobs.c.executor,
    jobs.c.backend,
    jobs.c.state,
    _COPIED,
    func.sum(jobs.c.rows).label("circuits"),
    func.sum(jobs.c.shots).label("shots"),
    func.sum(jobs.c.seconds).label("seconds"),
    func.sum(jobs.c.cost).label("cost"),
).group_by(jobs.c.run, jobs.c.executor, jobs.c.backend, jobs.c.state, _COPIED)


class RunRow(NamedTuple):
    """A run in the list."""

    run: Run
    used: Used


def page(connection: Connection, before: float | None, after: int | None = None) -> list[RunRow]:
    """The runs opened last, or those opened before a time: one more than :data:`PAGE`, if there are more.

    Args:
        connection: of the transaction.
        before: in seconds since 1970.
        after: only runs with a smaller id of those opened at just that time.
    """
    query = select(runs).order_by(runs.c.opened.desc(), runs.c.id.desc()).limit(PAGE + 1)
    if before is not None:
        at_that_time = and_(runs.c.opened == before, runs.c.id < (after or 0))
        query = query.where((runs.c.opened < before) | at_that_time)
    found = [run_of(row) for row in connection.execute(query)]
    used = _used_by(connection, [run.id for run in found])
    return [RunRow(run, used[run.id]) for run in found]


def _used_by(connection: Connection, ids: Sequence[int]) -> dict[int, Used]:
    used: dict[int, Used] = defaultdict(Used)
    for row in connection.execute(_GROUPS.where(jobs.c.run.in_(ids))):
        used[row.run].add(row)
    return used


@dataclass
class RunDetails:
    """A run, as its page shows it.

    Attributes:
        run: the run.
        used: what its circuits have used.
        executors: the same by executor and backend.
        marks: places at which it can be forked.
        family: the runs of its tree: each with how deep it is below the first one.
        errors: the last errors, with the ids of their circuits.
    """

    run: Run
    used: Used
    executors: dict[tuple[str, str], Used]
    marks: list[Mark]
    family: list[tuple[int, Run]]
    errors: list[tuple[int, str]]


_MOST_ERRORS = 5


def details(connection: Connection, run: int) -> RunDetails | None:
    """What is recorded of a run; ``None`` if there is none of this id."""
    row = connection.execute(select(runs).where(runs.c.id == run)).one_or_none()
    if row is None:
        return None
    used, executors = Used(), defaultdict[tuple[str, str], Used](Used)
    for group in connection.execute(_GROUPS.where(jobs.c.run == run)):
        used.add(group)
        executors[group.executor, group.backend].add(group)
    failed = select(jobs.c.id, jobs.c.error).where(jobs.c.run == run, jobs.c.state == State.FAILED)
    last = connection.execute(failed.order_by(jobs.c.finished.desc()).limit(_MOST_ERRORS))
    found = run_of(row)
    family = _family(connection, found)
    return RunDetails(
        found, used, dict(executors), marks_of(connection, run), family, [(one.id, one.error) for one in last]
    )


def _family(connection: Connection, run: Run) -> list[tuple[int, Run]]:
    """The tree of forks that a run is in, from its first run on; empty if it has no others."""
    forked = select(runs).where(runs.c.parent.is_not(None) | runs.c.id.in_(select(runs.c.parent)))
    known = {one.id: one for one in (run_of(row) for row in connection.execute(forked))}
    if run.id not in known:
        return []
    first = run
    while first.parent in known:
        first = known[first.parent]
    children = defaultdict(list)
    for one in known.values():
        children[one.parent].append(one)
    found, waiting = [], [(0, first)]
    while waiting:
        depth, one = waiting.pop()
        found.append((depth, one))
        waiting += [(depth + 1, child) for child in sorted(children[one.id], key=lambda child: -child.id)]
    return found


# Values


class Points(NamedTuple):
    """A line of a chart: after how many circuits, which value."""

    name: str
    x: list[int]
    values: list[float | None]


def marked(connection: Connection, run: int) -> list[Mark]:
    """The marks of a run that have values, at most so many as a chart shows: the last ones."""
    query = select(marks.c.name, marks.c.number, marks.c.value).where(marks.c.run == run, marks.c.value.is_not(None))
    found = [Mark(*row) for row in connection.execute(query.order_by(marks.c.number.desc()).limit(MOST_POINTS))]
    return found[::-1]


def results(connection: Connection, run: int) -> list[tuple[int, int, str]]:
    """The last results of a run: after how many circuits, of how many rows, and the text."""
    query = select(jobs.c.number, jobs.c.rows, jobs.c.result).where(jobs.c.run == run, jobs.c.result.is_not(None))
    found = connection.execute(query.order_by(jobs.c.number.desc()).limit(MOST_POINTS)).all()
    return [(row.number + row.rows, row.rows, row.result) for row in found[::-1]]


def chart(lines: Sequence[Points], label: str = "circuits") -> dict[str, Any]:
    """Lines as the pages' charts read them: with one axis for all, and nothing where a line has no point."""
    x = sorted({place for line in lines for place in line.x})
    series = []
    for line in lines:
        values = dict(zip(line.x, line.values, strict=True))
        series.append({"name": line.name, "values": [values.get(place) for place in x]})
    return {"title": "", "label": label, "x": x, "series": series}
