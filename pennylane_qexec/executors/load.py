"""How busy and how fast an executor is."""

from __future__ import annotations

import threading

from pennylane_qexec.job import Load

_SMOOTHING = 0.3


class LoadMeter:
    """Counts what waits for an executor, and measures how fast it is. Safe to use from several threads.

    Attributes:
        seen: what was seen until now.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seen = Load()

    def add(self, circuits: int) -> None:
        """Count circuits that now wait for the executor (or, if negative, do no longer)."""
        with self._lock:
            waiting, per_circuit, per_shot = self.seen
            self.seen = Load(waiting + circuits, per_circuit, per_shot)

    def ran(self, circuits: int, shots: int, seconds: float) -> None:
        """Take a batch that ran into the averages, in which newer batches count more."""
        seconds = max(seconds, 1e-9)
        with self._lock:
            waiting, *averages = self.seen
            for index, value in enumerate((circuits / seconds, shots / seconds)):
                if value > 0:
                    average = averages[index]
                    averages[index] = value if average <= 0 else (1 - _SMOOTHING) * average + _SMOOTHING * value
            self.seen = Load(waiting, *averages)
