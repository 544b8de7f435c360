"""Watch backends: run one experiment, record it, and say which backends are not what they were.

To be run again and again, as from cron: 30 5 * * * python backends_over_time.py bench.db || mail -s "backends" me
The exit code is 1 if this run marks a change. Here, two fake machines take the part of those that are watched.

Usage: python backends_over_time.py STORE [RUNS]
"""

import sys

from qiskit import QuantumCircuit

from pennylane_qexec import QuantumExecutor, backend_history

BACKENDS = ["local_aer/fake_manila", "local_aer/fake_yorktown", "local_cirq/simulator"]
SHOTS = 4000

store, runs = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1

circuit = QuantumCircuit(4)
circuit.h(0)
circuit.cx([0, 1, 2], [1, 2, 3])

with QuantumExecutor(providers=["local_aer", "local_cirq"]) as executor:
    for _ in range(runs):
        executor.run_experiment(circuit, SHOTS, BACKENDS, "multiplier", store=store, name="ghz")

history = backend_history(store, "ghz", reference="ideal")
table = history.to_dataframe()
latest = table[table["run"] == table["run"].max()]
for row in latest.itertuples():
    print(f"{row.provider}/{row.backend:<16} distance {row.distance:.3f} +- {row.error:.3f} {row.change}{row.failure}")
print(f"{table['run'].nunique()} runs recorded, {len(history.marks)} changes in all of them")
sys.exit(int((latest["change"] != "").any()))
