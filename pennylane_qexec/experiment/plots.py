"""Pictures of an experiment: what was counted, one panel for each circuit, and who ran when."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

from pennylane_qexec.errors import ConfigurationError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from pennylane_qexec.engine.records import Row
    from pennylane_qexec.experiment.tasks import Record

OTHERS = "others"


@dataclass(frozen=True)
class Panel:
    """What there is to see of one circuit.

    Attributes:
        circuit: its number, from 0.
        counts: how often each outcome was seen, for each label: a backend's full name, or ``""`` for merged counts.
        scores: a number for each label, as a distance.
    """

    circuit: int
    counts: dict[str, Mapping[str, int]] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)


def panels(data: Any) -> list[Panel]:
    """Read what a collector returns.

    Args:
        data: counts by outcome, or a number, or lists of them (one for each circuit), inside any number of mappings by
            provider, backend, or both. What is ``None`` is left out.

    Raises:
        ConfigurationError: there is something else in it, or nothing.
    """
    found: dict[int, Panel] = {}
    for labels, circuit, leaf in _leaves(data, (), 0):
        _put(found, circuit, "/".join(labels), leaf)
    return _in_order(found)


def panels_of_records(records: Iterable[Record]) -> list[Panel]:
    """What backends returned for each circuit; counts of several jobs of one backend are added up.

    Raises:
        ConfigurationError: a result is neither counts nor a number, or there is none.
    """
    found: dict[int, Panel] = {}
    for record in records:
        for labels, _, leaf in _leaves(record.result, (record.place,), record.circuit):
            _put(found, record.circuit, "/".join(labels), leaf)
    return _in_order(found)


def shares(counts: Mapping[str, Mapping[str, int]], most: int) -> tuple[list[str], dict[str, list[float]]]:
    """The outcomes to show, in order, and each label's share of the shots for them, in percent.

    Args:
        counts: how often each outcome was seen, for each label.
        most: how many outcomes to show, the most frequent ones; the rest are summed up as ``"others"``.
    """
    fractions = {label: _fractions(of) for label, of in counts.items()}
    weight: dict[str, float] = {}
    for of in fractions.values():
        for outcome, share in of.items():
            weight[outcome] = weight.get(outcome, 0.0) + share
    ranked = sorted(weight, key=lambda outcome: (-weight[outcome], outcome))
    shown = sorted(ranked if len(ranked) <= most + 1 else ranked[:most])
    rest = len(ranked) > len(shown)
    table = {}
    for label, of in fractions.items():
        row = [of.get(outcome, 0.0) for outcome in shown]
        table[label] = [*row, max(0.0, sum(of.values()) - sum(row))] if rest else row
    return ([*shown, OTHERS] if rest else shown), table


def _put(found: dict[int, Panel], circuit: int, label: str, leaf: Any) -> None:
    panel = found.setdefault(circuit, Panel(circuit))
    if not isinstance(leaf, Mapping):
        panel.scores[label] = float(leaf)
        return
    total = Counter(panel.counts.get(label, {}))
    total.update(leaf)
    panel.counts[label] = total


def _in_order(found: Mapping[int, Panel]) -> list[Panel]:
    if not found:
        raise ConfigurationError("there is nothing to draw: no circuit has a result. Look at the collector's errors.")
    return [found[circuit] for circuit in sorted(found)]


def _fractions(counts: Mapping[str, int]) -> dict[str, float]:
    total = sum(counts.values())
    return {outcome: 100 * count / total for outcome, count in counts.items()} if total else {}


def _leaves(data: Any, labels: tuple[str, ...], circuit: int) -> Iterator[tuple[tuple[str, ...], int, Any]]:
    if data is None:
        return
    if isinstance(data, np.ndarray) and data.ndim == 0:
        data = data.item()
    if isinstance(data, Real) and not isinstance(data, bool):
        yield labels, circuit, data
    elif isinstance(data, Mapping):
        if data and all(isinstance(value, Integral) for value in data.values()):
            yield labels, circuit, data
            return
        for label, inside in data.items():
            yield from _leaves(inside, (*labels, str(label)), circuit)
    elif isinstance(data, list):
        for number, inside in enumerate(data):
            yield from _leaves(inside, labels, number)
    else:
        where = f" of {'/'.join(labels)}" if labels else ""
        raise ConfigurationError(
            f"a result{where} of the type {type(data).__name__} cannot be drawn as counts: give counts by outcome, "
            "as {'00': 10, '11': 14}, or one number for each backend."
        )


MOST_GROUPED = 8
"""With more backends than this, bars side by side are too thin to read: each backend gets a line of its own."""

_COLOURS = ("#3b7dd8", "#e08e2d", "#3f9c6b", "#d1495b", "#7d5ba6", "#8c6d4f", "#5fb3c9", "#6b7280")
_LONGEST = 36
_NUMBERED_COLUMNS = 18


def size(panel: Panel, outcomes: int) -> tuple[float, float]:
    """Width and height that a panel needs, in inches."""
    if not panel.counts:
        return 8.0, 1.2 + 0.22 * len(panel.scores)
    names = {outcome for counts in panel.counts.values() for outcome in counts}
    shown = min(outcomes + 1, len(names))
    below = 0.07 * max(0, min(_LONGEST, max(map(len, names), default=0)) - 8)
    if len(panel.counts) > MOST_GROUPED:
        return min(16.0, 5.0 + 0.45 * shown), 1.8 + below + 0.2 * len(panel.counts)
    return min(16.0, max(7.0, 4.0 + shown * max(0.4, 0.16 * len(panel.counts)))), 3.8 + below


def draw(panel: Panel, ax: Axes, outcomes: int) -> None:
    """Draw what there is to see of a circuit.

    Args:
        panel: what there is to see.
        ax: where to draw.
        outcomes: how many outcomes to show; the rest are summed up.
    """
    if not panel.counts:
        _draw_scores(panel.scores, ax)
        return
    shown, table = shares(panel.counts, outcomes)
    labels = {label: _label(label, counts) for label, counts in panel.counts.items()}
    if len(table) > MOST_GROUPED:
        _draw_shades(shown, table, labels, ax)
    else:
        _draw_bars(shown, table, labels, ax)


def _draw_bars(shown: list[str], table: Mapping[str, list[float]], labels: Mapping[str, str], ax: Axes) -> None:
    width = 0.8 / len(table)
    for number, (label, row) in enumerate(table.items()):
        places = [place + (number - (len(table) - 1) / 2) * width for place in range(len(shown))]
        ax.bar(places, row, width, color=_COLOURS[number], label=labels[label])
    _keep_others_down(shown, table, ax)
    _name_outcomes(shown, ax)
    ax.set_ylabel("share of the shots, %")
    ax.spines[["top", "right"]].set_visible(False)
    if len(table) == 1:
        ax.set_title(next(iter(labels.values())), loc="right", fontsize=8)
    else:
        ax.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0)


def _keep_others_down(shown: list[str], table: Mapping[str, list[float]], ax: Axes) -> None:
    """Where the outcomes that are summed up are most of the shots, leave room for those that are shown."""
    top = 1.25 * _most(shown, table)
    if shown[-1] == OTHERS and top and max(row[-1] for row in table.values()) > top:
        ax.set_ylim(0, top)
        higher = ", ".join(dict.fromkeys(f"{row[-1]:.0f}" for row in table.values()))
        ax.annotate(f"{higher} %", (len(shown) - 1, top), ha="center", va="bottom", fontsize=7, annotation_clip=False)


def _most(shown: list[str], table: Mapping[str, list[float]]) -> float:
    """The largest share of an outcome that is shown by itself."""
    single = len(shown) - (shown[-1] == OTHERS)
    return max((share for row in table.values() for share in row[:single]), default=0.0)


def _draw_shades(shown: list[str], table: Mapping[str, list[float]], labels: Mapping[str, str], ax: Axes) -> None:
    rows = list(table.values())
    most = _most(shown, table) or 100.0
    image = ax.imshow(rows, aspect="auto", cmap="Blues", vmin=0.0, vmax=most, interpolation="nearest")
    if len(shown) <= _NUMBERED_COLUMNS:
        for line, row in enumerate(rows):
            for column, share in enumerate(row):
                ink = "white" if share > 0.6 * most else "#333333"
                ax.text(column, line, f"{share:.1f}", ha="center", va="center", fontsize=7, color=ink)
    ax.set_yticks(range(len(table)), [labels[label] for label in table], fontsize=8)
    _name_outcomes(shown, ax)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    ax.figure.colorbar(image, ax=ax, label="share of the shots, %", shrink=min(1.0, 12 / len(table)), pad=0.02)


def _draw_scores(scores: Mapping[str, float], ax: Axes) -> None:
    ranked = sorted(scores.items(), key=lambda item: item[1])
    bars = ax.barh(range(len(ranked)), [value for _, value in ranked], height=0.7, color=_COLOURS[0])
    ax.bar_label(bars, [f"{value:.3g}" for _, value in ranked], padding=3, fontsize=8)
    ax.set_yticks(range(len(ranked)), [_short(label) for label, _ in ranked], fontsize=8)
    ax.set_ylim(len(ranked) - 0.4, -0.6)
    ax.margins(x=0.1)
    ax.axvline(0.0, color="black", linewidth=0.8)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)


def _name_outcomes(shown: list[str], ax: Axes) -> None:
    steep = max(len(outcome) for outcome in shown) > 4 or len(shown) > MOST_GROUPED
    ax.set_xticks(range(len(shown)), [_short(outcome) for outcome in shown], rotation=90 if steep else 0, fontsize=8)
    for text, outcome in zip(ax.get_xticklabels(), shown, strict=True):
        text.set_fontfamily("sans-serif" if outcome == OTHERS else "monospace")
    ax.set_xlabel("outcome")


def _label(label: str, counts: Mapping[str, int]) -> str:
    shots = f"{sum(counts.values()):,} shots"
    return f"{_short(label)} ({shots})" if label else shots


def _short(name: str) -> str:
    """A name that leaves room for the picture: its middle is left out if it is long."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2 - 1]}…{name[-(_LONGEST // 2) :]}"


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
        found: what :func:`~pennylane_qexec.experiment.plots.panels` reads.
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
    from pennylane_qexec.engine.history import FAILED
    from pennylane_qexec.engine.history import draw as draw_bars

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
    from pennylane_qexec.engine.records import Row

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
