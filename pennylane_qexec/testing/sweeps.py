"""A contract of executors: a sweep has the results that its circuits have one by one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

from pennylane_qexec.circuits.templates import sweep_of_circuit
from pennylane_qexec.executors import Executor
from pennylane_qexec.job import Sweep, Work


class SweepContract:
    """Sweeps, which every executor runs; a part of :class:`ExecutorContract`."""

    analytic = True
    seeded = False

    @abstractmethod
    def make(self) -> Executor:
        """A new executor with room for at least two wires."""

    def test_a_sweep_has_a_result_for_each_row_in_order(self, executor: Executor) -> None:
        work = _work(_sweep([qml.RX(0.0, 0)], [[0.0], [np.pi], [np.pi]]), _sweep([qml.X(1), qml.RY(0.0, 0)], [[np.pi]]))
        first, second = executor.perform_sweeps(work)
        assert [round(float(value)) for value in first] == [1, -1, -1]
        assert [round(float(value)) for value in second] == [-1]
        assert [round(float(value)) for value in executor.run_sweep(work.sweeps[0])] == [1, -1, -1]

    def test_a_sweep_without_shots_has_the_values_of_its_circuits(self, executor: Executor) -> None:
        if not self.analytic:
            return
        measurements = [qml.expval(qml.Z(0) @ qml.X(1)), qml.probs(wires=[1, 0])]
        work = _work(_entangled(measurements, None))
        (values,), expected = executor.perform_sweeps(work), executor.perform(work.expanded())
        for value, other in zip(values, expected, strict=True):
            assert float(value[0]) == pytest.approx(float(other[0]), abs=1e-5)
            assert np.asarray(value[1]) == pytest.approx(np.asarray(other[1]), abs=1e-5)

    @pytest.mark.parametrize("numbers", [(), (7, 40)])
    def test_with_a_seed_the_shots_of_a_sweep_are_those_of_its_circuits(self, numbers: tuple[int, ...]) -> None:
        measurements = [qml.expval(qml.Z(0)), qml.expval(qml.X(0)), qml.counts(wires=[0, 1])]
        work = _work(_entangled(measurements, 100), _entangled(measurements[:1], 30), numbers=numbers)
        found = []
        for by_circuits in (False, True):
            executor = self.make()
            rows = work.by_sweep(executor.perform(work.expanded())) if by_circuits else executor.perform_sweeps(work)
            executor.close()
            found.append([[_plain(row) for row in sweep] for sweep in rows])
        assert list(map(len, found[0])) == [5, 5]
        assert not self.seeded or found[0] == found[1]


def _work(*sweeps: Sweep, numbers: tuple[int, ...] = ()) -> Work:
    return Work(tuple([sweep.template for sweep in sweeps]), numbers=numbers, sweeps=sweeps)


def _sweep(operations: Sequence[Any], rows: Any, measurements: Sequence[Any] = (), shots: int | None = 20) -> Sweep:
    """The sweep of a circuit of which all numbers are parameters."""
    one = sweep_of_circuit(QuantumScript(operations, measurements or [qml.expval(qml.Z(0))], shots=shots))
    assert one is not None
    return replace(one, parameters=np.array(rows))


def _entangled(measurements: Sequence[Any], shots: int | None) -> Sweep:
    """Five rows of a circuit of two wires."""
    operations = [qml.RX(0.0, 0), qml.RY(0.0, 1), qml.CNOT([0, 1]), qml.RZ(0.0, 1), qml.RY(0.0, 0)]
    return _sweep(operations, np.linspace(0.1, 2.9, 20).reshape(5, 4), measurements, shots)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return {str(key): int(times) for key, times in value.items()} if isinstance(value, dict) else float(value)
