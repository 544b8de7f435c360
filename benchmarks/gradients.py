"""What does a user get from ``qml.grad``? Steps of a VQE on the cluster, beside the same QNode on a bare device.

A step is the optimiser's: the value and the gradient of an energy of 12 terms or of one, by the parameter-shift rule
with 1000 shots, after two layers of RX and RZ and rings of CNOT. That is all that a user waits for, PennyLane's share
included.

Usage::

    python benchmarks/gradients.py [PART ...]              # parts by their names; default: all of them
    python benchmarks/gradients.py --profile [EXECUTOR]    # where the time of a step goes; default: jax

Each part takes about a minute or less: ``step-6-12``, ``step-6-1`` and so on with 10 and 14 qubits, ``aer``,
``cold-8``, ``cold-10``, ``vmap``, ``adjoint``, ``sweep``; and with a name only, as they are other benchmarks' too,
``jobs`` and ``durable``.
"""

from __future__ import annotations

import cProfile
import gc
import json
import os
import pstats
import resource
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import durable
import jobs_per_gradient
import numpy as np
import pennylane as qml
import psutil
from answers import Answer, answer, seconds
from rich.console import Console
from rich.table import Table

import pennylane_qexec as qexec
from pennylane_qexec.job import Call, Job, Sweep

LAYERS, SHOTS = 2, 1000
EXECUTORS = ("jax", "aer", "lightning.qubit")
GOALS = {(6, 12): 60.0, (6, 1): 15.0, (10, 12): 40.0, (14, 12): 3.5}
OPTIMISER = qml.GradientDescentOptimizer(0.05)
WARM = 5
ROUNDS, MOST_PER_TURN, TURN = 7, 50, 0.1
"""In each round, everyone has a turn of some steps, which take this many seconds if one of them does not take more."""

WINDOW, LOOP, PEER_LOOP = 5, 30, 10
"""Seconds of a window, of a loop that begins with nothing compiled, and of the peer's before it and after it."""

ROWS = (100, 1000, 10_000, 100_000)
POINTS = 20
PLACES = {
    "PennyLane": "/site-packages/pennylane/",
    "autograd": "/site-packages/autograd/",
    "readout": "/circuits/readout.py /circuits/sampling.py",
    "circuits and templates": "/pennylane_qexec/circuits/",
    "executors": "/pennylane_qexec/executors/",
    "engine": "/pennylane_qexec/engine/ /pennylane_qexec/concurrency/",
    "cluster and policies": "/pennylane_qexec/cluster/ /pennylane_qexec/policies/ /pennylane_qexec/job.py",
    "device": "/pennylane_qexec/",
    "JAX": "/jax/ /jaxlib/",
    "Aer and Qiskit": "/qiskit/ /qiskit_aer/",
    "lightning.qubit": "/pennylane_lightning/",
    "NumPy": "/numpy/",
}
"""Where code is whose time counts for a row of the profile; the first that fits."""

REST = "the rest"


def gates(angles: Any, qubits: int) -> None:
    """Layers of rotations and rings of CNOT."""
    for layer in range(LAYERS):
        for wire in range(qubits):
            qml.RX(angles[layer, wire, 0], wire)
            qml.RZ(angles[layer, wire, 1], wire)
        for wire in range(qubits):
            qml.CNOT([wire, (wire + 1) % qubits])


def energy(terms: int) -> Any:
    """ZZ, XX and YY on four pairs each; or ZZ on one pair."""
    if terms == 1:
        return qml.Z(0) @ qml.Z(1)
    words = [pauli(wire) @ pauli(wire + 1) for pauli in (qml.Z, qml.X, qml.Y) for wire in range(4)]
    return qml.Hamiltonian(np.linspace(0.1, 1.2, len(words)), words)


def angles_of(qubits: int) -> np.ndarray:
    """Where the optimiser begins."""
    return np.random.default_rng(0).uniform(0, 3, (LAYERS, qubits, 2))


def steps(device: Any, qubits: int, terms: int, method: str = "parameter-shift", shots: int | None = SHOTS) -> Any:
    """A function that takes the optimiser's next step on a device."""

    @qml.set_shots(shots)
    @qml.qnode(device, diff_method=method)
    def cost(angles: Any) -> Any:
        gates(angles, qubits)
        return qml.expval(energy(terms))

    at = [qml.numpy.array(angles_of(qubits), requires_grad=True)]

    def step() -> None:
        at[0], _ = OPTIMISER.step_and_cost(cost, at[0])

    return step


