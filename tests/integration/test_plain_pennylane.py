"""PennyLane programs that have nothing to do with clusters give the same with one open, used and closed as without.

Whatever a cluster changes is changed for the whole process, so the programs run in a process of their own, which runs
them before the first cluster opens too.
"""

from __future__ import annotations

import ast
import importlib
import json
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pennylane as qml
import pytest
from fakes import programs
from pennylane.queuing import AnnotatedQueue

import pennylane_qexec as qexec
from pennylane_qexec.concurrency import isolation

pytestmark = pytest.mark.integration

HAMILTONIAN = qml.Hamiltonian([0.5, 0.2, 0.1], [qml.Z(0) @ qml.Z(1), qml.X(0) @ qml.Y(1), qml.X(1)])


def inner_expectation(x: Any, observable: Any) -> Any:
    """A QNode's value that another quantum function asks for while it is recorded."""

    @qml.qnode(qml.device("default.qubit", wires=2))
    def inner() -> Any:
        qml.RY(x, 0)
        qml.CNOT([0, 1])
        return qml.expval(observable)

    return inner()


def nested_in_a_basis(x: Any) -> Any:
    qml.RX(inner_expectation(x, qml.X(0) @ qml.X(1)), 0)
    return qml.expval(qml.Z(0))


def nested_in_a_sum(x: Any) -> Any:
    qml.RX(inner_expectation(x, HAMILTONIAN), 0)
    return qml.expval(qml.Y(0))


def nested_twice(x: Any) -> Any:
    @qml.qnode(qml.device("default.qubit", wires=2))
    def middle() -> Any:
        qml.RX(inner_expectation(x, qml.Y(0) @ qml.Y(1)), 0)
        qml.RY(0.3, 1)
        return qml.expval(qml.Z(0) @ qml.X(1))

    qml.RX(middle(), 0)
    return qml.probs(wires=[0, 1])


def nested_with_shots(x: Any) -> Any:
    @qml.set_shots(50)
    @qml.qnode(qml.device("default.qubit", wires=2, seed=7))
    def inner() -> Any:
        qml.RY(x, 0)
        return qml.expval(qml.X(0)), qml.var(HAMILTONIAN)

    first, second = inner()
    qml.RX(first, 0)
    qml.RY(second, 1)
    return qml.expval(qml.Z(0) @ qml.Z(1))


def measured_meanwhile(x: Any) -> Any:
    qml.RX(x, 0)
    observable = qml.Hamiltonian([1.0, 2.0], [qml.X(0), qml.X(0)]).simplify()
    measured = qml.expval(qml.X(0)), qml.expval(observable)
    for one in measured:
        one.diagonalizing_gates()
    return measured


def words_as_operators(x: Any) -> Any:
    qml.RX(x, 0)
    qml.pauli.PauliWord({0: "X", 1: "Y"}).operation()
    qml.pauli.PauliSentence({qml.pauli.PauliWord({0: "Z"}): 0.5}).operation()
    qml.pauli.diagonalize_pauli_word(qml.X(0) @ qml.Y(1))
    qml.pauli.diagonalize_qwc_pauli_words([qml.X(0) @ qml.Y(1), qml.Y(1)])
    return qml.expval(qml.Y(0))


def products_of_time(x: Any) -> Any:
    qml.TrotterProduct(HAMILTONIAN, time=x, n=2, order=4)
    qml.ApproxTimeEvolution(HAMILTONIAN, x, 2)
    qml.QDrift(HAMILTONIAN, time=x, n=4, seed=3)
    qml.exp(qml.X(0) @ qml.Y(1), 1j * x)
    return qml.expval(qml.X(0) @ qml.X(1))


def trotterized(x: Any) -> Any:
    def step(time: Any, wires: Any) -> None:
        qml.RX(time, wires[0])
        qml.IsingXX(time, wires)

    qml.trotterize(step, n=2, order=2)(x, [0, 1])
    return qml.expval(qml.Y(1))


def templates(x: Any) -> Any:
    qml.QFT(wires=[0, 1])
    qml.StronglyEntanglingLayers(np.full((2, 2, 3), x), wires=[0, 1])
    qml.BasicEntanglerLayers([[x, x]], wires=[0, 1])
    qml.QSVT(qml.RX(x, 0), [qml.RZ(0.1, 0), qml.RZ(x, 0)])
    qml.ArbitraryUnitary(np.full(15, x), wires=[0, 1])
    return qml.probs(wires=[0, 1])


def wrapped(x: Any) -> Any:
    qml.adjoint(qml.S)(0)
    qml.ctrl(qml.RY, control=0)(x, wires=1)
    qml.adjoint(templates_of_wires)(x)
    qml.pow(qml.RX(x, 0), 0.5)
    qml.prod(qml.RY(x, 1), qml.X(0))
    qml.cond(qml.measure(0), qml.RZ, qml.RX)(x, wires=1)
    return qml.expval(qml.X(1) + 0.5 * qml.Z(0) @ qml.Z(1))


