"""What came of an experiment, for people and for programs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from pennylane_qexec.cli import summary
from pennylane_qexec.cli.consoles import remarks, results
from pennylane_qexec.cli.mistakes import show

if TYPE_CHECKING:
    from pathlib import Path

    from pennylane_qexec.experiment import ResultCollector


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
    from pennylane_qexec.errors import PartialResultError, QExecError

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
    from pennylane_qexec.experiment.panels import panels, panels_of_records

    console = results()
    records = found.collector.records
    if found.any_result:
        shown = panels_of_records(records) if found.merged is None else panels(found.merged)
        for panel in shown[:_MOST_TABLES]:
            console.print(summary.of_circuit(panel, found.names[panel.circuit]))
        if len(shown) > _MOST_TABLES:
            console.print(f"{len(shown) - _MOST_TABLES} more circuits are not shown: all are in --json and --save.")
    console.print(summary.who_ran_what(records))


def print_problems(found: Findings) -> None:
    """Show what went wrong, backend by backend."""
    for place, error in summary.errors(found.collector.records).items():
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

    from pennylane_qexec.errors import ConfigurationError
    from pennylane_qexec.experiment.panels import panels, panels_of_records
    from pennylane_qexec.experiment.plots import plot_panels

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
