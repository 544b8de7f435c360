"""The comparison of the Quantum Executor paper: how far noisy machines are from the simulator, with its own merge.

Usage: python tvd_comparison.py
"""

from functools import partial

from qiskit import QuantumCircuit

from pennylane_qexec import AerExecutor, Backend, Provider, QuantumExecutor, total_variation_distance

MACHINES = ["fake_manila", "fake_yorktown", "fake_guadalupe", "fake_washington", "fake_sherbrooke", "fake_torino"]


class Machines(Provider):
    """What would be real machines: their noise, simulated here."""

    def backends(self):
        return {name: Backend("machines", name, partial(AerExecutor, name), kind="QPU") for name in MACHINES}


def tvd_merge(results, _):  # as it is printed in the paper
    sim = results["local_aer"]["aer_simulator"][0]
    tvd_dict = {}
    for prov, backs in results.items():
        for bname, runs in backs.items():
            if prov == "local_aer":
                continue
            tvd = total_variation_distance(runs[0], sim)
            tvd_dict[f"{prov}/{bname}"] = tvd
    return tvd_dict, {}


qc = QuantumCircuit(4)  # a layered kernel, as a variational program has it
for layer in range(3):
    qc.ry(0.4 + 0.3 * layer, range(4))
    qc.cx([0, 1, 2], [1, 2, 3])

qe = QuantumExecutor(providers=["local_aer", "local_cirq"])
qe.virtual_provider.add_provider("machines", Machines())
qe.add_policy(name="tvd", merge_policy=tvd_merge)
collector = qe.run_experiment(
    circuits=qc,
    shots=8192,
    backends={"local_aer": ["aer_simulator"], "local_cirq": ["simulator"], "machines": MACHINES},
    split_policy="multiplier",
    merge_policy="tvd",
    multiprocess=True,
    wait=True,
)
tvd_results = collector.get_merged_results()

for name, distance in sorted(tvd_results.items(), key=lambda found: found[1]):
    print(f"{name:<26} {distance:.3f}")
axes = collector.plot_counts(merged=True)
axes.set_xlabel("total variation distance from local_aer/aer_simulator")
axes.figure.savefig("tvd.png", dpi=120)
print("the picture is in tvd.png")
