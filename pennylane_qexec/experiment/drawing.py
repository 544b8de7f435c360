"""Counts and numbers on axes: bars side by side, shades, horizontal bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pennylane_qexec.experiment.panels import OTHERS, Panel, shares

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
