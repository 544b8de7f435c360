"""PennyLane's lightning.qubit draws one set of shots for all that it measures of a state; here each basis has its own.

Its simulator begins anew with one seed for every group of measurements, so that what does not commute comes out
correlated: the variance of a sum is then not that of a sum of independent shots. (Seen in pennylane-lightning 0.45.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

_NAME = "lightning.qubit"
_MOST_SEED = 2**31 - 1


def draw_independently(device: Any) -> None:
    """Have a device draw new shots for each group of measurements. The first one's are those that it would draw."""
    if device.name == _NAME:
        device.LightningMeasurements = _with_own_shots(device.LightningMeasurements)


@contextmanager
def drawing_independently(device: Any) -> Iterator[None]:
    """Have somebody else's device do so for a while."""
    if device.name != _NAME:
        yield
        return
    kept = device.LightningMeasurements
    draw_independently(device)
    try:
        yield
    finally:
        device.LightningMeasurements = kept


class _OwnShots:
    """What is added to lightning's class of measurements, of which there is an object for each state."""

    _qubit_state: Any
    _measurement_lightning: Any
    _last: Any = None

    def measure_with_samples(self, measurements: Any, shots: Any, mid_measurements: Any = None) -> Any:
        """Measure; of a sum, the terms come here again, for each bin of a shot vector."""
        if self._last is not None:
            self._begin_anew()
        return super().measure_with_samples(measurements, shots, mid_measurements)  # type: ignore[misc]

    def _measure_with_samples_diagonalizing_gates(self, mps: Any, shots: Any) -> Any:
        if self._last is not None and not _read_as_it_is([*self._last, *mps]):
            self._begin_anew()
        self._last = mps
        return super()._measure_with_samples_diagonalizing_gates(mps, shots)  # type: ignore[misc]

    def _begin_anew(self) -> None:
        self._measurement_lightning.set_random_seed(self._qubit_state._rng.integers(0, _MOST_SEED))


def _read_as_it_is(mps: Sequence[Any]) -> bool:
    """Whether measurements read the state as it is: these may have one set of shots, as on a QPU."""
    return not any(mp.diagonalizing_gates() for mp in mps)


@lru_cache(maxsize=8)
def _with_own_shots(measurements: Any) -> Any:
    """The class of measurements, whose groups have seeds of their own."""
    if issubclass(measurements, _OwnShots):
        return measurements

    class Measurements(_OwnShots, measurements):
        pass

    return Measurements
