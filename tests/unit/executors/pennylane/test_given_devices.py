"""Devices that users built: one object, which two threads must not use at once."""

import threading

import pennylane as qml
import pytest
from pennylane.devices import Device
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec


class _Watched(Device):
    """Notes how many threads are in it at most; each waits a moment for another one to come in."""

    name = "watched"

    def __init__(self):
        super().__init__()
        self.inside, self.most, self._second = 0, 0, threading.Event()

    def execute(self, circuits, execution_config=None):
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.inside > 1:
            self._second.set()
        self._second.wait(0.2)
        self.inside -= 1
        return tuple(0.5 for _ in circuits)


@pytest.mark.slow
@pytest.mark.parametrize("clusters", [1, 2])
def test_a_device_that_several_executors_have_is_used_by_one_thread_at_a_time(open_cluster, clusters):
    device = _Watched()
    circuit = QuantumScript([], [qml.expval(qml.Z(0))])
    executors = [qexec.executor(device, name=name, parallel="thread") for name in "ab"]
    opened = [open_cluster(executors)] if clusters == 1 else [open_cluster([executor]) for executor in executors]
    threads = [threading.Thread(target=opened[k % clusters].execute, args=([circuit],)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert device.most == 1
