"""Cases drawn at random: a program with a front end, executors, an interface and a derivative.

All chance comes from a ``random.Random``. One that hypothesis controls makes a strategy of this, whose failures shrink;
one with a seed makes a case that can be named by a number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from typing import Any

from hypothesis import strategies as st

from differential.programs import (
    CHANNELS,
    GATES,
    PREPARATIONS,
    STACKED,
    Gate,
    Measured,
    MidMeasure,
    Number,
    Observable,
    Program,
)

SHARED = 5
"""How many structures of circuits the cases with slow compilers share."""

Shots = int | tuple[int, ...] | None


@dataclass(frozen=True)
class Case:
    """One thing that a user might write.

    Attributes:
        program: the quantum function, and what it is called with.
        front: by what it is called, see ``fronts.py``.
        executors: names of kinds, see ``kinds.py``.
        policy: options of the cluster.
        interface: ``"numpy"``, ``"autograd"``, ``"torch"``, ``"jax"``, ``"jax-jit"`` or ``"jax-vmap"``.
        shots: as of a QNode.
        method: the QNode's ``diff_method``.
        order: of the derivative that is taken: 0, 1 or 2.
        max_diff: of the QNode.
        wires: of the device: ``"none"``, ``"program"``, or ``"spare"`` for one more.
        transform: what is on top, see ``fronts.py``.
        mcm_method: of the QNode.
        seeds: ``""`` for none, ``"cluster"`` for one of the cluster, ``"equal"`` for the same of every executor.
    """

    program: Program
    front: str = "device"
    executors: tuple[str, ...] = ("default.qubit",)
    policy: tuple[tuple[str, Any], ...] = ()
    interface: str = "numpy"
    shots: Shots = None
    method: str = "best"
    order: int = 0
    max_diff: int = 1
    wires: str = "none"
    transform: str = ""
    mcm_method: str | None = None
    seeds: str = ""

    @property
    def total_shots(self) -> int:
        """All shots of one call; 0 if it is analytic."""
        return sum(self.shots) if isinstance(self.shots, tuple) else self.shots or 0

    @property
    def splits(self) -> bool:
        """Whether shots are shared out."""
        return any(name == "split" for name, _ in self.policy)


def cases() -> st.SearchStrategy[Case]:
    """Cases by hypothesis."""
    return st.randoms(use_true_random=False).map(draw)


def numbered(number: int) -> Case:
    """The case with a number: always the same."""
    return draw(Random(number))


_SINGLE = {
    "default.qubit": 24, "lightning.qubit": 18, "default.mixed": 6, "reference.qubit": 5, "cirq.simulator": 6,
    "cirq.mixedsimulator": 2, "qiskit.aer": 2, "aer": 9, "aer:fake_manila": 3, "jax": 2, "hybrid": 4, "rehearsal": 3,
    "process": 4, "process:default.qubit": 3,
}  # fmt: skip
_MIXED: tuple[tuple[str, ...], ...] = (
    ("lightning.qubit", "default.qubit"),
    ("default.qubit", "default.qubit"),
    ("lightning.qubit", "lightning.qubit"),
    ("aer", "aer"),
    ("aer", "cirq.simulator"),
    ("lightning.qubit", "aer", "cirq.simulator"),
    ("default.qubit", "default.mixed"),
    ("aer", "aer:fake_manila"),
    ("aer:fake_manila", "aer:fake_manila"),
    ("process", "lightning.qubit"),
    ("reference.qubit", "default.qubit"),
)
SEEDED = frozenset({"default.qubit", "lightning.qubit", "default.mixed", "reference.qubit", "aer", "aer:fake_manila"})
"""Kinds that take a seed."""
SPOILED = {"custom:nan": False, "custom:text": False, "custom:counts": False, "custom:few": True, "custom:two": True}
"""Executors whose results are no results: whether of samples, or of expectation values."""
_FOR_JAX = (("default.qubit",), ("lightning.qubit",), ("lightning.qubit", "default.qubit"), ("aer",))
_POLICIES: tuple[tuple[tuple[str, Any], ...], ...] = (
    (),
    (("selector", "random"),),
    (("selector", "least_loaded"),),
)
_SPLITS: tuple[tuple[tuple[str, Any], ...], ...] = ((("split", "uniform"),), (("split", "multiplier"),))
_FRONTS = {"device": 34, "qelectron": 18, "run_later": 9, "map": 6, "execute": 8, "qml.execute": 8, "threads": 5,
           "dev.execute": 5, "program": 3, "experiment": 5, "plain": 3}  # fmt: skip
_METHODS = {"best": 46, "parameter-shift": 18, "adjoint": 9, "backprop": 9, "hadamard": 5, "finite-diff": 7, "spsa": 4}


def draw(rng: Random) -> Case:
    """A case."""
    interface = _weighted(rng, {"numpy": 38, "autograd": 28, "torch": 24, "jax": 3, "jax-jit": 3, "jax-vmap": 2})
    jax = interface.startswith("jax")
    executors = rng.choice(_MIXED) if _chance(rng, 25) else (_weighted(rng, _SINGLE),)
    if jax:
        executors = rng.choice(_FOR_JAX)
    front = _weighted(rng, _FRONTS)
    if front == "plain":
        executors = (rng.choice(("default.qubit", "lightning.qubit", "default.mixed")),)
    if _chance(rng, 1):
        return _spoiled(rng)
    if front in ("execute", "experiment") or (jax and front in ("dev.execute", "program")):
        interface, jax = "numpy", False
    if jax and front in ("map", "threads", "run_later", "plain"):
        front = "device"
    shots = _shots(rng, front)
    order = 0 if interface == "numpy" else _weighted(rng, {0: 25, 1: 60, 2: 0 if shots else 15})
    method = _weighted(rng, _METHODS) if order else "best"
    if front in ("dev.execute", "program"):
        order, method = min(order, 1), "best"
    if shots and method in ("finite-diff", "spsa", "adjoint", "backprop") and _chance(rng, 90):
        method = "parameter-shift"
    if order == 2 and method in ("finite-diff", "spsa", "hadamard", "adjoint"):
        method = "best"
    policy = rng.choice(_SPLITS) if shots and len(executors) > 1 and _chance(rng, 60) else rng.choice(_POLICIES)
    mixed = any("mixed" in one for one in executors)
    processes = any(one.startswith("process") for one in executors)
    if mixed and policy == _SPLITS[1]:  # who can run noise runs all the shots, others none
        policy = _SPLITS[0]
    slow = jax or executors[0] in ("qiskit.aer", "jax")
    wants = _Wants(bool(shots), order, method, front, jax, mixed)
    program = _program(Random(rng.randrange(SHARED)) if slow else rng, wants)
    if slow:
        program = replace(program, arguments=tuple(_angle(rng) for _ in program.arguments))
    if interface == "jax-vmap":
        program = replace(program, batch=3)
    wires = rng.choice(["none", "program", "spare"])
    if processes:  # one cluster for all: each has a worker of its own, which takes seconds to start
        policy, wires = (policy if policy in _SPLITS else ()), "none"
    if program.mid_measures and _chance(rng, 70):
        wires = "none"  # measurements that are deferred need more wires than the program has
    if method == "hadamard" and _chance(rng, 90):
        wires = "spare"
    if order and not _uses_arguments(program) and not program.coefficients:
        order = 0
    if program.mid_measures and isinstance(shots, int):
        shots = min(shots, 60)
    return Case(
        program=program,
        front=front,
        executors=executors,
        policy=policy,
        interface=interface,
        shots=shots,
        method=method,
        order=order,
        max_diff=2 if order == 2 and (_chance(rng, 60) or front == "plain") else 1,
        wires=wires,
        transform=_transform(rng, program, front, slow),
        mcm_method=_mcm_method(rng, program, shots),
        seeds=_seeds(rng) if shots and not processes and SEEDED.issuperset(executors) else "",
    )


def _seeds(rng: Random) -> str:
    return rng.choice(["cluster", "equal"]) if _chance(rng, 20) else ""


def _spoiled(rng: Random) -> Case:
    """An executor that a user has written, and that returns what it must not."""
    kind = rng.choice(sorted(SPOILED))
    angle = Gate("RX", (0,), (Number(_angle(rng)),))
    measured = Measured("sample", wires=(0, 1)) if SPOILED[kind] else Measured("expval", Observable("word", (0,), "Z"))
    program = Program(2, (angle, Gate("H", (1,))), (measured,))
    front = rng.choice(["device", "execute", "qelectron"])
    return Case(program, front, (kind,), shots=500 if SPOILED[kind] or _chance(rng, 50) else None)


@dataclass(frozen=True)
class _Wants:
    """What a program has to suit."""

    samples: bool
    order: int
    method: str
    front: str
    jax: bool
    mixed: bool


def _weighted(rng: Random, weights: dict[Any, int]) -> Any:
    place = rng.randrange(sum(weights.values()))
    for name, weight in weights.items():
        place -= weight
        if place < 0:
            return name
    raise AssertionError


def _chance(rng: Random, percent: int) -> bool:
    """True in so many of a hundred cases. What hypothesis tries first, and shrinks to, is the other outcome."""
    return rng.randrange(100) >= 100 - percent


def _shots(rng: Random, front: str) -> Shots:
    if front != "experiment" and _chance(rng, 55):
        return None
    if front != "experiment" and _chance(rng, 15):
        return rng.choice([(200, 300), (100, 100), (50, 200, 200), (1, 99), (400, 100)])
    return rng.choice([400, 1000, 1000, 2000, 1, 7])


def _transform(rng: Random, program: Program, front: str, slow: bool) -> str:
    if slow or front in ("execute", "qml.execute", "dev.execute", "program", "experiment") or _chance(rng, 85):
        return ""
    return rng.choice(["compile", "split_non_commuting", "broadcast_expand", "split_to_single_terms"])


def _mcm_method(rng: Random, program: Program, shots: Shots) -> str | None:
    if not program.mid_measures or _chance(rng, 50):
        return None
    return rng.choice(["deferred", "one-shot", "tree-traversal"] if shots else ["deferred", "tree-traversal"])


def _angle(rng: Random) -> float:
    return round(rng.uniform(-3.1, 3.1), 3)


def _program(rng: Random, wants: _Wants) -> Program:
    wires = rng.randint(1, 4)
    arguments = tuple(_angle(rng) for _ in range(rng.randint(1, 2 if wants.order == 2 else 3)))
    measures_mid = not wants.jax and wants.order < 2 and _chance(rng, 12)
    batch = None
    batched_fronts = ("device", "qelectron", "run_later", "map", "plain", "qml.execute", "threads", "execute")
    if not wants.jax and not measures_mid and wants.front in batched_fronts and wants.order < 2 and _chance(rng, 12):
        batch = rng.choice([1, 2, 3])
    coefficients: tuple[float, ...] = ()
    if wants.order and _chance(rng, 35):
        coefficients = tuple(_angle(rng) for _ in range(2))
    draft = Program(wires, (), (), arguments, coefficients, batch)
    operations = _operations(rng, draft, wants, measures_mid)
    mid = sum(isinstance(step, MidMeasure) for step in operations)
    wanted = _weighted(rng, {1: 55, 2: 30, 3: 15})
    used = sorted({wire for step in operations for wire in (step.wires if isinstance(step, Gate) else (step.wire,))})
    measurements = tuple(_measured(rng, draft, wants, mid) for _ in range(wanted))
    if not used:
        operations = (Gate("H", (0,)),)
    if coefficients and not any(_trains(one) for one in measurements):
        coefficients = ()
    labels = _weighted(rng, {0: 60, 1: 14, 2: 14, 3: 12})
    program = Program(wires, operations, measurements, arguments, coefficients, batch, labels)
    return program if _uses_arguments(program) else replace(program, batch=None)


def _uses_arguments(program: Program) -> bool:
    gates = [step for step in program.operations if isinstance(step, Gate)]
    return any(number.argument is not None for gate in gates for number in gate.numbers)


def _trains(measured: Measured) -> bool:
    return measured.observable is not None and any(one.argument is not None for one in measured.observable.numbers)


def _operations(rng: Random, draft: Program, wants: _Wants, measures_mid: bool) -> tuple[Gate | MidMeasure, ...]:
    steps: list[Gate | MidMeasure] = []
    if _chance(rng, 15) and not wants.jax:
        steps.append(_preparation(rng, draft.wires))
    length = rng.randint(2, 6 if wants.order == 2 or wants.jax else 10)
    mid = 0
    nests = _chance(rng, 10)
    while len(steps) < length:
        if measures_mid and mid < 2 and len(steps) > 1 and _chance(rng, 35):
            postselect = rng.choice([0, 1]) if _chance(rng, 20) else None
            steps.append(MidMeasure(rng.randrange(draft.wires), _chance(rng, 30), postselect))
            mid += 1
            continue
        gate = _gate(rng, draft, wants, nests)
        if mid and _chance(rng, 40):
            gate = replace(gate, condition=(rng.randrange(mid), rng.randrange(2)))
        steps.append(gate)
    if measures_mid and not mid:
        steps.append(MidMeasure(rng.randrange(draft.wires)))
    return tuple(steps)


def _preparation(rng: Random, wires: int) -> Gate:
    name = rng.choice(sorted(PREPARATIONS))
    return Gate(name, tuple(rng.sample(range(wires), rng.randint(1, wires))), seed=rng.randrange(100))


_COMMON = ("RX", "RY", "RZ", "CNOT", "H", "Rot", "CRX", "IsingXX", "CZ")
_REST = tuple(sorted(set(GATES) - PREPARATIONS - CHANNELS))


def _gate(rng: Random, draft: Program, wants: _Wants, nests: bool) -> Gate:
    while True:
        name = rng.choice(_COMMON) if wants.jax or _chance(rng, 60) else rng.choice(_REST)
        if wants.mixed and not wants.order and _chance(rng, 8):
            name = rng.choice(sorted(CHANNELS))
        number, parameters, _ = GATES[name]
        if number <= draft.wires and not (name in STACKED and draft.batch is not None):
            break
    size = number or rng.randint(1, draft.wires)
    wires = tuple(rng.sample(range(draft.wires), size))
    fixed = name in CHANNELS
    numbers = tuple(
        Number(round(rng.uniform(0.05, 0.3), 3)) if fixed else _parameter(rng, draft, nests) for _ in range(parameters)
    )
    wrapper = ""
    if not fixed and name not in ("Barrier", "Identity") and not wants.jax and _chance(rng, 8):
        wrapper = rng.choice(["adjoint", "pow", "ctrl"])
        if wrapper == "ctrl":
            others = [wire for wire in range(draft.wires) if wire not in wires]
            if others and name in ("RX", "RY", "RZ", "H", "PhaseShift", "Rot", "CNOT", "IsingXX", "PauliRot"):
                wires = (rng.choice(others), *wires)
            else:
                wrapper = ""
        elif wrapper == "pow" and name not in ("RX", "RY", "RZ", "SX", "S", "T", "PhaseShift", "IsingXX"):
            wrapper = "adjoint"
    return Gate(name, wires, numbers, rng.randrange(100), wrapper)


def _parameter(rng: Random, draft: Program, nests: bool) -> Number:
    if _chance(rng, 35):
        return Number(_angle(rng))
    nested = nests and _chance(rng, 40)
    return Number(rng.choice([1.0, 1.0, 2.0, -0.5]), rng.randrange(len(draft.arguments)), nested)


def _measured(rng: Random, draft: Program, wants: _Wants, mid: int) -> Measured:
    if mid and _chance(rng, 40):
        kinds = ["expval", "probs"] if wants.order else ["expval", "var", "probs"]
        kind = rng.choice([*kinds, "counts", "sample"] if wants.samples and not wants.order else kinds)
        number = rng.randint(1, mid) if kind in ("probs", "counts", "sample") else 1
        return Measured(kind, mid=tuple(rng.sample(range(mid), number)))
    if wants.front == "experiment":
        kinds_ = {"counts": 70, "probs": 10, "expval": 20}
    elif wants.order:
        kinds_ = {"expval": 70, "probs": 20, "var": 0 if wants.samples or wants.order == 2 else 8}
        if not wants.samples and wants.method in ("best", "backprop"):
            kinds_ |= {"purity": 2, "vn_entropy": 2, "mutual_info": 1}
    elif wants.samples:
        kinds_ = {"expval": 35, "var": 8, "probs": 18, "counts": 16, "sample": 18, "classical_shadow": 3,
                  "shadow_expval": 2}  # fmt: skip
    else:
        kinds_ = {"expval": 40, "var": 8, "probs": 20, "state": 10, "density_matrix": 8, "vn_entropy": 5,
                  "mutual_info": 4, "purity": 5}  # fmt: skip
    kind = _weighted(rng, kinds_)
    if kind == "state":
        return Measured("state")
    if kind == "mutual_info" and draft.wires == 1:
        kind = "purity"
    wires = tuple(rng.sample(range(draft.wires), rng.randint(1, draft.wires)))
    if kind == "mutual_info":
        wires = tuple(rng.sample(range(draft.wires), rng.randint(2, draft.wires)))
        return Measured(kind, wires=wires[:1], other=wires[1:])
    if kind in ("expval", "var", "shadow_expval"):
        words = kind != "expval" or (wants.samples and wants.front == "experiment")
        measured = _observable(rng, draft, words, kind == "shadow_expval")
        return Measured(kind, observable=measured, seed=rng.randrange(99))
    if kind in ("probs", "counts", "sample"):
        if _chance(rng, 20) and wants.front != "experiment":
            return Measured(kind, observable=_word(rng, draft.wires, "XYZ"))
        everything = _chance(rng, 30)
        return Measured(kind, wires=None if everything else wires, all_outcomes=kind == "counts" and _chance(rng, 30))
    return Measured(kind, wires=wires, seed=rng.randrange(99))


def _word(rng: Random, wires: int, letters: str) -> Observable:
    places = tuple(rng.sample(range(wires), min(_weighted(rng, {1: 55, 2: 35, 3: 10}), wires)))
    return Observable("word", places, "".join(rng.choice(letters) for _ in places))


def _observable(rng: Random, draft: Program, words: bool, shadow: bool = False) -> Observable:
    if shadow:
        return _word(rng, draft.wires, "XYZ")
    kinds = {"word": 60, "hermitian": 8, "projector": 6}
    if not words:
        kinds |= {"hamiltonian": 60 if draft.coefficients else 16, "sum": 10}
    kind = _weighted(rng, kinds)
    if kind == "word":
        return _word(rng, draft.wires, "XYZZH")
    places = tuple(rng.sample(range(draft.wires), rng.randint(1, min(2, draft.wires))))
    if kind == "hermitian":
        return Observable(kind, places, seed=rng.randrange(100))
    if kind == "projector":
        return Observable(kind, places, "".join(rng.choice("01") for _ in places))
    number = rng.randint(2, 3)
    numbers = tuple(
        Number(rng.choice([1.0, 0.5]), index) if index < len(draft.coefficients) else Number(_angle(rng) / 3)
        for index in range(number)
    )
    return Observable(kind, numbers=numbers, terms=tuple(_word(rng, draft.wires, "XYZ") for _ in range(number)))
