"""Rules: which member of a :class:`Hybrid` gets a circuit.

A rule is a function ``(circuit, members) -> member``. The members that it is given are those that can run the circuit
and are up; it returns one of them. Such a rule is a cluster's ``selector`` as well.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pennylane.tape import QuantumScript

from pennylane_qexec.concurrency.resources import free_memory
from pennylane_qexec.errors import ConfigurationError, NoExecutorError, PolicyError, coerce, unknown
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.shots import as_asked
from pennylane_qexec.executors.validation import amount, in_words, present_objection, state_bytes
from pennylane_qexec.job import Sweep
from pennylane_qexec.redaction.display import even_incomplete

Rule = Callable[[QuantumScript, Sequence[Executor]], Executor]

GPU_FROM = 20
"""Wires from which a GPU is preferred by default: narrower states fit into a core's cache."""

_GPU = ("gpu", "cuda")
_TRIFLE = 2**26  # bytes, for which it is not worth while to measure what is free


@dataclass(frozen=True)
class Tier:
    """What one member takes, at most. ``None`` is no limit.

    Attributes:
        member: the name of the member.
        wires: the wires of a circuit.
        depth: operations one after the other.
        shots: the shots of a circuit, all together. An analytic circuit has none.
        memory: bytes of the circuit's state, or text such as ``"8G"``; default: what is free on this machine, for a
            member that computes there.
    """

    member: str
    wires: int | None = None
    depth: int | None = None
    shots: int | None = None
    memory: int | float | str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.member, str):
            raise ConfigurationError(f"member={self.member!r} must be the name of a member.")
        for limit in ("wires", "depth", "shots"):
            value = getattr(self, limit)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise ConfigurationError(f"{limit}={value!r} must be a whole number, or None for no limit.")
        amount(self.memory)

    def objection(self, circuit: QuantumScript, member: Executor) -> str | None:
        """Why a circuit is not for this tier, as the end of a sentence that begins with the member's name."""
        shots = circuit.shots.total_shots or 0
        if self.wires is not None and len(circuit.wires) > self.wires:
            return f"takes up to {self.wires} wires, and the circuit has {len(circuit.wires)}"
        if self.shots is not None and shots > self.shots:
            return f"takes up to {self.shots} shots, and the circuit has {shots}"
        if self.depth is not None and (depth := depth_of(circuit)) > self.depth:
            return f"takes up to depth {self.depth}, and the circuit has {depth}"
        return self._objection_to_memory(circuit, member)

    def _objection_to_memory(self, circuit: QuantumScript, member: Executor) -> str | None:
        needed, most = state_bytes(member, circuit), amount(self.memory)
        if most is not None:
            return None if needed <= most else f"takes up to {in_words(most)}, and the state has {in_words(needed)}"
        if needed <= _TRIFLE or uses_gpu(member) or needed <= (free := free_memory()):
            return None
        return f"needs {in_words(needed)} of memory, and {in_words(free)} are free"

    def __str__(self) -> str:
        limits = [
            f"{value} {word}" for word, value in (("wires", self.wires), ("shots", self.shots)) if value is not None
        ]
        limits += [f"depth {self.depth}"] if self.depth is not None else []
        limits += [in_words(amount(self.memory) or 0)] if self.memory is not None else []
        return f"{self.member} up to {', '.join(limits)}" if limits else self.member


