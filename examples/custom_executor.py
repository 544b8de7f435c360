"""An executor and a selector of one's own: a small noisy machine takes what fits it, a simulator takes the rest."""

import numpy as np
import pennylane as qml
from pennylane.devices.qubit import simulate

import pennylane_qexec as qexec


class Noisy(qexec.Executor):
    """Three qubits whose readout is wrong now and then.

    Args:
        flips: the probability that a bit is read wrong.
    """

    def __init__(self, flips, **options):
        super().__init__(**options)
        self.flips = flips

    def run(self, circuits):
        return [self._sample(circuit) for circuit in circuits]

    def rejects(self, circuit):
        if len(circuit.wires) > 3:
            return "has 3 qubits"
        if [type(measurement) for measurement in circuit.measurements] != [type(qml.sample())]:
            return "can only sample"
        return None

    def _sample(self, circuit):
        bits = simulate(circuit.map_to_standard_wires())
        return bits ^ (np.random.default_rng().random(bits.shape) < self.flips)


def cheapest(circuit, executors):
    return min(executors, key=lambda executor: executor.cost.of(1, circuit.shots.total_shots or 0, 0))


def ghz(wires):
    operations = [qml.H(0), *(qml.CNOT([wire, wire + 1]) for wire in range(wires - 1))]
    return qml.tape.QuantumScript(operations, [qml.sample(wires=range(wires))], shots=1000)


noisy = Noisy(0.02, name="noisy", cost=qexec.Cost(per_shot=0.0001))
exact = {"type": "lightning.qubit", "name": "exact", "cost": qexec.Cost(per_shot=0.001)}

with qexec.QCluster([noisy, exact], selector=cheapest) as cluster:
    for wires in (2, 3, 4, 5):
        (samples,) = cluster.execute([ghz(wires)])
        equal = np.mean(np.all(samples == samples[:, :1], axis=1))
        last = cluster.history[-1]
        print(f"{wires} qubits on {last.executor:5}: {equal:6.1%} of the shots agree, for {last.cost:.2f} dollars")
