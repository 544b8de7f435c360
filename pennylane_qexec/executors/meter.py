"""How busy and how fast an executor is."""

from __future__ import annotations

import threading

from pennylane_qexec.job import Load

_SMOOTHING = 0.3


class Meter:
    """Counts what waits for an executor, and measures how fast it is. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._load = Load()

    def load(self) -> Load:
        """What was seen until now."""
        return self._load

    def add(self, circuits: int) -> None:
        """Count circuits that now wait for the executor (or, if negative, do no longer)."""
        with self._lock:
            self._load = self._load._replace(waiting=self._load.waiting + circuits)

    def ran(self, circuits: int, shots: int, seconds: float) -> None:
        """Take a batch that ran into the averages, in which newer batches count more."""
        with self._lock:
            load = self._load
            self._load = load._replace(
                circuits_per_second=_smoothed(load.circuits_per_second, circuits / max(seconds, 1e-9)),
                shots_per_second=_smoothed(load.shots_per_second, shots / max(seconds, 1e-9)),
            )


def _smoothed(average: float, value: float) -> float:
    if value <= 0:
        return average
    return value if average <= 0 else (1 - _SMOOTHING) * average + _SMOOTHING * value