@dataclass(frozen=True)
class BySize:
    """The first tier that a circuit fits into says who gets it.

    Attributes:
        tiers: tried in this order; mappings with the arguments of :class:`Tier` will do. A member may be in several,
            and in none to get nothing.
    """

    tiers: Sequence[Tier]

    def __post_init__(self) -> None:
        hint = "give Tier(member, wires=..., memory=...), or a mapping."
        tiers = tuple([coerce(Tier, given, f"{given!r} is no tier: {hint}") for given in self.tiers])
        object.__setattr__(self, "tiers", tiers)
        if not self.tiers:
            raise ConfigurationError("a rule without tiers gives circuits to nobody: give at least one Tier.")

    def __call__(self, circuit: QuantumScript, members: Sequence[Executor]) -> Executor:
        """The member for a circuit.

        Raises:
            NoExecutorError: it fits nowhere; says why, member by member.
        """
        refusals: dict[str, str] = {}
        for tier, member in self._with_members(members):
            objection = tier.objection(member.with_shots(circuit), member)
            if objection is None:
                return member
            refusals[member.name] = objection
        missing = {member.name: "is in no tier" for member in members if member.name not in refusals}
        raise NoExecutorError(f"this circuit of {in_figures(circuit)}", {**refusals, **missing})

    def explain(self, circuit: QuantumScript, members: Sequence[Executor]) -> str:
        """Who gets a circuit, and why, in a sentence."""
        passed: list[str] = []
        for tier, member in self._with_members(members):
            objection = tier.objection(member.with_shots(circuit), member)
            if objection is None:
                return "; ".join([*passed, f"{member.name!r} gets it ({tier})"])
            passed.append(f"{member.name!r} {objection}")
        return "; ".join([*passed, "nobody gets it"])

    def check(self, members: Iterable[Executor]) -> None:
        """Refuse tiers of members that there are not.

        Raises:
            ConfigurationError: there are.
        """
        names = [member.name for member in members]
        for tier in self.tiers:
            if tier.member not in names:
                raise ConfigurationError(unknown("member", tier.member, names))

    def _with_members(self, members: Sequence[Executor]) -> list[tuple[Tier, Executor]]:
        by_name = {member.name: member for member in members}
        return [(tier, by_name[tier.member]) for tier in self.tiers if tier.member in by_name]

    def __str__(self) -> str:
        return ", then ".join(map(str, self.tiers))

    @even_incomplete
    def __repr__(self) -> str:
        return f"<BySize: {self}>"


def smallest_first(members: Sequence[Executor], gpu_from: int = GPU_FROM) -> BySize:
    """The rule that a :class:`Hybrid` has if it is given none.

    The first member that a circuit fits into gets it. Beside a GPU, others take narrow circuits first, and wide ones
    only where the GPU cannot.

    Args:
        members: the members, the smallest first.
        gpu_from: the wires from which a circuit is wide.
    """
    gpus = [Tier(member.name) for member in members if uses_gpu(member)]
    others = [member.name for member in members if not uses_gpu(member)]
    narrow = [Tier(name, wires=gpu_from - 1) for name in others] if gpus else []
    return BySize([*narrow, *gpus, *[Tier(name) for name in others]])


def rule_of(rule: Any, members: Sequence[Executor]) -> Rule:
    """The rule that a user's value means: ``None`` for that of :func:`smallest_first`, tiers for a :class:`BySize`.

    Raises:
        ConfigurationError: it means none, or has tiers of members that there are not.
    """
    if rule is None:
        return smallest_first(members)
    made = BySize(rule) if isinstance(rule, Sequence) and not isinstance(rule, str) else rule
    if not callable(made):
        raise ConfigurationError(f"rule={rule!r} is no rule: give BySize([...]), or (circuit, members) -> member.")
    if isinstance(made, BySize):
        made.check(members)
    return made


def uses_gpu(member: Executor) -> bool:
    """Whether a member computes on a GPU, by its own or its backend's name."""
    names = f"{member.name} {member.backend}".lower()
    return any(word in names for word in _GPU)


def depth_of(circuit: QuantumScript) -> int:
    """How many operations there are one after the other, on the wire where there are most."""
    levels: dict[Any, int] = {}
    for operation in circuit.operations:
        level = 1 + max([levels.get(wire, 0) for wire in operation.wires], default=0)
        levels.update(dict.fromkeys(operation.wires, level))
    return max(levels.values(), default=0)