def templates_of_wires(x: Any) -> None:
    qml.BasicEntanglerLayers([[x, x]], wires=[0, 1])
    qml.PauliRot(x, "XY", wires=[0, 1])


PROGRAMS = (
    nested_in_a_basis,
    nested_in_a_sum,
    nested_twice,
    nested_with_shots,
    measured_meanwhile,
    words_as_operators,
    products_of_time,
    trotterized,
    templates,
    wrapped,
)


def described(program: Any) -> list[Any]:
    """What PennyLane makes of a program: its circuit, measurements, value and drawing."""
    qnode = qml.QNode(program, qml.device("default.qubit", wires=3))
    tape = qml.workflow.construct_tape(qnode, level="device")(0.37)
    circuit = [f"{operation.name}{operation.wires.tolist()}" for operation in tape.operations]
    written = qml.draw(qnode, decimals=6)(0.37)
    return [circuit, [repr(one) for one in tape.measurements], np.asarray(qnode(0.37)).tolist(), written]


def described_all(_: Any = None) -> dict[str, Any]:
    return {program.__name__: described(program) for program in PROGRAMS}


def differentiate_until(over: threading.Event, device: Any) -> None:
    """What a thread does that has an own circuit to care for, with everything that suspends recording in it."""

    def cost(x: Any) -> Any:
        qml.RX(x, 0)
        qml.CNOT([0, 1])
        return qml.expval(HAMILTONIAN)

    qnode = qml.set_shots(qml.QNode(cost, device, diff_method="parameter-shift"), 20)
    while not over.is_set():
        qml.grad(qnode)(qml.numpy.array(0.3, requires_grad=True))


def main() -> None:
    """Print what the programs give at each time in the life of a cluster."""
    found = {"before": [described_all()]}
    cluster = qexec.QCluster(["default.qubit", "lightning.qubit"])
    found["open"] = [described_all()]
    device = qexec.ClusterDevice(2, cluster=cluster)
    over = threading.Event()
    with ThreadPoolExecutor(4) as pool:
        working = pool.submit(differentiate_until, over, device)
        try:
            found["beside a working thread"] = [described_all()]
            found["in threads"] = list(pool.map(described_all, range(2)))
        finally:
            over.set()
        working.result()
    cluster.close()
    found["closed"] = [described_all()]
    json.dump(found, sys.stdout)


@pytest.fixture(scope="module")
def found() -> dict[str, list[dict[str, Any]]]:
    done = programs.run(Path(__file__).read_text(), name=__file__)
    assert done.returncode == 0, done.stderr
    answer: dict[str, list[dict[str, Any]]] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.slow
@pytest.mark.parametrize("when", ["open", "beside a working thread", "in threads", "closed"])
@pytest.mark.parametrize("program", [program.__name__ for program in PROGRAMS])
def test_a_plain_program_gives_what_it_gave_before_there_was_a_cluster(
    program: str, when: str, found: dict[str, list[dict[str, Any]]]
) -> None:
    (before,) = found["before"]
    for now in found[when]:
        assert now[program] == before[program]


def decorated() -> Iterator[tuple[str, str]]:
    """Module and qualified name of every function of PennyLane that was decorated to suspend recording."""
    root = Path(qml.__file__).parent
    for path in sorted(root.rglob("*.py")):
        text = path.read_text()
        if "stop_recording()" not in text:
            continue
        module = ".".join(path.relative_to(root.parent).with_suffix("").parts)
        for name in decorated_in(ast.parse(text)):
            yield module, name


def decorated_in(node: ast.AST, prefix: str = "") -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            if any(ast.unparse(decorator).endswith("stop_recording()") for decorator in child.decorator_list):
                yield prefix + child.name
            if isinstance(child, ast.ClassDef):
                yield from decorated_in(child, f"{prefix}{child.name}.")


SITES = list(decorated())


def test_pennylane_is_searched_where_it_suspends_recording() -> None:
    assert ("pennylane.measurements.measurements", "MeasurementProcess.diagonalizing_gates") in SITES
    assert len(SITES) >= 12


@pytest.mark.parametrize(("module", "name"), SITES)
def test_each_function_that_suspends_recording_does_so_once_a_cluster_was_opened(module: str, name: str) -> None:
    isolation.install()
    function: Any = importlib.import_module(module)
    for part in name.split("."):
        function = vars(function)[part]
    function = getattr(function, "fget", function)  # of a property
    function = getattr(function, "__func__", function)  # of a static method
    suspension = function.__closure__[function.__code__.co_freevars.index("self")].cell_contents
    with AnnotatedQueue() as queue:
        with suspension._recreate_cm():
            qml.X(0)
        qml.Y(0)
    assert [operation.name for operation in queue.queue] == ["PauliY"]


if __name__ == "__main__":
    main()
