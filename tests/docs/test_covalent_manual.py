"""The programs in the manual of Covalent's QElectrons run with another import.

They are kept as they are printed, tabs and misprints included. What has to be changed to run them is written in
``CHANGES``: remote backends become local ones, and what belongs to a workflow engine becomes plain calls.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from pennylane.tape import QuantumScript

import pennylane_qexec as qexec

CHANGES = {
    "import covalent as ct": "import pennylane_qexec as ct",
    'device="sampler",\n\t\tbackend="ibmq_qasm_simulator"': 'device="local_sampler"',
    '"ibmq_quito"': '"fake_quito"',
    '"ibmq_manila"': '"fake_manila"',
    "@ct.electron\n": "",
    "@ct.lattice\n": "",
    "dispatch_id = ct.dispatch(workflow)()\n": "",
    "print(dispatch_id)\n": "",
    "ct.get_result(dispatch_id, wait=True).result": "workflow()",
    "    ...\n": "    qml.RX(x, wires=0)\n    return qml.expval(qml.PauliZ(0))\n",
}

BASICS = """
import random
import covalent as ct
import pennylane as qml

# Define a Qiskit Runtime executor.
qiskit_sampler = ct.executor.QiskitExecutor(
\t\tdevice="sampler",
\t\tbackend="ibmq_qasm_simulator",
\t\tsingle_job=False,
)

# Create a QElectron that executes on Qiskit Runtime.
@ct.qelectron(executors=qiskit_sampler)
@qml.qnode(qml.device("default.qubit", wires=2, shots=1024))
def circuit(x):
    qml.RX(x, wires=0)
    qml.Hadamard(wires=1)
    qml.CNOT(wires=[0, 1])
    return qml.expval(qml.PauliY(0))
"""

WORKFLOW = """
# Create Electrons for a simple workflow.
@ct.electron
def generate_rand_input():
    return random.uniform(0, 3.14159)

@ct.electron
def run_qiskit_experiment(x):
    # Workflow task that uses the `circuit` QElectron.
    return circuit(x)

@ct.lattice
def workflow():
    results = []
\t\t
\t# Six independent experiments.
    for _ in range(6):
        x = generate_rand_input()
        results.append(run_qiskit_experiment(x))

    return results

# Dispatch workflow.
dispatch_id = ct.dispatch(workflow)()
print(dispatch_id)
results = ct.get_result(dispatch_id, wait=True).result
"""

LATER = """
# Immediately submit 6 circuits for concurrent execution.
futures = [circuit.run_later(generate_rand_input()) for _ in range(6)]

# Retrieve results as required.
results = [future.result() for future in futures]
"""

DEFAULT = """
# Case 1 - default local QElectron.
@ct.qelectron
@qml.qnode(dev)
def circuit(x):
    ...
"""

SIMULATOR = """
# Case 2 - equivalent local QElectron.
simulator_exec = ct.executors.Simulator(parallel="thread", workers=10)

@ct.qelectron(executors=simulator_exec)
@qml.qnode(dev)
def circuit(x):
    ...
"""

EXECUTORS = """
# Execute on "ibmq_quito" using Qiskit Runtime's `Sampler` primitive.
qiskit_exec_quito = ct.executor.QiskitExecutor(
    device="sampler",
    shots=1024,
\t\tbackend="ibmq_quito",
\t\tibmqx_token="<token>",  # can be omitted if declared in covalent config.
)

# Execute on "ibmq_manila" ...
qiskit_exec_manila = ct.executor.QiskitExecutor(
    device="sampler",
    shots=1024,
\t\tbackend="ibmq_manila",
\t\tibmqx_token="<token>",  # can be omitted ...
)
"""

LOCAL = """
# Execute locally using Qiskit's `Sampler` primitive.
qiskit_exec_local = ct.executor.QiskitExecutor(
    device="local_sampler",
    shsots=1024,
)
"""

LIST = """
# Create a QElectron with a `QCluster` executor.
@ct.qelectron(executors=[qiskit_exec_quito, qiskit_exec_manila])
@qml.qnode(dev)
def circuit(x):
    ...
"""

CLUSTER = """
# Define a `QCluster` over the "ibmq_quito" and "ibmq_manila" backends.
qiskit_cluster = ct.executors.QCluster(
    executors=[qiskit_exec_quito, qiskit_exec_manila],
    selector="cyclic",
)

# Create a QElectron with a `QCluster` executor.
@ct.qelectron(executors=qiskit_cluster)
@qml.qnode(dev)
def circuit(x):
    ...
"""

CALLS = """
# normal
result_1 = circuit(x1)  # circuit(s) submitted to "ibmq_quito"
                        # waiting for `result_1` ...

# asynchronous
future_1 = circuit.run_later(x1)  # circuit(s) submitted to "ibmq_manila"
future_2 = circuit.run_later(x2)  # circuit(s) submitted to "ibmq_quito"

result_1 = future_1.result()  # waiting for `result_1` ...
"""

pytestmark = pytest.mark.filterwarnings("ignore:Setting shots on device is deprecated")


class Page:
    """Runs programs one after the other, as somebody who copies them from the manual into one file."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"ct": qexec, "qml": qml, "dev": qml.device("default.qubit", wires=1)}

    def run(self, program: str) -> None:
        for printed, changed in CHANGES.items():
            program = program.replace(printed, changed)
        exec(compile(program.expandtabs(4), "manual", "exec"), self.names)

    def __getitem__(self, name: str) -> Any:
        return self.names[name]

    @property
    def ran(self) -> list[tuple[str, int]]:
        """Who ran circuits, and with how many shots."""
        return [(row.backend, row.shots) for row in self["circuit"].history]


