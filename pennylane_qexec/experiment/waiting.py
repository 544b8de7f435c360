"""Waiting for an experiment, perhaps with a progress bar."""

from __future__ import annotations

from collections.abc import Callable

from pennylane_qexec.experiment.collector import ResultCollector
from pennylane_qexec.gathering import bar


def awaited(collector: ResultCollector, start: Callable[[], None], progress: bool) -> ResultCollector:
    """A collector, when all its jobs have ended.

    Args:
        collector: the collector.
        start: starts the jobs.
        progress: whether to show a progress bar.

    Raises:
        KeyboardInterrupt: Ctrl-C, which cancels what has not ended.
    """
    try:
        with bar(len(collector.records), progress) as advance:
            collector.listen(advance)
            start()
            collector.wait()
    except KeyboardInterrupt:
        collector.cancel()
        raise
    return collector
