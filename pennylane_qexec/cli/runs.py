"""``qexec runs`` and ``qexec run-info``: what durable runs have recorded."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pennylane_qexec.cli.consoles import escape, remarks, results
from pennylane_qexec.cli.mistakes import mistakes
from pennylane_qexec.cli.recorded import Recorded, Used, moment, recorded
from pennylane_qexec.cli.stores import JSON, STORE, opened

if TYPE_CHECKING:
    from pennylane_qexec.store import StoredJob

_MOST_ERRORS = 5


def list_runs(store: STORE = None, as_json: JSON = False) -> None:
    """List the durable runs of a store, the one opened last first."""
    with mistakes(remarks(), as_json), opened(store) as place:
        found, where = [recorded(place, run) for run in place.runs()], place.url
    if as_json:
        typer.echo(json.dumps({"store": where, "runs": [_plain(one) for one in found]}, indent=2))
        return
    if not found:
        results().print(f"There are no runs in {escape(where)}.", highlight=False)
        return
    table = Table("run", "begun, and last\nopened (UTC)", "state", "circuits", "shots", "cost ($)")
    for one in found:
        times = f"{_clock(one.run.created)}\n{_clock(one.run.opened)}"
        table.add_row(escape(one.run.name), times, _state(one), *_used(one.together))
    results().print(_aligned(table, whole=(1, 3), numbers=(4, 5)))


def show_run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the run.")],
    store: STORE = None,
    as_json: JSON = False,
) -> None:
    """Show what a durable run has recorded: its circuits by executor, its jobs at backends, its last errors."""
    with mistakes(remarks(), as_json), opened(store) as place:
        found, where = recorded(place, place.run(name)), place.url
    if as_json:
        typer.echo(json.dumps({"store": where, **_plain(found), **_details(found)}, indent=2))
    else:
        _print(found, where)


def _print(found: Recorded, where: str) -> None:
    console, run = results(), found.run
    facts = {
        "run": f"[bold]{escape(run.name)}[/], {_state(found)}",
        "begun": f"{_clock(run.created)} UTC, last opened {_clock(run.opened)} UTC",
        "program": escape(shlex.join(run.argv)),
        "versions": escape(run.versions),
        "store": escape(where),
    }
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        grid.add_row(name, value)
    console.print(grid)
    if found.executors:
        console.print(_by_executor(found))
    if found.flights:
        console.print(_at_backends(found))
    for line in _failures(found):
        console.print(line, highlight=False)


def _failures(found: Recorded) -> list[str]:
    """The last errors that differ."""
    same: dict[str, list[StoredJob]] = {}
    for job in found.failures:
        same.setdefault(job.error, []).append(job)
    lines = []
    for error, jobs in list(same.items())[:_MOST_ERRORS]:
        others = f" and {len(jobs) - 1:,} more" if len(jobs) > 1 else ""
        when = f"{_clock(jobs[0].finished or 0.0)} UTC, on {escape(jobs[0].executor)}"
        lines.append(f"[red]Circuit {jobs[0].number + 1}{others} failed[/], {when}: {escape(error)}")
    return lines


def _by_executor(found: Recorded) -> Table:
    table = Table("executor", "backend", "circuits", "shots", "seconds", "cost ($)", title="Who ran what")
    for (executor, backend), used in found.executors.items():
        circuits, shots, cost = _used(used)
        who = escape(executor) or "[dim]none yet[/]"
        table.add_row(who, escape(backend), circuits, shots, f"{used.seconds:,.2f}", cost)
    return _aligned(table, whole=(2,), numbers=(3, 4, 5))


def _at_backends(found: Recorded) -> Table:
    table = Table("executor", "job", "circuits", "asked for (UTC)", title="At backends")
    for flight in found.flights.values():
        name = escape(flight.job) if flight.arrived else f"perhaps, with the label {escape(flight.job)}"
        table.add_row(escape(flight.executor), name, f"{flight.circuits:,}", _clock(flight.asked))
    return _aligned(table, whole=(3,), numbers=(2,))


def _used(used: Used) -> tuple[str, str, str]:
    """Circuits, shots and cost, for a table."""
    circuits = [f"{number:,} {where}" for where, number in used.circuits.items()]
    return "\n".join(circuits) or "none", f"{used.shots:,}", f"{used.cost:,.2f}"


def _plain(found: Recorded) -> dict[str, Any]:
    run = found.run
    times = {"begun": moment(run.created), "opened": moment(run.opened)}
    return {"name": run.name, **times, "finished": run.finished, **found.together.plain()}


def _details(found: Recorded) -> dict[str, Any]:
    return {
        "argv": list(found.run.argv),
        "versions": found.run.versions,
        "executors": [
            {"executor": executor, "backend": backend, **used.plain()}
            for (executor, backend), used in found.executors.items()
        ],
        "at_backends": [{**vars(flight), "asked": moment(flight.asked)} for flight in found.flights.values()],
        "errors": [
            {
                "circuit": job.number + 1,
                "executor": job.executor,
                "attempts": job.attempt,
                "failed": moment(job.finished or 0.0),
                "error": job.error,
            }
            for job in found.failures
        ],
    }


def _state(found: Recorded) -> str:
    return f"[green]{found.state}[/]" if found.run.finished else f"[yellow]{found.state}[/]"


def _clock(seconds: float) -> str:
    """A time in seconds since 1970, for people, in UTC."""
    return moment(seconds)[:16].replace("T", " ")


def _aligned(table: Table, whole: tuple[int, ...], numbers: tuple[int, ...]) -> Table:
    """Numbers to the right and in one piece, as some other columns, and no name cut short."""
    for place, column in enumerate(table.columns):
        column.overflow = "fold"
        column.no_wrap = place in (*whole, *numbers)
        column.justify = "right" if place in numbers else "left"
    return table
