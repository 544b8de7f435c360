"""The results of an experiment as tables and pictures for people, and as JSON for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import typer
from rich.table import Table

from pennylane_qexec.cli.console import aligned, escape, remarks, results, show
from pennylane_qexec.cli.runs import Totals
from pennylane_qexec.errors import ConfigurationError, PartialResultError, QExecError

if TYPE_CHECKING:
    from pathlib import Path

    from pennylane_qexec.experiment import ResultCollector
    from pennylane_qexec.experiment.plots import Panel
    from pennylane_qexec.experiment.tasks import Record


# Tables

MOST_OUTCOMES = 20
"""How many outcomes are shown; the rest are summed up."""

_MOST_COLUMNS = 4
_OUTCOMES_IN_COLUMNS = 6
_BAR = 30


def of_circuit(panel: Panel, name: str) -> Table:
    """A circuit's counts by outcome, or numbers by backend.

    Args:
        panel: what there is to see of it.
        name: its name.
    """
    title = escape(name)
    if not panel.counts:
        return _scores(panel.scores, title)
    if len(panel.counts) == 1:
        return _bars(next(iter(panel.counts.values())), title)
    return _shares(panel.counts, title)


def who_ran_what(records: Sequence[Record]) -> Table:
    """One line for each backend: circuits, shots that came back, seconds, and how the circuits ended."""
    table = Table("backend", "circuits", "shots", "seconds", "state", title="Who ran what")
    for place in dict.fromkeys(record.place for record in records):
        totals = Totals()
        for record in records:
            if record.place == place:
                totals.add(record, str(record.state))
        states = totals.circuits
        table.add_row(
            escape(place),
            str(states.total()),
            f"{totals.shots:,}",
            f"{totals.seconds:.2f}",
            ", ".join(_in_colour(state, number if len(states) > 1 else 0) for state, number in states.items()),
        )
    return aligned(table, (1, 2, 3))


def errors(records: Sequence[Record]) -> dict[str, str]:
    """The first error of each backend that had some, and how many more there are."""
    found: dict[str, list[str]] = {}
    for record in records:
        if record.error:
            found.setdefault(record.place, []).append(record.error)
    return {
        place: texts[0] + (f" (and {len(texts) - 1} more)" if len(texts) > 1 else "") for place, texts in found.items()
    }


def _bars(counts: Mapping[str, int], title: str) -> Table:
    """The outcomes of one result, the most frequent first."""
    table = Table("outcome", "shots", "share", "", title=title)
    total, most = sum(counts.values()), max(counts.values())
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    for outcome, count in ranked[:MOST_OUTCOMES]:
        table.add_row(escape(outcome), f"{count:,}", _percent(count, total), "█" * round(_BAR * count / max(most, 1)))
    rest = ranked[MOST_OUTCOMES:]
    if rest:
        count = sum(count for _, count in rest)
        table.add_row(f"{len(rest)} others", f"{count:,}", _percent(count, total), "")
    return aligned(table, (1, 2))


def _shares(counts: Mapping[str, Mapping[str, int]], title: str) -> Table:
    """The most frequent outcomes of several backends, one of which has a column if they are few, and else a line."""
    from pennylane_qexec.experiment.plots import shares

    few = len(counts) <= _MOST_COLUMNS
    outcomes, rows = shares(counts, MOST_OUTCOMES if few else _OUTCOMES_IN_COLUMNS)
    cells: Iterable[Iterable[str]] = [[f"{share:.1f} %" for share in row] for row in rows.values()]
    lines, columns = list(rows), list(outcomes)
    if few:
        lines, columns, cells = columns, lines, zip(*cells, strict=True)
    table = Table("outcome" if few else "backend", *map(escape, columns), title=title)
    for name, line in zip(lines, cells, strict=True):
        table.add_row(escape(name), *line)
    return aligned(table, range(1, len(columns) + 1))


def _scores(scores: Mapping[str, float], title: str) -> Table:
    table = Table("backend", "value", title=title)
    for label, value in sorted(scores.items(), key=lambda item: item[1]):
        table.add_row(escape(label), f"{value:.5g}")
    return aligned(table, (1,))


def _percent(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %" if total else ""


def _in_colour(state: str, number: int) -> str:
    text = f"{number} {state}" if number else state
    return text if state in ("done", "running", "waiting") else f"[red]{text}[/]"


# Reports

_WAYS_OUT = "--on-failure rerun runs their shots again, --on-failure partial merges what is there."
_MOST_TABLES = 6


class Findings(NamedTuple):
    """What came of an experiment.

    Attributes:
        names: of the circuits.
        collector: the results.
        merged: what the merge made of them; ``None`` if there was none, or it could not.
        problem: why it could not; ``""`` otherwise.
        failed: whether something that was asked for is missing.
    """

    names: Sequence[str]
    collector: ResultCollector
    merged: Any
    problem: str
    failed: bool

    @property
    def any_result(self) -> bool:
        """Whether anything came back."""
        return any(record.result is not None for record in self.collector.records)


def find(names: Sequence[str], collector: ResultCollector, merges: bool, forgives: bool) -> Findings:
    """Look at what came of an experiment that has ended.

    Args:
        names: of the circuits.
        collector: its results.
        merges: whether merged results are wanted.
        forgives: whether jobs that failed do not matter if others have run their shots.
    """
    merged, problem, failed = None, "", bool(collector.errors) and not forgives
    try:
        merged = collector.get_merged_results()
    except PartialResultError:
        missing = sum(record.state != "done" for record in collector.records)
        problem = f"{missing} of {len(collector.records)} jobs have no result. {_WAYS_OUT}"
    except QExecError as error:
        problem = f"{type(error).__name__}: {error}"
    failed = failed or bool(problem)
    return Findings(names, collector, merged if merges else None, problem if merges else "", failed)


def print_json(found: Findings) -> None:
    """Print everything as one JSON object."""
    collector = found.collector
    document = {
        "circuits": list(found.names),
        "results": _by_backend(found),
        "merged": found.merged,
        "problem": found.problem or None,
        "errors": {
            f"{provider}/{name}": [f"{type(error).__name__}: {error}" for error in errors]
            for provider, named in collector.errors.items()
            for name, errors in named.items()
        },
        "jobs": [{**asdict(record), "state": str(record.state)} for record in collector.records],
    }
    typer.echo(json.dumps(document, indent=2))


def print_tables(found: Findings) -> None:
    """Print what was counted, who ran what, and what went wrong."""
    from pennylane_qexec.experiment.plots import panels, panels_of_records

    console = results()
    records = found.collector.records
    if found.any_result:
        shown = panels_of_records(records) if found.merged is None else panels(found.merged)
        for panel in shown[:_MOST_TABLES]:
            console.print(of_circuit(panel, found.names[panel.circuit]))
        if len(shown) > _MOST_TABLES:
            console.print(f"{len(shown) - _MOST_TABLES} more circuits are not shown: all are in --json and --save.")
    console.print(who_ran_what(records))


def print_problems(found: Findings) -> None:
    """Show what went wrong, backend by backend."""
    for place, error in errors(found.collector.records).items():
        show(remarks(), place, error)
    if found.problem:
        show(remarks(), "Not merged", found.problem)


def draw(found: Findings, path: Path) -> None:
    """Draw what was counted into a picture.

    Raises:
        ConfigurationError: it cannot be written there.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from pennylane_qexec.experiment.plots import panels, panels_of_records, plot_panels

    figure = Figure()
    FigureCanvasAgg(figure)
    shown = panels_of_records(found.collector.records) if found.merged is None else panels(found.merged)
    plot_panels(shown, figure)
    try:
        figure.savefig(path, dpi=120, bbox_inches="tight")
    except OSError as error:
        raise ConfigurationError(f"{str(path)!r} cannot be written ({error}): give another path.") from error


def _by_backend(found: Findings) -> dict[str, dict[str, list[dict[str, int] | None]]]:
    """Counts by provider and backend, one for each circuit; those of several jobs are added up."""
    totals: dict[str, dict[str, list[dict[str, int] | None]]] = {}
    for record in found.collector.records:
        named = totals.setdefault(record.provider, {})
        circuits = named.setdefault(record.backend, [None] * len(found.names))
        if record.result is not None:
            circuits[record.circuit] = dict(Counter(circuits[record.circuit] or {}) + Counter(record.result))
    return totals
