"""For people who write executors and policies: contract tests to inherit from, and fakes to test with.

A contract is a class of tests for pytest. Subclass it in a test module, and say how to make what is tested::

    class TestMyExecutor(qexec.testing.ExecutorContract):
        def make(self):
            return MyExecutor()
"""

from pennylane_qexec.testing.contracts import (
    ExecutorContract,
    MergeContract,
    QueuedExecutorContract,
    SelectorContract,
    ShotsContract,
    SplitContract,
)
from pennylane_qexec.testing.fakes import FakeQPU, ScriptedExecutor, flip
from pennylane_qexec.testing.stores import StoreContract
from pennylane_qexec.testing.sweeps import SweepContract

__all__ = [
    "ExecutorContract",
    "FakeQPU",
    "MergeContract",
    "QueuedExecutorContract",
    "ScriptedExecutor",
    "SelectorContract",
    "ShotsContract",
    "SplitContract",
    "StoreContract",
    "SweepContract",
    "flip",
]