def cluster_device(spec: Any, qubits: int) -> Any:
    """A device over one executor."""
    return qml.device("qexec.cluster", wires=qubits, executors=[spec])


def warm_up(device: Any, step: Callable[[], object]) -> None:
    """Take some steps, until all is compiled."""
    for _ in range(WARM):
        step()
        for executor in device.cluster.executors:
            if isinstance(executor, qexec.JaxExecutor):
                executor.wait()


# Figures


def turns(calls: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, np.ndarray]:
    """Wall and CPU seconds of each call in each round, an array ``(2, rounds)`` for each."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            first = seconds(call) if not times[name] else times[name][-1][0]
            number = max(1, min(MOST_PER_TURN, int(TURN / first)))
            times[name].append(measured(call, number))
    return {name: np.array(taken).T for name, taken in times.items()}


def measured(
    call: Callable[[], object], number: int, cpu_clock: Callable[[], float] = time.process_time
) -> tuple[float, float]:
    """Wall and CPU seconds of a call, of so many; those of worker processes only if the clock counts them."""
    wall, cpu = time.perf_counter(), cpu_clock()
    for _ in range(number):
        call()
    return (time.perf_counter() - wall) / number, (cpu_clock() - cpu) / number


def cpu_of_all() -> float:
    """CPU seconds of this process and its worker processes, in whole ticks for these."""
    return time.process_time() + sum(sum(worker.cpu_times()[:2]) for worker in psutil.Process().children())


def faster(question: str, times: Mapping[str, np.ndarray], goal: float | None) -> Answer:
    """How many times as fast the best is as the first; of the others, only how long they take."""
    peer, *others = times
    best = min(others, key=lambda name: float(np.median(times[name][0])))
    ratio = times[peer] / times[best]
    medians = {name: 1e3 * np.median(taken, axis=1) for name, taken in times.items()}
    beside = ", ".join(f"{name} {wall:.3g} ms ({cpu:.3g} of CPU)" for name, (wall, cpu) in medians.items())
    return Answer.of(
        f"{question}: {best}",
        ratio[0],
        "times as fast",
        at_least=goal,
        beside=f"{beside}; by CPU time {np.median(ratio[1]):.3g} times",
    )


# Parts


def steps_of(qubits: int, terms: int) -> Iterator[Answer]:
    """A step on the best local executor, with everything compiled before."""
    calls = {"bare lightning.qubit": steps(qml.device("lightning.qubit", wires=qubits), qubits, terms)}
    devices = [cluster_device(spec, qubits) for spec in EXECUTORS]
    for spec, device in zip(EXECUTORS, devices, strict=True):
        calls[spec] = steps(device, qubits, terms)
        warm_up(device, calls[spec])
    words = "12 terms" if terms > 1 else "one term"
    question = f"step, {qubits} qubits, {2 * LAYERS * qubits} parameters, {words}"
    yield faster(question, turns(calls, ROUNDS if qubits < 14 else 5), GOALS.get((qubits, terms)))
    for device in devices:
        device.close()


def on_aer() -> Iterator[Answer]:
    """A step on ``"aer"``, beside pennylane-qiskit's device."""
    device = cluster_device("aer", 6)
    calls = {"qiskit.aer": steps(qml.device("qiskit.aer", wires=6), 6, 1), "aer": steps(device, 6, 1)}
    warm_up(device, calls["aer"])
    yield faster("step, 6 qubits, 24 parameters, one term", turns(calls, 3), 300.0)
    device.close()


def cold(qubits: int) -> Iterator[Answer]:
    """The first seconds of a loop in a new process, in which JAX has compiled nothing and finds nothing on the disk."""
    bare = [_rate(qubits)]
    ends = _loop("jax", qubits, LOOP)
    bare.append(_rate(qubits))
    done = np.interp(np.arange(0, LOOP + 1, WINDOW), [0.0, *ends], np.arange(len(ends) + 1))
    for number, count in enumerate(np.diff(done)):
        question = f"{qubits} qubits, one term, nothing compiled: seconds {number * WINDOW} to {(number + 1) * WINDOW}"
        beside = f"bare lightning.qubit {bare[0]:.3g} steps/s before and {bare[1]:.3g} after, jax {count / WINDOW:.3g}"
        yield Answer.of(question, count / WINDOW / np.array(bare), "times as many steps", at_least=0.9, beside=beside)