def in_figures(circuit: QuantumScript) -> str:
    """The figures of a circuit that rules look at."""
    shots = circuit.shots.total_shots
    return f"{len(circuit.wires)} wires, depth {depth_of(circuit)}, {'analytic' if shots is None else f'{shots} shots'}"


_FRESH = 1.0  # seconds


class Chooser:
    """Chooses among members by a rule.

    Args:
        members: the members.
        rule: who gets a circuit, of those that can run it.
        name: whose rule it is, for errors.
    """

    def __init__(self, members: Sequence[Executor], rule: Rule, name: str) -> None:
        self.members = members
        self.rule = rule
        self._name = name
        self._last: tuple[weakref.ref[QuantumScript] | None, float, Executor | None] = (None, 0.0, None)

    def __call__(self, circuit: QuantumScript) -> Executor:
        """The member that gets a circuit. The last answer is kept for a moment, as one circuit is asked for repeatedly.

        Raises:
            NoExecutorError: it fits nowhere; says why, member by member.
            PolicyError: the rule returned something else than one of the members that it was given.
        """
        last, since, member = self._last
        now = time.monotonic()
        if member is None or last is None or last() is not circuit or now - since > _FRESH:
            member = self._choose(as_asked(circuit))
            self._last = (weakref.ref(circuit), now, member)
        return member

    def if_any(self, circuit: QuantumScript) -> Executor | None:
        """The member that gets a circuit; ``None`` if it fits nowhere."""
        try:
            return self(circuit)
        except NoExecutorError:
            return None

    def parts(self, circuits: Sequence[QuantumScript]) -> list[tuple[Executor, list[int]]]:
        """The members that get circuits, each with the indices of its circuits."""
        parts: dict[Executor, list[int]] = {}
        for index, circuit in enumerate(circuits):
            parts.setdefault(self(circuit), []).append(index)
        return list(parts.items())

    def of_sweep(self, sweep: Sweep) -> Executor | None:
        """The member that gets all circuits of a sweep; ``None`` if they go to several."""
        if isinstance(self.rule, BySize) and all(member.by_structure for member in self.members):
            return self(sweep.template)
        chosen = set(map(self, sweep.circuits()))
        return chosen.pop() if len(chosen) == 1 else None

    def explain(self, circuit: QuantumScript) -> str:
        """Who gets a circuit, and why, in a sentence."""
        able, refusals = self._able(circuit)
        said = [f"{name!r} {reason}" for name, reason in refusals.items()]
        if not able:
            said.append("nobody gets it")
        elif isinstance(self.rule, BySize):
            said.append(self.rule.explain(circuit, able))
        else:
            said.append(f"{self._asked(circuit, able).name!r} gets it, says {self.rule!r}")
        return f"{in_figures(circuit)}: {'; '.join(said)}."

    def _choose(self, circuit: QuantumScript) -> Executor:
        able, refusals = self._able(circuit)
        if not able:
            raise NoExecutorError(f"this circuit of {in_figures(circuit)}", refusals)
        try:
            return self._asked(circuit, able)
        except NoExecutorError as error:
            raise NoExecutorError(error.circuit, {**refusals, **error.reasons}) from error

    def _able(self, circuit: QuantumScript) -> tuple[list[Executor], dict[str, str]]:
        """The members that can run a circuit now, and why the others cannot."""
        able, refusals = [], {}
        for member in self.members:
            reason = present_objection(member, circuit)
            if reason is None:
                able.append(member)
            else:
                refusals[member.name] = reason
        return able, refusals

    def _asked(self, circuit: QuantumScript, able: Sequence[Executor]) -> Executor:
        member = self.rule(circuit, able)
        if any(one is member for one in able):
            return member
        names = ", ".join(repr(one.name) for one in able)
        raise PolicyError(
            f"the rule of {self._name!r} returned {member!r}, which is none of the members that can run this circuit. "
            f"Return one of the members that it is given: {names}."
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": (None, 0.0, None)}
