"""The picture of who ran when."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import matplotlib.axes

    from pennylane_qexec.engine.history import Row

_COLOURS = {"done": "#3b7dd8", "failed": "#d1495b", "cancelled": "#9aa0a6"}


def draw(rows: Sequence[Row], ax: matplotlib.axes.Axes | None = None) -> matplotlib.axes.Axes:
    """Draw a bar for each batch, one line for each executor, over seconds since the first job was submitted."""
    if ax is None:
        import matplotlib.pyplot as plt

        ax = plt.subplots(figsize=(8, 1 + 0.5 * max(1, len({row.executor for row in rows}))))[1]
    names = list(dict.fromkeys(row.executor or "(none)" for row in rows))
    start = min((row.submitted for row in rows), default=0.0)
    for state, colour in _COLOURS.items():
        for line, name in enumerate(names):
            chosen = [row for row in rows if row.state == state and (row.executor or "(none)") == name]
            bars = {(row.started - start, row.finished - row.started) for row in chosen}
            ax.broken_barh(sorted(bars), (line - 0.35, 0.7), color=colour, edgecolor=colour, linewidth=0.6)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(max(len(names), 1) - 0.5, -0.5)
    ax.set_xlabel("seconds since the first job was submitted")
    ax.spines[["top", "right"]].set_visible(False)
    return ax