@pytest.fixture
def page() -> Iterator[Page]:
    opened = Page()
    yield opened
    if "circuit" in opened.names:
        opened["circuit"].cluster.close()


@pytest.fixture
def inputs(page: Page) -> list[float]:
    """The angles that the manual's programs draw, once the basics and the workflow have run."""
    drawn: list[float] = []
    page.run(BASICS)
    page["random"].seed(7)
    uniform = page["random"].uniform

    class Noting:
        @staticmethod
        def uniform(low: float, high: float) -> float:
            drawn.append(uniform(low, high))
            return drawn[-1]

    page.names["random"] = Noting
    return drawn


def y_of(angles: list[float]) -> Any:
    """<Y> of the first wire in the manual's circuit: -sin(x), since the target of the CNOT is in the state |+>."""
    return -np.sin(angles)


def test_a_workflow_of_six_experiments_runs_as_plain_calls(page: Page, inputs: list[float]) -> None:
    """Means of 1024 shots have a standard deviation of at most 1/32; the bound is six of them."""
    page.run(WORKFLOW)
    assert np.abs(np.array(page["results"]) - y_of(inputs)).max() < 6 / 32
    assert page.ran == [("aer_simulator", 1024)] * 6


def test_six_circuits_run_later(page: Page, inputs: list[float]) -> None:
    """Six standard deviations, as above. With ``single_job=False`` every circuit is a job."""
    page.run(WORKFLOW)
    inputs.clear()
    page["circuit"].history.clear()
    page.run(LATER)
    assert np.abs(np.array(page["results"]) - y_of(inputs)).max() < 6 / 32
    assert page.ran == [("aer_simulator", 1024)] * 6
    assert len({future.outcomes[0].batch for future in page["futures"]}) == 6


def test_without_executors_and_with_the_simulator_results_are_equal(page: Page) -> None:
    values = []
    for program in (DEFAULT, SIMULATOR):
        page.run(program)
        values.append((page["circuit"](0.3), page["circuit"].run_later(0.4).result()))
        assert page.ran == [("default.qubit", 0)] * 2
        page["circuit"].cluster.close()
    assert values[0] == values[1] == pytest.approx((np.cos(0.3), np.cos(0.4)))


def test_futures_run_at_the_same_time(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each circuit waits until six of them run."""
    meeting = threading.Barrier(6)
    perform = qexec.Simulator.perform

    def meet(simulator: qexec.Simulator, work: Any) -> Any:
        meeting.wait(timeout=60)
        return perform(simulator, work)

    monkeypatch.setattr(qexec.Simulator, "perform", meet)
    page.run(SIMULATOR)
    futures = [page["circuit"].run_later(angle) for angle in range(6)]
    assert [float(future.result()) for future in futures] == pytest.approx(np.cos(range(6)))
    assert [outcome.executor for future in futures for outcome in future.outcomes] == ["default.qubit"] * 6


def test_the_misprinted_option_is_refused_and_the_one_meant_is_named(page: Page) -> None:
    with pytest.raises(qexec.ConfigurationError, match=r"'shsots'. Did you mean 'shots'\?"):
        page.run(LOCAL)
    page.run(LOCAL.replace("shsots", "shots"))
    assert page["qiskit_exec_local"].shots == 1024


@pytest.mark.parametrize("backend", ["quito", "manila"])
def test_machines_that_ibm_has_retired_are_refused(backend: str) -> None:
    with pytest.raises(qexec.ConfigurationError, match=f"'fake_{backend}' simulates it"):
        qexec.executor.QiskitExecutor(device="sampler", backend=f"ibmq_{backend}", ibmqx_token="<token>")


@pytest.mark.parametrize("program", [LIST, CLUSTER], ids=["list", "cluster"])
def test_plain_and_later_calls_take_turns_on_the_machines(page: Page, program: str) -> None:
    """Noise changes the expectation values by less than 0.25; six standard deviations of 1024 shots are 0.19."""
    page.run(EXECUTORS + program)
    page.names.update(x1=0.3, x2=2.8)
    page.run(CALLS)
    circuit, first, second = page["circuit"], page["future_1"], page["future_2"]
    assert circuit.history.to_dataframe()["executor"].iloc[0] == "fake_quito"
    assert float(page["result_1"]) == pytest.approx(np.cos(0.3), abs=0.44)
    assert float(second.result()) == pytest.approx(np.cos(2.8), abs=0.44)
    assert [(outcome.backend, outcome.shots) for future in (first, second) for outcome in future.outcomes] == [
        ("fake_manila", 1024),
        ("fake_quito", 1024),
    ]


def test_a_selector_is_given_the_circuit_and_the_executors(page: Page) -> None:
    """The table of the manual: ``qscript`` and ``executors``."""
    given = []

    def selector(qscript: QuantumScript, executors: list[Any]) -> Any:
        given.append((type(qscript), [executor.name for executor in executors]))
        return executors[1]

    executors = [qexec.executor.Simulator(name=name) for name in ("one", "other")]
    page.run(DEFAULT)
    page.names["circuit"] = qexec.qelectron(page["circuit"], executors=executors, selector=selector)
    assert float(page["circuit"].run_later(0.3).result()) == pytest.approx(np.cos(0.3))
    assert page["circuit"](0.3) == pytest.approx(np.cos(0.3))
    assert given == [(QuantumScript, ["one", "other"])] * 2
    assert [row.executor for row in page["circuit"].history] == ["other"] * 2
