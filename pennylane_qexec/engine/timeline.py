"""The picture of who ran when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import matplotlib.axes

    from pennylane_qexec.engine.rows import Row

FAILED = "#d1495b"
"""The colour of what failed."""

_COLOURS = {"done": "#3b7dd8", "running": "#8db8ee", "failed": FAILED, "cancelled": "#9aa0a6"}
_QUEUED = "#dfe3e8"


def draw(rows: Sequence[Row], ax: matplotlib.axes.Axes | None = None, queued: bool = False) -> matplotlib.axes.Axes:
    """Draw a bar for each batch, one line for each executor, over seconds since the first job was submitted.

    Args:
        rows: the jobs.
        ax: matplotlib axes to draw on; default: new ones.
        queued: whether to draw also, thin and grey, how long jobs waited; the colours are explained then.
    """
    if ax is None:
        import matplotlib.pyplot as plt

        height = 1 + 0.5 * max(1, len({row.executor for row in rows}))
        ax = plt.subplots(figsize=(8, height), layout="constrained")[1]
    names = list(dict.fromkeys(row.executor or "(none)" for row in rows))
    start = min((row.submitted for row in rows), default=0.0)
    if queued:
        for line, name in enumerate(names):
            waited = [row for row in rows if row.started > row.submitted and (row.executor or "(none)") == name]
            bars = sorted({(row.submitted - start, row.started - row.submitted) for row in waited})
            ax.broken_barh(bars, (line - 0.15, 0.3), color=_QUEUED)
    for state, colour in _COLOURS.items():
        for line, name in enumerate(names):
            chosen = [row for row in rows if row.state == state and (row.executor or "(none)") == name]
            bars = sorted({(row.started - start, row.finished - row.started) for row in chosen})
            ax.broken_barh(bars, (line - 0.35, 0.7), color=colour, edgecolor=colour, linewidth=0.6)
    if queued:
        _explain(ax, [state for state in _COLOURS if any(row.state == state for row in rows)])
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(max(len(names), 1) - 0.5, -0.5)
    ax.set_xlabel("seconds since the first job was submitted")
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _explain(ax: matplotlib.axes.Axes, states: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    colours = {"waiting": _QUEUED, **{state: _COLOURS[state] for state in states}}
    patches = [Patch(color=colour, label=state) for state, colour in colours.items()]
    ax.legend(
        handles=patches, frameon=False, fontsize=8, ncols=len(patches), loc="lower right", bbox_to_anchor=(1.0, 1.0)
    )
