"""How a case is carried out: by which door its program is called, and how it is differentiated."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import pennylane as qml
from pennylane import numpy as pnp
from pennylane.devices import ExecutionConfig

import pennylane_qexec as qexec
from differential.drawing import Case
from differential.kinds import KINDS, Pool, bare_device, for_device, wires_of
from differential.programs import SPARE, Program, function

APART = 0.1
"""Where a front end makes several calls, their arguments differ by this."""

BACKENDS = {
    "default.qubit": "local_pennylane/default.qubit",
    "lightning.qubit": "local_pennylane/lightning.qubit",
    "default.mixed": "local_pennylane/default.mixed",
    "cirq.simulator": "local_cirq/simulator",
    "cirq.mixedsimulator": "local_cirq/density_matrix_simulator",
    "aer": "local_aer/aer_simulator",
    "aer:fake_manila": "local_aer/fake_manila",
}
"""The backends of experiments that are what executors are elsewhere."""


@dataclass
class Answer:
    """What came of a case.

    Attributes:
        calls: the arguments ``x`` of each call, and what it returned.
        derivatives: of each call's cost with respect to ``x`` and ``c`` (the Hessian of ``x`` alone); empty if none
            was asked for.
        error: what was raised instead.
        tracked: what ``qml.Tracker`` counted, where it was asked.
        recorded: the shots of the rows in the cluster's history.
    """

    calls: list[tuple[np.ndarray, Any]] = field(default_factory=list)
    derivatives: list[tuple[np.ndarray, tuple[np.ndarray, ...]]] = field(default_factory=list)
    error: Exception | None = None
    tracked: dict[str, Any] | None = None
    recorded: int | None = None


Function = Callable[[Any, Any], Any]


def ours(case: Case, pool: Pool) -> Answer:
    """What our package makes of a case."""
    if case.front == "plain":
        return bare(case, case.executors[0])
    if case.front == "experiment":
        return _caught(partial(_experiment, case, pool))
    wires = wires_of(case)
    cluster = pool.cluster(case)
    device = qml.device("qexec.cluster", wires=for_device(wires), cluster=cluster)
    cluster.history.clear()

    def answered() -> Answer:
        counted = device
        if case.front == "device":
            call = _qnode(case, device)
        elif case.front in ("qelectron", "run_later", "map", "threads"):
            counted = qml.device(KINDS[case.executors[0]].bare or "default.qubit", wires=_origin_wires(case))
            call = _qelectron(case, counted, cluster)
        else:
            call = partial(_by_tape, case, device, cluster)
        with qml.Tracker(counted) as tracker:
            answer = _threads(case, call) if case.front == "threads" else _carried_out(case, call)
        answer.tracked = dict(tracker.totals)
        answer.recorded = sum(row.shots for row in cluster.history)
        return answer

    return _caught(answered)


def bare(case: Case, kind: str, derive: bool = True) -> Answer:
    """What PennyLane makes of it with the bare device of a kind of executor, or one whose results have that form.

    Args:
        case: the case.
        kind: the kind.
        derive: whether to take the derivative, if the case takes one.
    """

    def answered() -> Answer:
        device = bare_device(kind, wires_of(case), case.program.labels, bool(case.total_shots))
        by_tape = case.front in ("execute", "qml.execute", "dev.execute", "program", "experiment")
        with qml.Tracker(device) as tracker:
            call = partial(_by_tape, case, device, None) if by_tape else _qnode(case, device)
            answer = _carried_out(case if derive else replace(case, order=0), call)
        answer.tracked = dict(tracker.totals)
        return answer

    return _caught(answered)


def executed(case: Case, kind: str) -> Answer:
    """What the bare device of a kind makes of the circuit if it is not given by PennyLane."""
    device = bare_device(kind, wires_of(case), case.program.labels, bool(case.total_shots))
    return _caught(lambda: _carried_out(case, lambda x, c: device.execute((_tape(case, x, c),))[0]))


def _caught(answered: Callable[[], Answer]) -> Answer:
    try:
        return answered()
    except Exception as error:
        return Answer(error=error)


# -- calls


STEP_WITH_SHOTS = 0.1
"""The step of finite differences and of spsa with shots: of smaller ones nothing is left."""


def _gradient_kwargs(case: Case) -> dict[str, Any]:
    step = STEP_WITH_SHOTS if case.total_shots else 1e-3
    if case.method == "spsa":
        return {"sampler_rng": np.random.default_rng(5), "num_directions": 2, "h": step}
    if case.method == "finite-diff":
        return {"h": step, "strategy": "center", "approx_order": 2}
    return {"aux_wire": SPARE} if case.method == "hadamard" and case.wires == "spare" else {}


def _qnode(case: Case, device: Any) -> Any:
    qnode = qml.QNode(
        function(case.program),
        device,
        diff_method=case.method,
        max_diff=case.max_diff,
        gradient_kwargs=_gradient_kwargs(case),
        mcm_method=case.mcm_method,
        shots=case.shots,
    )
    return getattr(qml.transforms, case.transform)(qnode) if case.transform else qnode


def _qelectron(case: Case, origin: Any, cluster: qexec.QCluster) -> Function:
    made = qexec.qelectron(_qnode(case, origin), executors=cluster)
    if case.front in ("qelectron", "threads"):
        return made
    if case.front == "run_later":
        return lambda x, c: made.run_later(x, c).result()
    return lambda x, c: made.map([x, x + APART], [c, c])


def _origin_wires(case: Case) -> Any:
    wires = wires_of(case)
    legacy = case.executors[0].startswith(("cirq", "qiskit"))
    return for_device(list(case.program.names) if wires is None and legacy else wires)


def _by_tape(case: Case, device: Any, cluster: qexec.QCluster | None, x: Any, c: Any) -> Any:
    tape = _tape(case, x, c)
    if cluster is not None and case.front == "execute":
        return cluster.execute([tape])[0]
    if cluster is not None and case.front == "dev.execute":
        return device.execute((tape,))[0]
    if cluster is not None and case.front == "program":
        return _by_its_program(tape, device, case.interface)
    method = case.method if case.order else None
    kwargs = _gradient_kwargs(case) if case.order else {}
    (result,) = qml.execute([tape], device, diff_method=method, max_diff=case.max_diff, gradient_kwargs=kwargs)
    return result


def _tape(case: Case, x: Any, c: Any) -> qml.tape.QuantumScript:
    return qml.tape.make_qscript(function(case.program))(x, c).copy(shots=case.shots)


def _by_its_program(tape: qml.tape.QuantumScript, device: Any, interface: str) -> Any:
    """As users do who prepare circuits themselves, by a configuration that says only what they differentiate with."""
    method = None if interface == "numpy" else "gradient-transform"
    program = device.preprocess_transforms(ExecutionConfig(interface=interface, gradient_method=method))
    diff_method = None if interface == "numpy" else "parameter-shift"
    (result,) = qml.execute([tape], device, diff_method=diff_method, transform_program=program)
    return result


PLAIN_CALLS = 50
"""So many plain QNodes run beside threads: one that imports torch waits for the interpreter at each of its files."""


def _threads(case: Case, call: Function) -> Answer:
    """The same from three threads at once, with different arguments, while this one runs some plain QNodes."""
    answers: list[Answer | None] = [None] * 3

    def work(number: int) -> None:
        answers[number] = _caught(lambda: _carried_out(case, call, number * APART))

    workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for worker in workers:
        worker.start()
    plain = qml.QNode(_two_layers, qml.device("default.qubit", wires=2))
    wrong = []
    for _ in range(PLAIN_CALLS):
        if not any(worker.is_alive() for worker in workers):
            break
        got = float(plain(0.4))
        if abs(got - np.cos(0.4) ** 2) > 1e-9:
            wrong.append(got)
    for worker in workers:
        worker.join()
    if wrong:
        raise AssertionError(f"plain PennyLane, beside our threads: {wrong[:3]} in place of {np.cos(0.4) ** 2}")
    total = Answer()
    for answer in answers:
        assert answer is not None
        if answer.error is not None:
            raise answer.error
        total.calls += answer.calls
        total.derivatives += answer.derivatives
    return total


def _two_layers(angle: float) -> Any:
    qml.AngleEmbedding([angle, angle], wires=[0, 1])
    return qml.expval(qml.Z(0) @ qml.Z(1))


def _experiment(case: Case, pool: Pool) -> Answer:
    tape = qml.tape.make_qscript(function(case.program))(case.program.x, case.program.c)
    backends = list(dict.fromkeys(BACKENDS.get(name, BACKENDS["default.qubit"]) for name in case.executors))
    split = dict(case.policy).get("split", "uniform")
    collector = pool.experiments.run_experiment(tape, case.shots, backends, split)
    merged = collector.get_merged_results()
    results = list(merged.values()) if split == "multiplier" else [merged]  # by backend: each has run all the shots
    return Answer([(case.program.x, one) for one in results])


# -- interfaces


def _carried_out(case: Case, call: Function, shift: float = 0.0) -> Answer:
    x = case.program.x + shift
    answer = Answer()
    make = _INTERFACES[case.interface]
    value, derivatives = make(case, call, x, case.program.c)
    if case.front == "map" and isinstance(value, list):
        answer.calls = [(x, value[0]), (x + APART, value[1])]
    else:
        answer.calls = [(x, value)]
    if derivatives is not None:
        answer.derivatives = [(x, derivatives)]
    return answer


Derivatives = tuple[np.ndarray, ...] | None


def _by_numpy(case: Case, call: Function, x: np.ndarray, c: np.ndarray) -> tuple[Any, Derivatives]:
    return call(x, c), None


def _by_autograd(case: Case, call: Function, x: np.ndarray, c: np.ndarray) -> tuple[Any, Derivatives]:
    trained = (pnp.array(x, requires_grad=True), pnp.array(c, requires_grad=True))
    value = call(*trained)
    if not case.order:
        return value, None
    cost = _cost_of(case, call)
    if case.order == 2:
        return value, (np.asarray(qml.jacobian(qml.grad(cost, argnums=0), argnums=0)(*trained)),)
    numbers = list(_trained(case))
    return value, tuple(np.asarray(one) for one in qml.grad(cost, argnums=numbers)(*trained))


def _by_torch(case: Case, call: Function, x: np.ndarray, c: np.ndarray) -> tuple[Any, Derivatives]:
    import torch

    trained = [torch.tensor(one, dtype=torch.float64, requires_grad=True) for one in (x, c)]
    value = call(*trained)
    if not case.order:
        return value, None
    cost = _cost_of(case, call)
    if case.order == 2:
        hessian = torch.autograd.functional.hessian(lambda one: cost(one, trained[1]), trained[0])
        return value, (hessian.detach().numpy(),)
    cost(*trained).backward()
    found = [trained[number] for number in _trained(case)]
    return value, tuple(np.zeros(one.shape) if one.grad is None else one.grad.numpy() for one in found)


def _by_jax(case: Case, call: Function, x: np.ndarray, c: np.ndarray) -> tuple[Any, Derivatives]:
    import jax

    jit = jax.jit if case.interface != "jax" else lambda one: one
    vmap = partial(jax.vmap, in_axes=(1, None)) if case.interface == "jax-vmap" else lambda one: one
    trained = (jax.numpy.array(x), jax.numpy.array(c))
    value = jit(vmap(call))(*trained)
    if not case.order:
        return value, None
    cost = _cost_of(case, call)
    if case.order == 2:
        return value, (np.asarray(jit(vmap(jax.hessian(cost)))(*trained)),)
    found = jit(vmap(jax.grad(cost, argnums=_trained(case))))(*trained)
    return value, tuple(np.asarray(one) for one in found)


_INTERFACES: dict[str, Callable[..., tuple[Any, Derivatives]]] = {
    "numpy": _by_numpy,
    "autograd": _by_autograd,
    "torch": _by_torch,
    "jax": _by_jax,
    "jax-jit": _by_jax,
    "jax-vmap": _by_jax,
}


def _trained(case: Case) -> tuple[int, ...]:
    return (0, 1) if case.program.coefficients else (0,)


# -- what is differentiated


def weights(number: int, size: int) -> np.ndarray:
    """The weights of what one measurement returns in the cost that is differentiated."""
    return np.linspace(0.4, 1.3, size) * (1 - 0.35 * number)


def _cost_of(case: Case, call: Function) -> Function:
    def cost(x: Any, c: Any) -> Any:
        result = call(x, c)
        results = result if case.front == "map" else [result]
        return sum(_cost(case.program, case.shots, one) for one in results)

    return cost


def _cost(program: Program, shots: Any, result: Any) -> Any:
    bins = result if isinstance(shots, tuple) else (result,)
    total: Any = 0.0
    for each in bins:
        leaves = each if len(program.measurements) > 1 else (each,)
        for number, (measured, leaf) in enumerate(zip(program.measurements, leaves, strict=True)):
            size = qml.math.shape(leaf)[-1] if measured.kind == "probs" else 1
            factors = qml.math.asarray(weights(number, size), like=qml.math.get_interface(leaf))
            total = total + qml.math.sum(leaf * (factors if measured.kind == "probs" else factors[0])) / len(bins)
    return total