def _rate(qubits: int) -> float:
    ends = _loop("bare", qubits, PEER_LOOP)
    return len(ends) / ends[-1]


def _loop(spec: str, qubits: int, duration: int) -> list[float]:
    command = [sys.executable, "-W", "ignore", __file__, "--loop", spec, str(qubits), str(duration)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])


def loop(spec: str, qubits: int, duration: int) -> None:
    """Take steps for some seconds, and print when each has ended."""
    executor = {"type": "jax", "cache": False}
    device = qml.device("lightning.qubit", wires=qubits) if spec == "bare" else cluster_device(executor, qubits)
    step, start, ends = steps(device, qubits, 1), time.perf_counter(), [0.0]
    while ends[-1] < duration:
        step()
        ends.append(time.perf_counter() - start)
    print(json.dumps(ends[1:]), flush=True)
    os._exit(0)  # not to wait for what is being compiled


def vmapped() -> Iterator[Answer]:
    """Gradients at many points by ``jax.jit(jax.vmap(jax.grad(...)))``, beside the bare device's."""
    import jax

    points = jax.numpy.asarray(np.random.default_rng(0).uniform(0, 3, (POINTS, 2, 4)))
    device = cluster_device("jax", 4)
    bare, ours = map(_gradient_in_jax, (qml.device("lightning.qubit", wires=4), device))
    each, bare_all, ours_all = jax.jit(ours), jax.jit(jax.vmap(bare)), jax.jit(jax.vmap(ours))
    calls = {
        "bare lightning.qubit": lambda: bare_all(points).block_until_ready(),
        "together": lambda: ours_all(points).block_until_ready(),
        "one after the other": lambda: [each(point).block_until_ready() for point in points],
    }
    for call in calls.values():
        warm_up(device, call)
    device.cluster.history.clear()
    calls["together"]()
    rows = list(device.cluster.history)
    question = f"jit(vmap(grad)) of {POINTS} points, 8 parameters"
    beside = f"{sum(row.circuits for row in rows)} circuits"
    yield Answer.of(question, len({row.batch for row in rows}), "batches", at_most=1, beside=beside)
    yield faster(question, turns(calls), 10.0)
    device.close()


def _gradient_in_jax(device: Any) -> Any:
    import jax

    @qml.set_shots(SHOTS)
    @qml.qnode(device, interface="jax", diff_method="parameter-shift")
    def function(angles: Any) -> Any:
        for wire in range(4):
            qml.RX(angles[0, wire], wire)
            qml.RZ(angles[1, wire], wire)
        for wire in range(4):
            qml.CNOT([wire, (wire + 1) % 4])
        return qml.expval(qml.Z(0) @ qml.Z(1))

    return jax.grad(function)


def by_adjoint() -> Iterator[Answer]:
    """A step without shots on one ``lightning.qubit`` that differentiates by itself."""
    for qubits in (6, 10, 14):
        device = cluster_device("lightning.qubit", qubits)
        ways = {"bare": qml.device("lightning.qubit", wires=qubits), "cluster": device}
        calls = {name: steps(one, qubits, 12, "adjoint", None) for name, one in ways.items()}
        warm_up(device, calls["cluster"])
        times = turns(calls, 5 * ROUNDS)
        ratio = times["cluster"] / times["bare"]
        beside = f"bare lightning.qubit {1e3 * np.median(times['bare'][0]):.3g} ms"
        beside += f"; by CPU time {np.median(ratio[1]):.3g} times"
        question = f"step by adjoint, {qubits} qubits, 12 terms, on one lightning.qubit"
        yield Answer.of(question, ratio[0], "times as long", at_most=1.05, beside=beside)
        device.close()


