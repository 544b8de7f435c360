"""Following an experiment while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from pennylane_qexec import interrupts

if TYPE_CHECKING:
    from rich.console import Console

_BETWEEN = 0.1


class UnderWay(Protocol):
    """What can be followed: a :class:`~pennylane_qexec.ResultCollector`."""

    @property
    def progress(self) -> float: ...
    def wait(self, timeout: float | None = None) -> bool: ...
    def cancel(self) -> None: ...


def follow(experiment: UnderWay, console: Console) -> None:
    """Show a bar until the experiment has ended.

    Args:
        experiment: what to follow.
        console: where to show the bar.

    Raises:
        KeyboardInterrupt: Ctrl-C; the experiment is cancelled then.
    """
    columns = (TextColumn("running"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with interrupts.noticed(), Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("running", total=1.0)
        try:
            while not experiment.wait(_BETWEEN):
                bar.update(task, completed=experiment.progress)
        except KeyboardInterrupt:
            experiment.cancel()
            raise
