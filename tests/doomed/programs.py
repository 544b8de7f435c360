"""Programs that are killed: each minimises an energy, and returns what it found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pennylane as qml
from doomed.fuse import STEP, Fuse

import pennylane_qexec as qexec
from pennylane_qexec.persistence.store import open_store

QPUS = ("north", "south", "west")
SHOTS = 100
LEASE = 20.0
_POLLS = 0.002


@dataclass
class Found:
    """What a program has found.

    Attributes:
        parameters: at the end, as the bytes of 64-bit floats.
        energies: of all steps, as :meth:`float.hex` writes them.
        replayed, picked_up, executed: circuits, as the run counted them.
        events: how many of each kind there were.
    """

    parameters: str
    energies: list[str] = field(default_factory=list)
    replayed: int = 0
    picked_up: int = 0
    executed: int = 0
    events: dict[str, int] = field(default_factory=dict)


def qpus(folder: Path, fuse: Fuse) -> list[qexec.Rehearsal]:
    """Three QPUs in the cloud, whose jobs go on when the process is killed. A circuit has one result on all of them."""
    made = []
    for number, name in enumerate(QPUS):
        qpu = qexec.Rehearsal(
            "default.qubit",
            queue=(0.0, 0.004),
            overhead=0.001 * number,
            capacity=2,
            seed=7,
            stream="all",
            folder=folder / name,
            wires=2,
            name=name,
            max_circuits=2,
        )
        qpu.poll_interval = qpu.poll_interval_max = _POLLS
        made.append(fuse.at_backend(qpu))
    return made


def _ansatz(angles: Any) -> Any:
    qml.RY(angles[0], 0)
    qml.RY(angles[1], 1)
    qml.CNOT([0, 1])
    qml.RX(angles[2], 0)
    qml.RY(angles[3], 1)
    return qml.expval(qml.Hamiltonian([1.0, 0.5, 0.5], [qml.Z(0) @ qml.Z(1), qml.X(0), qml.X(1)]))


def _start() -> Any:
    return qml.numpy.array([0.4, 0.7, -0.3, 0.2], requires_grad=True)


@contextmanager
def _recorded(store: str, fuse: Fuse) -> Iterator[qexec.DurableRun]:
    with fuse.at_store(open_store(store)) as watched, qexec.durable_run("vqe", watched, lease=LEASE) as run:
        yield run


def _descend(executors: Any, steps: int, store: str, fuse: Fuse, **options: Any) -> Found:
    optimizer, angles, energies = qml.GradientDescentOptimizer(0.3), _start(), []
    with qml.device("qexec.cluster", wires=2, executors=executors, **options) as device:
        energy = qml.set_shots(qml.QNode(_ansatz, device, diff_method="parameter-shift"), SHOTS)
        with _recorded(store, fuse) as run:
            for _ in range(steps):
                angles, value = optimizer.step_and_cost(energy, angles)
                energies.append(float(value).hex())
                fuse.note(STEP)
    return _found(angles, energies, run, fuse)


def vqe(folder: Path, store: str, fuse: Fuse, steps: int = 6) -> Found:
    """Gradient descent on three QPUs, one circuit after the other on each in turn."""
    return _descend(qpus(folder, fuse), steps, store, fuse, selector="cyclic")


def by_load(folder: Path, store: str, fuse: Fuse, steps: int = 6) -> Found:
    """The same, on whichever of the QPUs has least to do."""
    return _descend(qpus(folder, fuse), steps, store, fuse, selector="least_loaded")


def local(spec: Any) -> Callable[..., Found]:
    """The same on a simulator of this machine with a seed."""

    def run(folder: Path, store: str, fuse: Fuse, steps: int = 6) -> Found:
        return _descend([spec], steps, store, fuse)

    return run


def later(folder: Path, store: str, fuse: Fuse, steps: int = 6) -> Found:
    """Many energies at once, from which the next ones follow."""
    angles, energies = _start(), []
    energy = qml.set_shots(qml.QNode(_ansatz, qml.device("default.qubit", wires=2)), SHOTS)
    with qexec.QCluster(qpus(folder, fuse), selector="cyclic", wires=2) as cluster:
        electron = qexec.qelectron(energy, executors=cluster)
        with _recorded(store, fuse) as run:
            for step in range(steps):
                futures = [electron.run_later(angles + 0.1 * number) for number in range(8)]
                values = [float(future.result()) for future in futures]
                energies += [value.hex() for value in values]
                angles = angles - 0.1 * sum(values) / len(values) * (1 + step)
                fuse.note(STEP)
    return _found(angles, energies, run, fuse)


PROGRAMS: dict[str, Callable[..., Found]] = {
    "vqe": vqe,
    "by_load": by_load,
    "later": later,
    "default.qubit": local({"type": "default.qubit", "seed": 5}),
    "aer": local({"type": "aer", "seed": 5}),
}


def _found(angles: Any, energies: list[str], run: qexec.DurableRun, fuse: Fuse) -> Found:
    counted = (run.replayed, run.picked_up, run.executed)
    return Found(qml.numpy.asarray(angles).tobytes().hex(), energies, *counted, dict(fuse.seen))
