"""Workloads, drawn at random: a cluster, what goes wrong in it, who asks for what, and who gives up when."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from hazards.executors import ANYWHERE, AT_A_QUEUE, Trouble

TIMEOUT = 5.0


@dataclass(frozen=True)
class Member:
    """An executor.

    Attributes:
        kind: ``"here"``, ``"thread"``, ``"queue"``, or ``"cluster"`` for one of the ``members``.
        options: options of an executor, or of a cluster.
        troubles: options of :class:`hazards.executors.Troubles`.
        members: the executors inside.
    """

    kind: str
    options: dict[str, Any] = field(default_factory=dict)
    troubles: dict[str, Any] = field(default_factory=dict)
    members: tuple[Member, ...] = ()


@dataclass(frozen=True)
class Call:
    """Circuits that somebody asks for together.

    Attributes:
        way: ``"run"`` to wait for them, ``"submit"`` for a future of each, ``"later"`` for one future of all.
        circuits: the number and the shots of each.
        cancelled: when which of its futures are cancelled: pairs of the number of batches that have arrived by then (0:
            at once) and a step, 1 for all of them, 2 for every other one.
    """

    way: str
    circuits: tuple[tuple[int, Any], ...]
    cancelled: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Workload:
    """All that happens.

    Attributes:
        members: the executors.
        options: options of the cluster.
        budgets: limits of the cluster's budget, and of one that callers enter; ``None`` where there is none.
        callers: the calls of each caller, who all ask at the same time.
        closed: the number of batches that have arrived when the cluster is closed; ``None`` at the end.
    """

    members: tuple[Member, ...]
    options: dict[str, Any]
    budgets: tuple[dict[str, Any] | None, dict[str, Any] | None]
    callers: tuple[tuple[Call, ...], ...]
    closed: int | None

    @property
    def circuits(self) -> dict[int, Any]:
        """The shots of every circuit, by its number."""
        return {number: shots for calls in self.callers for call in calls for number, shots in call.circuits}

    @property
    def gives_up(self) -> bool:
        """Whether somebody gives up what was sent."""
        calls = [call for calls in self.callers for call in calls]
        ends = self.closed is not None or "timeout" in self.options or "hedge" in self.options
        return ends or any(call.cancelled for call in calls)


def workload(rng: Random) -> Workload:
    """Draw a workload.

    Args:
        rng: a generator of Python's random numbers, or one of hypothesis', which then finds a small workload.
    """
    callers = _callers(rng)
    numbers = [number for calls in callers for call in calls for number, _ in call.circuits]
    options: dict[str, Any] = {
        "retry": {"attempts": rng.randint(1, 3), "initial": rng.choice([0.0, 0.1])},
        "failover": rng.random() < 0.7,
        "batch_window": rng.choice([0.0, 0.0, 0.05]),
        "seed": 1,
    }
    if rng.random() < 0.3:
        options["timeout"] = TIMEOUT
    members = tuple(_member(rng, numbers, options, nests=True) for _ in range(rng.randint(1, 4)))
    options |= _policy(rng, nested=False)
    closed = rng.randint(0, len(numbers)) if rng.random() < 0.15 else None
    if rng.random() < 0.2:
        options["hedge"] = rng.choice([0.0001, 0.02, 0.5])
    return Workload(members, options, _budgets(rng, callers), callers, closed)


def _callers(rng: Random) -> tuple[tuple[Call, ...], ...]:
    numbers = iter(range(1, 1000))
    return tuple(
        tuple(_call(rng, numbers) for _ in range(rng.choice([1, 1, 2, 3]))) for _ in range(rng.choice([1, 1, 1, 2, 3]))
    )


def _call(rng: Random, numbers: Any) -> Call:
    circuits = tuple((next(numbers), _shots(rng)) for _ in range(rng.choice([1, 1, 2, 4])))
    way = rng.choice(["run", "submit", "later"])
    if way == "run" or rng.random() < 0.6:
        return Call(way, circuits)
    return Call(
        way, circuits, tuple((rng.choice([0, 1, 2, 3, 5]), rng.randint(1, 2)) for _ in range(rng.randint(1, 2)))
    )


def _shots(rng: Random) -> Any:
    draw = rng.random()
    if draw < 0.15:
        return None
    return [rng.randint(1, 5) for _ in range(2)] if draw < 0.25 else rng.randint(1, 12)


def _member(rng: Random, numbers: list[int], options: dict[str, Any], nests: bool) -> Member:
    kind = rng.choice(["here", "thread", "thread", "queue", "queue", "cluster" if nests else "thread"])
    if kind == "cluster":
        inside = tuple(_member(rng, numbers, options, nests=False) for _ in range(rng.randint(1, 2)))
        own = {"retry": options["retry"], "failover": rng.random() < 0.7, "seed": 1}
        return Member(kind, own | _policy(rng, nested=True), members=inside)
    return Member(kind, _limits(rng, kind), _troubles(rng, numbers, kind, "timeout" in options))


def _policy(rng: Random, nested: bool) -> dict[str, Any]:
    selector = rng.choice(["cyclic", "random", "least_loaded", "least_loaded", None])
    if selector is not None:
        return {"selector": selector}
    return {"split": rng.choice(["uniform", "proportional", "uniform" if nested else "multiplier"])}


def _limits(rng: Random, kind: str) -> dict[str, Any]:
    options: dict[str, Any] = {"parallel": "auto" if kind == "here" else "thread"}
    if rng.random() < 0.4:
        options["workers"] = rng.randint(1, 3)
    if rng.random() < 0.4:
        options["max_circuits"] = rng.randint(1, 3)
    if rng.random() < 0.2:
        options["max_shots"] = rng.randint(8, 30)
    if kind == "queue" and rng.random() < 0.5:
        options["batch_window"] = 0.01
    return options


def _troubles(rng: Random, numbers: list[int], kind: str, ends: bool) -> dict[str, Any]:
    kinds = (*(AT_A_QUEUE if kind == "queue" else ANYWHERE), *([Trouble.HANGS] * ends))
    often = rng.choice([0.0, 0.1, 0.3])
    script = {
        number: [rng.choice(kinds) for _ in range(rng.choice([1, 1, 2, 4]))]
        for number in numbers
        if rng.random() < often
    }
    return {
        "script": script,
        "dead_from": rng.randint(0, 4) if rng.random() < 0.1 else None,
        "refused": frozenset(number for number in numbers if rng.random() < 0.3) if rng.random() < 0.1 else frozenset(),
        "offline": frozenset(range(rng.randint(0, 5), 8)) if rng.random() < 0.05 else frozenset(),
        "cents": (rng.randint(0, 3), rng.randint(0, 2)),
    }


def _budgets(rng: Random, callers: tuple[tuple[Call, ...], ...]) -> tuple[Any, Any]:
    shots = sum(
        sum(each) if isinstance(each, list) else each or 0
        for calls in callers
        for call in calls
        for _, each in call.circuits
    )
    circuits = sum(len(call.circuits) for calls in callers for call in calls)

    def limits() -> dict[str, Any]:
        most = {"shots": shots, "circuits": circuits, "cost": (circuits + shots) / 100}
        chosen = [what for what in most if rng.random() < 0.6]
        part = {what: most[what] * rng.uniform(0.3, 3.0) for what in chosen}
        return {what: round(value, 2) if what == "cost" else int(value) for what, value in part.items()}

    draw = rng.random()
    return (limits() if draw < 0.4 else None), (limits() if 0.3 < draw < 0.6 else None)
