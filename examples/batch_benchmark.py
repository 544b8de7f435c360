"""The batch benchmark of the Quantum Executor paper: three reference circuits on every backend that is online.

Usage: python batch_benchmark.py [SHOTS]
"""

import logging
import sys
import time

from qiskit import QuantumCircuit

from pennylane_qexec import QuantumExecutor

SHOTS = int(sys.argv[1]) if len(sys.argv) > 1 else 1024
logging.getLogger("pennylane_qexec").setLevel(logging.ERROR)  # failures are listed at the end


def ghz():
    circuit = QuantumCircuit(3, name="ghz")
    circuit.h(0)
    circuit.cx(0, [1, 2])
    return circuit


def hidden_string():
    circuit = QuantumCircuit(4, 3, name="hidden 101")  # the algorithm of Bernstein and Vazirani
    circuit.x(3)
    circuit.h(range(4))
    circuit.cx([0, 2], 3)
    circuit.h(range(3))
    circuit.measure(range(3), range(3))
    return circuit


def there_and_back():
    there = QuantumCircuit(1, name="echo")  # has a place on every machine
    for angle in range(12):
        there.ry(0.3 + angle, 0)
        there.rz(0.5, 0)
    return there.compose(there.inverse())


circuits = [ghz(), hidden_string(), there_and_back()]
start = time.perf_counter()
qe = QuantumExecutor()
backends = {provider: list(names) for provider, names in qe.virtual_provider.get_backends(online=True).items()}
collector = qe.run_experiment(circuits, SHOTS, backends, split_policy="multiplier", multiprocess=True, wait=True)

distances, hellinger = (collector.merge(name, partial=True) for name in ("tvd", "hellinger"))
whole = {name: found for name, found in hellinger.items() if None not in found}  # all circuits ran
fidelity = {name: sum((1 - each**2) ** 2 for each in found) / 3 for name, found in whole.items()}
print(f"{'backend':<36} fidelity  total variation distance: " + ", ".join(circuit.name for circuit in circuits))
for name in sorted(fidelity, key=fidelity.get, reverse=True):
    print(f"{name:<36} {fidelity[name]:8.1%}  " + "  ".join(f"{distance:.3f}" for distance in distances[name]))
for provider, failed in collector.errors.items():
    for name, errors in failed.items():
        print(f"failed: {provider}/{name}, {len(errors)} circuits: {errors[0]}")
ran = sum(map(len, collector.partial_results().values()))
print(f"{ran} of {sum(map(len, backends.values()))} backends ran in {time.perf_counter() - start:.0f} s")
