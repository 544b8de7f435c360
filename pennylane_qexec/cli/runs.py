"""``qexec runs``, ``qexec run-info`` and ``qexec cache``: what stores have of durable runs and cached results."""

from __future__ import annotations

import json
import os
import shlex
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from pennylane_qexec.cli.console import JSON, aligned, escape, mistakes, remarks, results
from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.persistence.store import State
from pennylane_qexec.redaction import scrub, scrub_argv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pennylane_qexec.engine.tables import JobRecord
    from pennylane_qexec.persistence.store import Run, Store, StoredJob


# What a store has recorded

WORDS = [state.in_words for state in (State.DONE, State.FAILED, State.CANCELLED, State.SENT, State.WAITING)]
"""What is said of circuits, in the order in which it is listed."""


@dataclass
class Totals:
    """What jobs have used together.

    Attributes:
        circuits: how many there are in each state.
        shots: of those that are done.
        seconds: running time, of all attempts.
        cost: US dollars, of all attempts.
    """

    circuits: Counter[str] = field(default_factory=Counter)
    shots: int = 0
    seconds: float = 0.0
    cost: float = 0.0

    def add(self, job: JobRecord, state: str, circuits: int = 1) -> None:
        """Count a job of some circuits, in a state as people know it."""
        self.circuits[state] += circuits
        self.shots += job.shots if state == "done" else 0
        self.seconds += job.seconds
        self.cost += job.cost

    def to_dict(self) -> dict[str, object]:
        """What can be written as JSON."""
        circuits = {name.replace(" ", "_"): self.circuits[name] for name in WORDS}
        return {
            "circuits": circuits,
            "shots": self.shots,
            "seconds": round(self.seconds, 6),
            "cost": round(self.cost, 6),
        }


@dataclass
class BackendJob:
    """Circuits that are in one job of a backend.

    Attributes:
        executor: the name of the executor that sent it.
        backend: the name of its backend.
        job: the backend's id of the job; the label that it was sent with, if no id is known.
        arrived: whether the backend has told an id.
        asked: when the program asked for the first of these circuits; in seconds since 1970.
        circuits: how many there are.
    """

    executor: str
    backend: str
    job: str
    arrived: bool
    asked: float
    circuits: int = 0


@dataclass
class RunSummary:
    """A run, and what it has recorded.

    Attributes:
        run: the run.
        parent: name of the run that it was forked from; ``None`` if it was not.
        copied: how many circuits came from there with their results.
        together: what its other circuits have used.
        executors: the same for each executor, by its name and that of its backend.
        at_backends: jobs that are at backends, by executor and job.
        failures: circuits that have failed, those that failed last first.
    """

    run: Run
    parent: str | None = None
    copied: int = 0
    together: Totals = field(default_factory=Totals)
    executors: dict[tuple[str, str], Totals] = field(default_factory=dict)
    at_backends: dict[tuple[str, str], BackendJob] = field(default_factory=dict)
    failures: Sequence[StoredJob] = ()

    @property
    def state(self) -> str:
        """Whether it came to its end."""
        return "finished" if self.run.finished else "not finished"


def summary_of(store: Store, run: Run) -> RunSummary:
    """Sum up what a store has recorded of a run. Earlier versions recorded secrets in names, arguments and errors."""
    parent = next((scrub(other.name) for other in store.runs() if other.id == run.parent), None)
    found = RunSummary(replace(run, name=scrub(run.name), argv=tuple(scrub_argv(run.argv))), parent)
    for job in store.jobs(run.id):
        if job.copied_from is not None:
            found.copied += job.rows
            continue
        state = State(job.state).in_words
        found.together.add(job, state, job.rows)
        found.executors.setdefault((job.executor, job.backend), Totals()).add(job, state, job.rows)
        if state == "at backends":
            one = BackendJob(job.executor, job.backend, str(job.remote_id), job.state == State.SENT, job.submitted)
            sent = found.at_backends.setdefault((one.executor, one.job), one)
            sent.asked = min(sent.asked, job.submitted)
            sent.circuits += job.rows
    failed = sorted(store.jobs(run.id, [State.FAILED]), key=lambda job: -(job.finished or 0.0))
    found.failures = [job._replace(error=scrub(job.error)) for job in failed]
    return found


