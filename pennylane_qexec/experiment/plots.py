"""Pictures of an experiment: what was counted, and who ran when."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pennylane_qexec.errors import ConfigurationError
from pennylane_qexec.experiment.drawing import draw, size
from pennylane_qexec.experiment.panels import Panel, panels, panels_of_records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pennylane_qexec.engine.history import Row
    from pennylane_qexec.experiment.record import Record

MOST_PANELS = 6
"""How many circuits are drawn, unless they are chosen."""

_OUTCOMES = 16


def plot_counts(
    records: Iterable[Record], circuit: int = 0, ax: Axes | None = None, *, outcomes: int = _OUTCOMES
) -> Axes:
    """Draw how often each backend saw each outcome of a circuit, as shares of its shots.

    Up to eight backends have bars side by side; with more, each has a line, and shades stand for bars.

    Args:
        records: the jobs; those without a result are left out.
        circuit: number of the circuit, from 0.
        ax: matplotlib axes to draw on; default: new ones.
        outcomes: how many outcomes to show, at least 1: the most frequent ones; the rest are summed up as ``"others"``.

    Returns:
        The axes.

    Raises:
        ConfigurationError: the circuit has no result, or one that is neither counts nor a number.
    """
    return _plot(_chosen(panels_of_records(records), circuit), ax, outcomes)


def plot_merged(data: Any, circuit: int = 0, ax: Axes | None = None, *, outcomes: int = _OUTCOMES) -> Axes:
    """Draw what a merge made of the results of a circuit.

    Counts are drawn as :func:`plot_counts` does; numbers, as the merge ``"tvd"`` gives them, are horizontal bars, the
    smallest first.

    Args:
        data: counts by outcome, or a number, or lists of them (one for each circuit), inside any number of mappings by
            provider, backend, or both: ``{"00": 10, "11": 14}``, ``{"local_aer/fake_manila": 0.03}``.
        circuit: number of the circuit, from 0.
        ax: matplotlib axes to draw on; default: new ones.
        outcomes: how many outcomes to show, at least 1.

    Returns:
        The axes.

    Raises:
        ConfigurationError: there is nothing to draw, or something else than counts and numbers.
    """
    return _plot(_chosen(panels(data), circuit), ax, outcomes)


def plot_panels(
    found: Sequence[Panel],
    figure: Figure | None = None,
    *,
    outcomes: int = _OUTCOMES,
    circuits: Iterable[int] | None = None,
) -> list[Axes]:
    """Draw several circuits, one below the other.

    Args:
        found: what :func:`~pennylane_qexec.experiment.panels.panels` reads.
        figure: the matplotlib figure to draw on, which is made as large as it has to be; default: a new one.
        outcomes: how many outcomes to show, at least 1.
        circuits: numbers of the circuits to draw, from 0; default: the first six.

    Returns:
        The axes, one for each circuit drawn.

    Raises:
        ConfigurationError: a circuit has no result.
    """
    chosen = found[:MOST_PANELS] if circuits is None else [_chosen(found, circuit) for circuit in circuits]
    if figure is None:
        import matplotlib.pyplot as plt

        figure = plt.figure()
    sizes = [size(panel, outcomes) for panel in chosen]
    heights = [height for _, height in sizes]
    figure.set_size_inches(max(width for width, _ in sizes), sum(heights))
    figure.set_layout_engine("constrained")
    axes = list(figure.subplots(len(chosen), 1, squeeze=False, height_ratios=heights)[:, 0])
    for panel, ax in zip(chosen, axes, strict=True):
        _plot(panel, ax, outcomes)
        if len(found) > 1:
            ax.set_title(f"circuit {panel.circuit}", loc="left", fontsize=10)
    return axes


def plot_timeline(records: Iterable[Record], ax: Axes | None = None) -> Axes:
    """Draw when each backend had its jobs waiting and running, as bars over seconds since the first was submitted.

    Jobs that failed or were cancelled have colours of their own, and those that go on are drawn until now. A cross
    stands for jobs that failed before they could be sent.

    Args:
        records: the jobs.
        ax: matplotlib axes to draw on; default: new ones.

    Returns:
        The axes.
    """
    from pennylane_qexec.engine.timeline import FAILED
    from pennylane_qexec.engine.timeline import draw as draw_bars

    jobs = list(records)
    rows = _rows(jobs)
    if ax is None:
        import matplotlib.pyplot as plt

        lines = max(1, len({row.executor for row in rows}))
        ax = plt.subplots(figsize=(9, 1.2 + min(0.5, 0.2 + 2 / lines) * lines), layout="constrained")[1]
    draw_bars(rows, ax, queued=True)
    unsent = {job.place for job in jobs if job.state == "failed" and not job.submitted}
    places = [line for line, name in enumerate(dict.fromkeys(row.executor for row in rows)) if name in unsent]
    if places:
        ax.plot([0.0] * len(places), places, "x", color=FAILED, markersize=6)
    ax.tick_params(axis="y", labelsize=8)
    return ax


def _rows(jobs: Sequence[Record]) -> list[Row]:
    """What the engine's timeline draws. Jobs that were never sent have a line, without a bar."""
    from pennylane_qexec.engine.history import Row

    first = min((job.submitted for job in jobs if job.submitted), default=0.0)
    now = time.time()
    rows = []
    for job in jobs:
        finished = job.finished or (now if job.submitted and not job.state.final else job.submitted or first)
        times = (job.submitted or first, job.started or finished, finished)
        rows.append(Row("", job.place, job.backend, job.shots, 0, job.attempt, job.state, *times))
    return rows


def _chosen(found: Sequence[Panel], circuit: int) -> Panel:
    for panel in found:
        if panel.circuit == circuit:
            return panel
    numbers = ", ".join(str(panel.circuit) for panel in found)
    raise ConfigurationError(f"circuit={circuit!r} has no result to draw; these have: {numbers}.")


def _plot(panel: Panel, ax: Axes | None, outcomes: int) -> Axes:
    if outcomes < 1:
        raise ConfigurationError(f"outcomes={outcomes!r} must be at least 1.")
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=size(panel, outcomes), layout="constrained")[1]
    draw(panel, ax, outcomes)
    return ax
