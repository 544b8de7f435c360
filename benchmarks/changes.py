"""How often does ``backend_history`` mark a backend that has not changed, and how soon one that has?

Counts of six backends are drawn run by run: the ideal distribution of a circuit, mixed with noise as far as is needed
for a total variation distance, which differs from run to run by a normal deviate. The marks are those of the package's
rule, on its own distances. An experiment without a change has 200 runs, which are 1,200 points. In one with a change,
one backend's distance grows by 0.05.

Usage: python benchmarks/changes.py [EXPERIMENTS]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pennylane_qexec.experiment.changes import Change, changes
from pennylane_qexec.experiment.distances import Comparison, Distribution, Kind, of_counts
from pennylane_qexec.experiment.history import Compared

BACKENDS, RUNS, DRIFT, SOON = 6, 200, 0.05, 3
CHANGED_AT = (10, 20, 60)
_AFTER = 12
_RANDOM = np.sort(np.random.default_rng(5).exponential(size=32))
CIRCUITS = {
    "2 qubits, Bell": np.array([0.5, 0, 0, 0.5]),
    "4 qubits, GHZ": np.array([0.5] + [0.0] * 14 + [0.5]),
    "5 qubits, random": _RANDOM / _RANDOM.sum(),
}
CASES: Sequence[tuple[str, float, float, Sequence[int], Kind]] = (
    ("2 qubits, Bell", 0.0, 0.0, (4000,), "tvd"),
    ("2 qubits, Bell", 0.05, 0.0, (1000,), "tvd"),
    ("2 qubits, Bell", 0.05, 0.005, (4000,), "tvd"),
    ("2 qubits, Bell", 0.05, 0.01, (4000,), "tvd"),
    ("4 qubits, GHZ", 0.10, 0.005, (4000,), "tvd"),
    ("5 qubits, random", 0.0, 0.0, (4000,), "tvd"),
    ("5 qubits, random", 0.10, 0.005, (4000,), "tvd"),
    ("5 qubits, random", 0.10, 0.005, (2000, 8000), "tvd"),
    ("5 qubits, random", 0.0, 0.0, (1000, 16000), "tvd"),
    ("4 qubits, GHZ", 0.10, 0.005, (4000,), "hellinger"),
)


def observations(
    rng: np.random.Generator, ideal: Any, distances: Any, shots: Sequence[int], kind: Kind
) -> list[Compared]:
    """Runs of a backend, at those distances."""
    uniform = np.full(len(ideal), 1 / len(ideal))
    most = 0.5 * abs(uniform - ideal).sum()
    reference = Distribution({outcome: one for outcome, one in enumerate(ideal.tolist()) if one}, None)
    found = []
    for distance in distances:
        noise = min(1.0, max(0.0, distance) / most)
        counts = rng.multinomial(rng.choice(shots), (1 - noise) * ideal + noise * uniform)
        mine = of_counts(dict(enumerate(counts.tolist())))
        found.append(Compared([Comparison(mine, reference, kind)]))
    return found


@dataclass(frozen=True)
class Number:
    """A normal number in place of a distance, without a bound by the noise of shots."""

    distance: float
    shots: tuple[int, ...] = (1,)
    error: float = 0.0

    def distance_at(self, shots: tuple[int, ...]) -> float:
        return self.distance


def delay(rng: np.random.Generator, at: int, ideal: Any, base: float, spread: float, *how: Any) -> int:
    """Runs from a change to its mark; a number larger than are looked at if there is none, or an earlier one."""
    distances = base + spread * rng.standard_normal(at + _AFTER)
    distances[at:] += DRIFT
    marks = changes(observations(rng, ideal, distances, *how))
    if any(marks[:at]) or Change.WORSE not in marks:
        return _AFTER + 1
    return marks.index(Change.WORSE) - at + 1


def main(experiments: int) -> None:
    """Print a row for each case."""
    print(
        "| circuit | distance | before | from run to run | shots | false marks in 200 runs | more than one | ", end=""
    )
    print(" | ".join(f"marked within 3 after {at}" for at in CHANGED_AT), "|")
    for circuit, base, spread, shots, kind in CASES:
        rng, ideal = np.random.default_rng(2026), CIRCUITS[circuit]
        false = np.zeros(experiments, int)
        for number in range(experiments * BACKENDS):
            distances = base + spread * rng.standard_normal(RUNS)
            marks = changes(observations(rng, ideal, distances, shots, kind))
            false[number // BACKENDS] += sum(map(bool, marks))
        cells = [circuit, kind, base, spread, " or ".join(map(str, shots)), f"{false.mean():.3f}", f"{sum(false > 1)}"]
        for at in CHANGED_AT:
            delays = [delay(rng, at, ideal, base, spread, shots, kind) for _ in range(experiments)]
            soon = np.mean([one <= SOON for one in delays])
            cells.append(f"{100 * soon:.1f}%, {np.median(delays):.0f}")
        print("|", " | ".join(map(str, cells)), "|", flush=True)
    numbers = np.random.default_rng(2026).standard_normal((experiments, BACKENDS, RUNS))
    false = np.array([sum(sum(map(bool, changes([*map(Number, row)]))) for row in each) for each in numbers])
    print("| normal numbers |" + " |" * 4, f"{false.mean():.3f} | {sum(false > 1)} |" + " |" * len(CHANGED_AT))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400)
