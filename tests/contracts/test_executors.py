"""Every built-in executor, and every fake one, keeps to the contract of executors."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pennylane as qml
import pytest
from fakes.qbraid_provider import FakeDevice, FakeProvider
from fakes.server import FakeServer
from fakes.vendor import FakeVendorExecutor, Vendor

import pennylane_qexec as qexec
from pennylane_qexec.executors import like
from pennylane_qexec.executors.routing.hybrid import Hybrid
from pennylane_qexec.executors.routing.rules import Tier
from pennylane_qexec.testing import ExecutorContract, FakeQPU, QueuedExecutorContract, ScriptedExecutor, ShotsContract


class TestLightningQubit(ExecutorContract):
    seeded = True

    def make(self) -> qexec.Executor:
        return qexec.executor("lightning.qubit", seed=1)


class TestLightningQubitWithWires(ExecutorContract):
    seeded = True

    def make(self) -> qexec.Executor:
        return qexec.executor({"type": "lightning.qubit", "wires": 2, "seed": 1})


class TestDefaultQubit(ExecutorContract):
    seeded = True

    def make(self) -> qexec.Executor:
        return qexec.executor("default.qubit", seed=1)


class TestDefaultMixed(ExecutorContract):
    seeded = True

    def make(self) -> qexec.Executor:
        return qexec.executor("default.mixed", seed=1)


@pytest.mark.slow
class TestQiskitAer(ExecutorContract):
    seeded = True

    def make(self) -> qexec.Executor:
        return qexec.executor("qiskit.aer", seed_simulator=1)


class TestAer(ExecutorContract):
    seeded = True

    def make(self) -> qexec.Executor:
        return qexec.executor("aer", seed=1)


class TestAerWithWires(ExecutorContract):
    seeded = True

    def make(self) -> qexec.Executor:
        return qexec.executor({"type": "aer", "wires": 2, "seed": 1})


class TestAerByMatrixProductStates(ExecutorContract):
    seeded = True

    def make(self) -> qexec.Executor:
        return qexec.executor("aer", seed=1, method="matrix_product_state")


class TestCirqSimulator(ExecutorContract):
    def make(self) -> qexec.Executor:
        return qexec.executor("cirq.simulator")


class TestDeviceGivenAsObject(ExecutorContract):
    seeded = True

    def make(self) -> qexec.Executor:
        return qexec.executor(qml.device("default.qubit", wires=2, seed=1))


class TestLegacyDeviceGivenAsObject(ExecutorContract):
    def make(self) -> qexec.Executor:
        return qexec.executor(qml.device("cirq.simulator", wires=2))


class TestSimulator(ExecutorContract):
    seeded = True

    def make(self) -> qexec.Executor:
        return qexec.Simulator(seed=1)


class TestJax(ExecutorContract):
    seeded = True

    def make(self) -> qexec.Executor:
        return qexec.executor({"type": "jax", "compile": "now", "cache": False, "seed": 1})


class TestLocalSampler(ExecutorContract):
    def make(self) -> qexec.Executor:
        return qexec.QiskitExecutor(shots=0)


class TestRuntimeInLocalMode(QueuedExecutorContract):
    analytic = False

    def make(self) -> qexec.QueuedExecutor:
        return qexec.RuntimeExecutor("aer", seed=1)


class TestQBraid(QueuedExecutorContract):
    analytic = False

    device_seeds = itertools.count()

    def make(self) -> qexec.QueuedExecutor:
        device = FakeDevice(seed=next(self.device_seeds))
        executor = qexec.QBraidExecutor(FakeProvider({"sim": device}), "sim", seed=1)
        executor.poll_interval = 1e-4
        return executor


class TestRemoteExecutorOfANewVendor(QueuedExecutorContract):
    analytic = False

    vendor_seeds = itertools.count()

    def make(self) -> qexec.QueuedExecutor:
        return FakeVendorExecutor(Vendor(room=2, seed=next(self.vendor_seeds)), seed=1)

    def another(self, executor: qexec.QueuedExecutor) -> FakeVendorExecutor:
        assert isinstance(executor, FakeVendorExecutor)
        return FakeVendorExecutor(executor.machine.vendor)


class TestTwin(ExecutorContract):
    seeded = True

    def make(self) -> qexec.Executor:
        return like(qml.device("lightning.qubit", wires=2, seed=1))


class TestHybrid(ExecutorContract):
    seeded = True

    def make(self) -> qexec.Executor:
        members = {"narrow": {"type": "default.qubit", "seed": 1}, "wide": {"type": "lightning.qubit", "seed": 2}}
        return Hybrid(members, rule=[Tier("narrow", wires=1), Tier("wide")])


class TestDefaultQubitWithoutSeed(ShotsContract):
    def make(self) -> qexec.Executor:
        return qexec.executor("default.qubit")


class TestLightningQubitWithoutSeed(ShotsContract):
    def make(self) -> qexec.Executor:
        return qexec.executor("lightning.qubit")


class TestAerWithoutSeed(ShotsContract):
    def make(self) -> qexec.Executor:
        return qexec.executor("aer")


class TestAerWithNoise(ShotsContract):
    def make(self) -> qexec.Executor:
        return qexec.executor("aer:fake_manila")


class TestAerWithNoiseAndSeed(ShotsContract):
    seeded = True

    def make(self) -> qexec.Executor:
        return qexec.executor("aer:fake_manila", seed=1)


class TestAerByMatrixProductStatesWithoutSeed(ShotsContract):
    def make(self) -> qexec.Executor:
        return qexec.executor("aer", method="matrix_product_state")


class TestJaxWithoutSeed(ShotsContract):
    def make(self) -> qexec.Executor:
        return qexec.executor({"type": "jax", "compile": "now", "cache": False})


class TestJaxBeforeItHasCompiled(ShotsContract):
    def make(self) -> qexec.Executor:
        return qexec.executor({"type": "jax", "compile": "never"})


class TestRuntimeInLocalModeWithNoise(ShotsContract):
    def make(self) -> qexec.Executor:
        return qexec.RuntimeExecutor("fake_manila")


class TestRehearsalWithNoise(ShotsContract):
    def make(self) -> qexec.Executor:
        return qexec.Rehearsal("aer:fake_manila", clock=qexec.VirtualClock())


class TestScriptedExecutor(ExecutorContract):
    def make(self) -> qexec.Executor:
        return ScriptedExecutor(seed=None)


class TestFakeQPU(QueuedExecutorContract):
    def make(self) -> FakeQPU:
        return FakeQPU(seed=None)

    def another(self, executor: qexec.QueuedExecutor) -> FakeQPU:
        assert isinstance(executor, FakeQPU)
        return executor.another()


class TestFakeQPUWithoutLabels(QueuedExecutorContract):
    def make(self) -> FakeQPU:
        return FakeQPU(labels=False, seed=None)


class TestQExecRemote(QueuedExecutorContract):
    @pytest.fixture(autouse=True)
    def server(self) -> Iterator[None]:
        self.fake = FakeServer()
        yield
        self.fake.close()

    def make(self) -> qexec.QueuedExecutor:
        return qexec.QExecRemote(f"{self.fake.url}/lab", token=self.fake.token)

    def another(self, executor: qexec.QueuedExecutor) -> qexec.QueuedExecutor:
        return self.make()


class TestRehearsal(QueuedExecutorContract):
    def make(self) -> qexec.QueuedExecutor:
        return qexec.Rehearsal("lightning.qubit", queue=(0, 60), overhead=2, clock=qexec.VirtualClock(), seed=1)


class TestRehearsalInAFolder(QueuedExecutorContract):
    @pytest.fixture(autouse=True)
    def folder(self, tmp_path: Path) -> None:
        self.path = tmp_path

    def make(self) -> qexec.QueuedExecutor:
        return qexec.Rehearsal("default.qubit", overhead=2, clock=qexec.VirtualClock(), seed=1, folder=self.path)

    def another(self, executor: qexec.QueuedExecutor) -> qexec.QueuedExecutor:
        return self.make()


class TestRehearsalThatDrifts(ExecutorContract):
    analytic = False

    def make(self) -> qexec.Executor:
        return qexec.Rehearsal("default.qubit", queue=60, drift={"start": 0.0}, clock=qexec.VirtualClock(), seed=1)
