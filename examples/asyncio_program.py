"""Circuits awaited beside other coroutines: results as they come, a timeout, and a call that is given up.

Usage: python asyncio_program.py
"""

import asyncio
import time

import pennylane as qml

import pennylane_qexec as qexec

SECONDS = {"quick": 0.2, "slow": 1.5}


class FarAway(qexec.Executor):
    """A backend that takes its time."""

    def run(self, circuits):
        time.sleep(SECONDS[self.name])
        return qml.execute(circuits, qml.device("default.qubit"))


@qml.qnode(qml.device("default.qubit", wires=1))
def turned(angle):
    qml.RX(angle, wires=0)
    return qml.expval(qml.Z(0))


quick = qexec.qelectron(turned, executors=FarAway("quick"))
slow = qexec.qelectron(turned, executors=FarAway("slow"))


async def ticking(ticks):
    while True:
        ticks.append(time.monotonic())
        await asyncio.sleep(0.02)


async def main():
    clock = asyncio.create_task(ticking(ticks := []))
    values = await asyncio.gather(*(quick.run_later(angle) for angle in (0.0, 1.0, 2.0, 3.0)))
    print("four results:", *(f"{value:+.3f}" for value in values))
    print("a clock went on ticking meanwhile:", len(ticks) > 2)

    try:
        await asyncio.wait_for(slow.run_later(0.5), timeout=0.1)
    except TimeoutError:
        print("the slow one took too long, and the call was given up")

    print("another call, cancelled:", slow.run_later(0.5).cancel())
    print("instead, from the quick one:", f"{await quick.run_later(0.5):+.3f}")
    clock.cancel()


asyncio.run(main())
for electron in (quick, slow):
    print(electron.cluster, *(str(row.state) for row in electron.history))
    electron.cluster.close()