def moment(seconds: float) -> str:
    """A time in seconds since 1970, as ISO 8601 has it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


# The store

VARIABLE = "QEXEC_STORE"

STORE = Annotated[
    str | None,
    typer.Option("--store", help=f"The file or URL of the store. Default: the environment variable {VARIABLE}."),
]


@contextmanager
def opened(given: str | None) -> Iterator[Store]:
    """The store that was named, or that of the environment variable, to be read; one in a file must be there.

    Raises:
        ConfigurationError: none was named, or there is no such file.
    """
    from pennylane_qexec.persistence.store.sql import open_to_read

    with open_to_read(named_store(given)) as store:
        yield store


def named_store(given: str | None) -> str:
    """The file or URL of the store that was named, or that of the environment variable; one in a file must be there.

    Raises:
        ConfigurationError: none was named, or there is no such file.
    """
    url = given or os.environ.get(VARIABLE)
    if not url:
        raise ConfigurationError(
            f"no store is named: give its file or URL with --store, or in the environment variable {VARIABLE}."
        )
    file = file_of(url)
    if file is not None and not Path(file).expanduser().exists():
        raise ConfigurationError(f"there is no file {file!r}: give the file or URL of the store of a durable run.")
    return url


def file_of(url: str) -> str | None:
    """The file in which a store is; ``None`` if it is in none."""
    scheme, is_url, rest = url.partition("://")
    if not is_url:
        return url
    return rest.removeprefix("/").partition("?")[0] if scheme.startswith("sqlite") else None


# Commands

_MOST_ERRORS = 5

runs = typer.Typer(help="List the durable runs of a store, or fork one.")


@runs.callback(invoke_without_command=True)
def list_runs(context: typer.Context, store: STORE = None, as_json: JSON = False) -> None:
    """List the durable runs of a store, the one opened last first; or fork one."""
    if context.invoked_subcommand is not None:
        return
    with mistakes(remarks(), as_json), opened(store) as place:
        found, where = [summary_of(place, run) for run in place.runs()], place.url
    if as_json:
        typer.echo(json.dumps({"store": where, "runs": [_plain(one) for one in found]}, indent=2))
        return
    if not found:
        results().print(f"There are no runs in {escape(where)}.", highlight=False)
        return
    table = Table("run", "begun, and last\nopened (UTC)", "state", "circuits", "shots", "cost ($)")
    for one in found:
        times = f"{_clock(one.run.created)}\n{_clock(one.run.opened)}"
        name = f"{escape(one.run.name)}\n[dim]{_parent(one)}[/]" if one.run.parent is not None else escape(one.run.name)
        table.add_row(name, times, _state(one), *_used(one.together, one.copied))
    results().print(aligned(table, (4, 5), whole=(1, 3, 4, 5)))


@runs.command()
def fork(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the run.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="A name for the new run.")],
    at: Annotated[
        str | None,
        typer.Option("--at", help="How many circuits come along, or a mark of the run. Default: all."),
    ] = None,
    store: STORE = None,
    as_json: JSON = False,
) -> None:
    """Begin a run that has what another one had recorded up to some place, and buys nothing of it again."""
    with mistakes(remarks(), as_json), opened(store) as place:
        found = summary_of(place, place.fork_run(name, new, at))
    without = found.run.fork_point - found.copied if found.run.fork_point else 0
    if as_json:
        typer.echo(json.dumps(_plain(found), indent=2))
        return
    results().print(
        f"{escape(new)} has what {escape(name)} had recorded up to circuit {found.run.fork_point:,}. Go on with it by "
        f"durable_run({escape(repr(new))}, ...).",
        highlight=False,
    )
    if at is not None and at.strip().isdecimal() and int(at) != found.run.fork_point:
        results().print("Circuits that were recorded together come along together, or not at all.", highlight=False)
    if without:
        results().print(f"Without a result, and to be run: {without:,}.", highlight=False)


def show_run(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the run.")],
    store: STORE = None,
    as_json: JSON = False,
) -> None:
    """Show what a durable run has recorded: its circuits by executor, its jobs at backends, its last errors."""
    with mistakes(remarks(), as_json), opened(store) as place:
        found, where = summary_of(place, place.run(name)), place.url
    if as_json:
        typer.echo(json.dumps({"store": where, **_plain(found), **_details(found)}, indent=2))
    else:
        _print(found, where)


def _print(found: RunSummary, where: str) -> None:
    console, run = results(), found.run
    facts = {
        "run": f"[bold]{escape(run.name)}[/], {_state(found)}",
        "begun": f"{_clock(run.created)} UTC, last opened {_clock(run.opened)} UTC",
        "program": escape(shlex.join(run.argv)),
        "versions": escape(run.versions),
        "store": escape(where),
    }
    if run.parent is not None:
        facts["forked"] = f"{_parent(found)}, which had {found.copied:,} of the circuits done"
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        grid.add_row(name, value)
    console.print(grid)
    if found.executors:
        console.print(_by_executor(found))
    if found.at_backends:
        console.print(_at_backends(found))
    for line in _failures(found):
        console.print(line, highlight=False)


def _failures(found: RunSummary) -> list[str]:
    """The last errors that differ."""
    same: dict[str, list[StoredJob]] = {}
    for job in found.failures:
        same.setdefault(job.error, []).append(job)
    lines = []
    for error, jobs in list(same.items())[:_MOST_ERRORS]:
        more = sum(job.rows for job in jobs) - 1
        others = f" and {more:,} more" if more else ""
        when = f"{_clock(jobs[0].finished or 0.0)} UTC, on {escape(jobs[0].executor)}"
        lines.append(f"[red]Circuit {jobs[0].number + 1}{others} failed[/], {when}: {escape(error)}")
    return lines


def _by_executor(found: RunSummary) -> Table:
    table = Table("executor", "backend", "circuits", "shots", "seconds", "cost ($)", title="Who ran what")
    for (executor, backend), used in found.executors.items():
        circuits, shots, cost = _used(used)
        who = escape(executor) or "[dim]none yet[/]"
        table.add_row(who, escape(backend), circuits, shots, f"{used.seconds:,.2f}", cost)
    return aligned(table, (3, 4, 5), whole=(2, 3, 4, 5))


def _at_backends(found: RunSummary) -> Table:
    table = Table("executor", "job", "circuits", "asked for (UTC)", title="At backends")
    for sent in found.at_backends.values():
        name = escape(sent.job) if sent.arrived else f"perhaps, with the label {escape(sent.job)}"
        table.add_row(escape(sent.executor), name, f"{sent.circuits:,}", _clock(sent.asked))
    return aligned(table, (2,), whole=(2, 3))


def _parent(found: RunSummary) -> str:
    return f"from {escape(found.parent or 'a run that is gone')} at circuit {found.run.fork_point:,}"


def _used(used: Totals, copied: int = 0) -> tuple[str, str, str]:
    """Circuits, shots and cost, for a table."""
    circuits = [f"{number:,} {where}" for where, number in used.circuits.items()]
    circuits += [f"{copied:,} copied"] if copied else []
    return "\n".join(circuits) or "none", f"{used.shots:,}", f"{used.cost:,.2f}"


def _plain(found: RunSummary) -> dict[str, Any]:
    run = found.run
    times = {"begun": moment(run.created), "opened": moment(run.opened)}
    forked = {"parent": found.parent, "fork_point": run.fork_point, "copied": found.copied}
    return {"name": run.name, **times, "finished": run.finished, **forked, **found.together.to_dict()}


def _details(found: RunSummary) -> dict[str, Any]:
    return {
        "argv": list(found.run.argv),
        "versions": found.run.versions,
        "executors": [
            {"executor": executor, "backend": backend, **used.to_dict()}
            for (executor, backend), used in found.executors.items()
        ],
        "at_backends": [{**vars(sent), "asked": moment(sent.asked)} for sent in found.at_backends.values()],
        "errors": [
            {
                "circuit": job.number + 1,
                "circuits": job.rows,
                "executor": job.executor,
                "attempts": job.attempt,
                "failed": moment(job.finished or 0.0),
                "error": job.error,
            }
            for job in found.failures
        ],
    }


def _state(found: RunSummary) -> str:
    return f"[green]{found.state}[/]" if found.run.finished else f"[yellow]{found.state}[/]"


def _clock(seconds: float) -> str:
    """A time in seconds since 1970, for people, in UTC."""
    return moment(seconds)[:16].replace("T", " ")


# Cached results

caches = typer.Typer(help="Look at cached results, or forget them.", no_args_is_help=True)

_URL = Annotated[
    str | None, typer.Argument(metavar="[URL]", help="A file or a database. Default: QEXEC_CACHE, or the user's cache.")
]


@caches.command()
def info(url: _URL = None, as_json: JSON = False) -> None:
    """Show how much is cached, and where."""
    from pennylane_qexec.persistence.cache.location import in_words

    with mistakes(remarks(), as_json), _store(url) as store:
        found, where = store.cache_info(), store.url
    oldest = moment(found.oldest) if found.entries else None
    if as_json:
        typer.echo(json.dumps({**found._asdict(), "oldest": oldest, "url": where}, indent=2))
        return
    table = Table("results", "size", "used", "oldest", "where")
    table.add_row(f"{found.entries:,}", in_words(found.bytes), f"{found.uses:,}", oldest or "", escape(where))
    results().print(table)


@caches.command()
def clear(url: _URL = None, as_json: JSON = False) -> None:
    """Forget all cached results."""
    with mistakes(remarks(), as_json), _store(url) as store:
        forgotten, where = store.cache_clear(), store.url
    if as_json:
        typer.echo(json.dumps({"forgotten": forgotten, "url": where}, indent=2))
    else:
        results().print(f"{forgotten} results are forgotten: {escape(where)}", highlight=False)


@contextmanager
def _store(url: str | None) -> Iterator[Store]:
    """The store of a cache; a file that was named must be there."""
    from pennylane_qexec.persistence.cache.location import default_url
    from pennylane_qexec.persistence.store import open_store

    if url is not None and "://" not in url and not Path(url).expanduser().exists():
        raise ConfigurationError(f"there is no file {url!r}: give the file of a cache, or its URL.")
    with open_store(default_url() if url is None else url) as store:
        yield store