def sweeps() -> Iterator[Answer]:
    """What a row of a sweep costs on ``"aer"``, of few and of many rows."""
    with qml.queuing.AnnotatedQueue() as queue:
        gates(angles_of(6), 6)
        qml.expval(energy(1))
    template = qml.tape.QuantumScript.from_queue(queue, shots=SHOTS)
    slots = tuple(index for index, operation in enumerate(template.operations) if operation.data)
    rng, few = np.random.default_rng(0), ROWS[0]
    with qexec.QCluster(["aer"], wires=6) as cluster:
        (executor,) = cluster.executors

        def run(rows: np.ndarray) -> None:
            cluster.run([Job(template, executor, Call(), sweep=Sweep(template, rows, slots))])

        for number in WARM * [few, 10_000]:  # worker processes begin meanwhile, if they are worth it
            run(rng.uniform(0, 3, (number, len(slots))))
        costs: dict[int, float] = {}
        for number in ROWS:
            rows = rng.uniform(0, 3, (number, len(slots)))
            gc.collect()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            often = max(1, 1000 // number)
            rounds = 1 if number > 10_000 else 5
            times = [measured(partial(run, rows), often, cpu_of_all) for _ in range(rounds)]
            grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            wall, cpu = 1e6 * np.array(times).T / number
            costs[number] = float(np.median(cpu))
            beside = f"{costs[number]:.3g} us of CPU; the peak of memory grows by {grown:.0f} MiB"
            yield Answer.of(f"sweep of {number} rows on aer, 6 qubits: each", wall, "us", beside=beside)
    for number in ROWS[1:]:
        ratio = costs[number] / costs[few]
        yield Answer.of(f"a row of {number}, by CPU time", ratio, f"times one of {few}", at_most=1.2)


# The profile


def profile(spec: str, qubits: int = 6, number: int = 20) -> None:
    """Print where the time of steps goes."""
    for terms in (12, 1):
        device = cluster_device(spec, qubits)
        step = steps(device, qubits, terms)
        warm_up(device, step)
        taken = turns({spec: step})[spec]
        profiler = cProfile.Profile(time.thread_time)
        with profiler:
            for _ in range(number):
                step()
        spent: Counter[str] = Counter()
        for (file, _, _), (_, _, own, _, callers) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
            if place_of(file) != REST:
                spent[place_of(file)] += own
                continue
            for (caller, _, _), (_, _, part, _) in callers.items():
                spent[place_of(caller)] += part  # what Python has built in counts for who calls it
        wall, cpu = 1e3 * np.median(taken, axis=1)
        title = f"A step of {wall:.1f} ms ({cpu:.1f} of CPU) on {spec}: {qubits} qubits, {terms} terms, {SHOTS} shots"
        table = Table("where", "share of the CPU time", "ms", title=title)
        for place, own in spent.most_common():
            table.add_row(place, f"{100 * own / spent.total():.0f} %", f"{cpu * own / spent.total():.2f}")
        Console(width=100).print(table)
        device.close()


def place_of(file: str) -> str:
    """Which row of the profile code counts for."""
    for name, paths in PLACES.items():
        if any(path in file for path in paths.split()):
            return name
    return REST


PARTS: dict[str, Callable[[], Iterator[Answer]]] = {
    **{f"step-{qubits}-{terms}": partial(steps_of, qubits, terms) for qubits in (6, 10, 14) for terms in (12, 1)},
    "aer": on_aer,
    "cold-8": partial(cold, 8),
    "cold-10": partial(cold, 10),
    "vmap": vmapped,
    "adjoint": by_adjoint,
    "sweep": sweeps,
}
OTHERS: dict[str, Callable[[], Iterator[Answer]]] = {"jobs": jobs_per_gradient.steps, "durable": durable.overheads}


def commanded(name: str) -> Iterator[Answer]:
    """What a part answers, with the command that asks it alone."""
    for found in (PARTS | OTHERS)[name]():
        yield replace(found, command=f"gradients.py {name}")


def main(arguments: list[str]) -> None:
    """Do as the command line says."""
    warnings.filterwarnings("ignore")
    if arguments[:1] == ["--profile"]:
        profile(*arguments[1:] or ["jax"])
    elif arguments[:1] == ["--loop"]:
        loop(arguments[1], int(arguments[2]), int(arguments[3]))
    elif unknown := [name for name in arguments if name not in PARTS | OTHERS]:
        sys.exit(f"No part is named {', '.join(unknown)}: there are {', '.join(PARTS | OTHERS)}.")
    else:
        answer("What a user gets from qml.grad", *[partial(commanded, name) for name in arguments or PARTS])


if __name__ == "__main__":
    main(sys.argv[1:])
