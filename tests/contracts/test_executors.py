"""Every built-in executor, and every fake one, keeps to the contract of executors."""

from __future__ import annotations

import pennylane as qml
import pytest
from fakes.qbraid_provider import FakeProvider

import pennylane_qexec as qexec
from pennylane_qexec.executors import like
from pennylane_qexec.executors.routing.hybrid import Hybrid
from pennylane_qexec.executors.routing.rules import Tier
from pennylane_qexec.testing import ExecutorContract, FakeQPU, ScriptedExecutor


class TestLightningQubit(ExecutorContract):
    def make(self) -> qexec.Executor:
        return qexec.executor("lightning.qubit", seed=1)


class TestLightningQubitWithWires(ExecutorContract):
    def make(self) -> qexec.Executor:
        return qexec.executor({"type": "lightning.qubit", "wires": 2, "seed": 1})


class TestDefaultQubit(ExecutorContract):
    def make(self) -> qexec.Executor:
        return qexec.executor("default.qubit", seed=1)


class TestDefaultMixed(ExecutorContract):
    def make(self) -> qexec.Executor:
        return qexec.executor("default.mixed", seed=1)


@pytest.mark.slow
class TestQiskitAer(ExecutorContract):
    def make(self) -> qexec.Executor:
        return qexec.executor("qiskit.aer", seed_simulator=1)


class TestAer(ExecutorContract):
    def make(self) -> qexec.Executor:
        return qexec.executor("aer", seed=1)


class TestAerWithWires(ExecutorContract):
    def make(self) -> qexec.Executor:
        return qexec.executor({"type": "aer", "wires": 2, "seed": 1})


class TestAerByMatrixProductStates(ExecutorContract):
    def make(self) -> qexec.Executor:
        return qexec.executor("aer", seed=1, method="matrix_product_state")


class TestCirqSimulator(ExecutorContract):
    def make(self) -> qexec.Executor:
        return qexec.executor("cirq.simulator")


class TestDeviceGivenAsObject(ExecutorContract):
    def make(self) -> qexec.Executor:
        return qexec.executor(qml.device("default.qubit", wires=2, seed=1))


class TestLegacyDeviceGivenAsObject(ExecutorContract):
    def make(self) -> qexec.Executor:
        return qexec.executor(qml.device("cirq.simulator", wires=2))


class TestSimulator(ExecutorContract):
    def make(self) -> qexec.Executor:
        return qexec.Simulator(seed=1)


class TestJax(ExecutorContract):
    def make(self) -> qexec.Executor:
        return qexec.executor({"type": "jax", "compile": "now", "cache": False, "seed": 1})


class TestLocalSampler(ExecutorContract):
    def make(self) -> qexec.Executor:
        return qexec.QiskitExecutor(shots=0)


class TestRuntimeInLocalMode(ExecutorContract):
    analytic = False

    def make(self) -> qexec.Executor:
        return qexec.executor("ibm:aer", seed=1)


class TestQBraid(ExecutorContract):
    analytic = False

    def make(self) -> qexec.Executor:
        executor = qexec.QBraidExecutor(FakeProvider(), "sim", seed=1)
        executor.poll_interval = 1e-4
        return executor


class TestTwin(ExecutorContract):
    def make(self) -> qexec.Executor:
        return like(qml.device("lightning.qubit", wires=2, seed=1))


class TestHybrid(ExecutorContract):
    def make(self) -> qexec.Executor:
        members = {"narrow": {"type": "default.qubit", "seed": 1}, "wide": {"type": "lightning.qubit", "seed": 2}}
        return Hybrid(members, rule=[Tier("narrow", wires=1), Tier("wide")])


class TestScriptedExecutor(ExecutorContract):
    def make(self) -> qexec.Executor:
        return ScriptedExecutor()


class TestFakeQPU(ExecutorContract):
    def make(self) -> qexec.Executor:
        return FakeQPU()


class TestRehearsal(ExecutorContract):
    def make(self) -> qexec.Executor:
        return qexec.Rehearsal("lightning.qubit", queue=(0, 60), overhead=2, clock=qexec.VirtualClock(), seed=1)


class TestRehearsalThatDrifts(ExecutorContract):
    analytic = False

    def make(self) -> qexec.Executor:
        return qexec.Rehearsal("default.qubit", queue=60, drift={"start": 0.0}, clock=qexec.VirtualClock(), seed=1)
