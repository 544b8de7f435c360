"""Several executors as one: a rule says which of them gets a circuit, and the circuit carries the answer with it."""

from __future__ import annotations

import time
import weakref
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import astuple, replace
from typing import Any, NamedTuple, Unpack

from pennylane.devices import ExecutionConfig
from pennylane.ops import MidMeasure
from pennylane.tape import QuantumScript

from pennylane_qexec.errors import NoExecutorError, PolicyError, ResultError
from pennylane_qexec.executors import executors
from pennylane_qexec.executors.base import Binder, Executor, status_of_members
from pennylane_qexec.executors.identity import derived, identity_of, of_all, settle
from pennylane_qexec.executors.options import ExecutorOptions, check_options, lists_options
from pennylane_qexec.executors.routing.rules import BySize, Rule, in_figures, rule_of
from pennylane_qexec.executors.shots import as_asked
from pennylane_qexec.executors.validation import present_objection
from pennylane_qexec.job import Bound, Call, Cost, Result, Status, Usage, Work
from pennylane_qexec.redaction.display import even_incomplete

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


_ADDRESS = "qexec.member"


class Address(NamedTuple):
    """For which member circuits were bound, and with what configuration; it travels with their call."""

    member: int
    config: ExecutionConfig


class MemberBinder:
    """Makes circuits ready for the members that get them.

    Args:
        members: all members.
        choose: says who gets a circuit.
        config: the configuration that the user's call asks for.
    """

    def __init__(self, members: Sequence[Executor], choose: Chooser, config: ExecutionConfig) -> None:
        self._members = members
        self._choose = choose
        self._config = config
        self._binders: dict[tuple[Executor, bool, bool], Binder] = {}
        self._configs: dict[tuple[Executor, int], ExecutionConfig] = {}

    def __call__(self, circuit: QuantumScript) -> Bound:
        member = self._choose(circuit)
        circuit = member.with_shots(circuit)
        measures = any(isinstance(operation, MidMeasure) for operation in circuit.operations)
        kind = (member, bool(circuit.shots), measures)
        if kind not in self._binders:
            self._binders[kind] = member.binder(self._config, circuit)
        bound = self._binders[kind](circuit)
        return replace(bound, config=self._addressed(member, bound.config))

    def _addressed(self, member: Executor, config: ExecutionConfig) -> ExecutionConfig:
        """The configuration, saying whose it is. One object for one: calls are told apart by that."""
        key = (member, id(config))
        if key not in self._configs:
            address = Address(self._members.index(member), config)
            self._configs[key] = replace(config, device_options={**config.device_options, _ADDRESS: address})
        return self._configs[key]


def address_of(call: Call) -> Address | None:
    """For which member the circuits of a call were bound; ``None`` if they are not bound."""
    return call.config.device_options.get(_ADDRESS) if call.bound else None


def at_address(call: Call, address: Address | None) -> Call:
    """The call as the member there knows it."""
    return call if address is None else replace(call, config=address.config)


def carried_out_by(member: Executor, work: Work) -> list[Result]:
    """Let a member carry out a batch, in parts that are not too many circuits or shots for it.

    Raises:
        ResultError: what came cannot be the results.
    """
    results: list[Result] = []
    part: list[int] = []
    shots = 0
    for index, circuit in enumerate(work.circuits):
        more = member.usage_of(circuit, work.call).shots if member.max_shots is not None else 0
        full = member.max_circuits is not None and len(part) >= member.max_circuits
        if part and (full or (member.max_shots is not None and shots + more > member.max_shots)):
            results += member.perform(work.part(part))
            part, shots = [], 0
        part.append(index)
        shots += more
    results += member.perform(work.part(part))
    if len(results) == len(work.circuits):
        member.check_results(work, results)
    return results


_AS_ASKED = Call()


class Hybrid(Executor):
    """Hands each circuit on to one of its members, by a rule that looks at the circuit's size.

    What fits nowhere is refused before it runs. The members run their parts of a batch one after the other, where the
    Hybrid runs; their own ``workers``, ``parallel`` and ``batch_window`` say nothing here. To have members run at the
    same time, make them the executors of a cluster, and give it the rule as its ``selector``.

    Args:
        members: specs of executors, as those of a cluster, the smallest first; or a mapping from names to specs.
        rule: who gets a circuit: a :class:`BySize`; a list of :class:`Tier` (or mappings with their arguments), which
            means the same; or a function ``(circuit, members) -> member``, asked with the members that can run the
            circuit, which must say the same if it is asked again. Default: that of :func:`smallest_first`.
        wires: the wires of devices that are built here and are not given wires of their own.
        name, workers, parallel, max_circuits, max_shots, batch_window: see :class:`Executor`.
        cost: what running here costs; default: what the member that runs a circuit charges.

    Attributes:
        rule: the rule.

    Raises:
        ConfigurationError: there are no members, or one of them or the rule makes no sense.
    """

    @lists_options(ExecutorOptions)
    def __init__(
        self,
        members: Any,
        *,
        rule: Rule | Sequence[Any] | None = None,
        wires: Any = None,
        **options: Unpack[ExecutorOptions],
    ) -> None:
        check_options(self, options, ExecutorOptions)
        self._members = tuple(_built(members, wires))
        settle(self._members)
        self._by_member = options.get("cost") is None
        options["name"] = options.get("name") or "hybrid"
        if options.get("workers") is None and not self.local:
            options["workers"] = sum(member.workers or 1 for member in self._members)
        if self._by_member:
            # What no member goes beyond; asked for what nothing more is known of.
            costs = [astuple(member.cost) for member in self._members]
            options["cost"] = Cost(*map(max, zip(*costs, strict=True)))
        super().__init__(**options)
        wanted = [member.wires for member in self._members]
        self.wires = wanted[0] if all(one == wanted[0] for one in wanted) else None
        self.rule: Rule = rule_of(rule, self._members)
        self._choose = Chooser(self._members, self.rule, self.name)

    @property
    def members(self) -> Sequence[Executor]:
        """The executors that circuits are handed on to."""
        return self._members

    def status(self) -> Status:
        """Online while a member is."""
        return status_of_members(self._members)

    @property
    def local(self) -> bool:
        """Whether all members compute in this process."""
        return all(member.local for member in self._members)

    @property
    def shareable(self) -> bool:
        """Whether worker processes can have copies of all members."""
        return all(member.shareable for member in self._members)

    @property
    def identity(self) -> str | None:
        """Those of all members, by name; ``None`` if one of them has none."""
        members = {member.name: member.identity for member in self._members}
        if None in members.values():
            return None
        return identity_of(self, "hybrid", (), members)

    @property
    def equivalence(self) -> Hashable:
        """That of the members, if they have it in common; else its own."""
        return of_all(self._members) or id(self)

    def repeats(self, circuit: QuantumScript) -> bool:
        """Whether it is so on each member."""
        return all(member.repeats(circuit) for member in self._members)

    @property
    def has_seed(self) -> bool:
        """Whether each member has one."""
        return all(member.has_seed for member in self._members)

    @property
    def streams(self) -> frozenset[Hashable]:
        """Those of all members."""
        return frozenset().union(*[member.streams for member in self._members])

    def reseed(self, seed: int) -> None:
        """Have each member draw by a seed derived from this one."""
        for index, member in enumerate(self._members):
            member.reseed(derived(seed, index))

    def explain(self, circuit: QuantumScript) -> str:
        """Who gets a circuit, and why, in a sentence."""
        return self._choose.explain(circuit)

    def rejects(self, circuit: QuantumScript) -> str | None:
        """Why no member takes a circuit, member by member."""
        try:
            self._choose(circuit)
        except NoExecutorError as error:
            reasons = "; ".join(f"{name!r} {reason}" for name, reason in error.reasons.items())
            return f"has no member for it ({reasons})"
        return None

    def with_shots(self, circuit: QuantumScript) -> QuantumScript:
        """The circuit with the shots that it has on the member that gets it."""
        member = self._choose.if_any(circuit)
        return circuit if member is None else member.with_shots(circuit)

    def effort(self, circuits: Sequence[QuantumScript]) -> float:
        """What the members that get the circuits compute."""
        chosen = [(self._choose.if_any(circuit), circuit) for circuit in circuits]
        return sum(member.effort((circuit,)) for member, circuit in chosen if member is not None)

    def place(self, circuit: QuantumScript, call: Call) -> str:
        """The name of the member that ran a circuit, and of its backend if that is another one."""
        member, inner = self._member(circuit, call)
        if member is None:
            return self.backend
        place = member.place(circuit, inner)
        return member.name if place == member.name else f"{member.name}: {place}"

    def charges(self, circuit: QuantumScript, call: Call) -> Cost:
        """What the member that a circuit went to charges."""
        member, inner = self._member(circuit, call)
        return self.cost if member is None or not self._by_member else member.charges(circuit, inner)

    def usage(self, circuit: QuantumScript) -> Usage:
        """What the member that gets a circuit bills for it, or what the Hybrid's own ``cost`` makes of that."""
        return self.usage_of(circuit, _AS_ASKED)

    def usage_of(self, circuit: QuantumScript, call: Call) -> Usage:
        """The same for a circuit of a call, which may be bound for a member."""
        member, inner = self._member(circuit, call)
        if member is None:
            return super().usage(circuit)
        usage = member.usage_of(circuit, inner)
        return usage if self._by_member else self.billed((usage.circuits, usage.shots))

    def _member(self, circuit: QuantumScript, call: Call) -> tuple[Executor | None, Call]:
        """The member that ran a circuit of a call, and the call as it had it."""
        address = address_of(call)
        member = self._choose.if_any(circuit) if address is None else self._members[address.member]
        return member, at_address(call, address)

    def supports(self, config: ExecutionConfig, circuit: QuantumScript | None) -> bool:
        """Whether the member that gets a circuit differentiates it; without a circuit, whether every member does."""
        if circuit is None:
            return all(member.supports(config, None) for member in self._members)
        member = self._choose.if_any(circuit)
        return member is not None and member.supports(config, circuit)

    def best_derivative(self, config: ExecutionConfig, circuit: QuantumScript | None) -> str | None:
        """What the member that gets a circuit would choose; without a circuit, what every member would choose."""
        if circuit is not None:
            member = self._choose.if_any(circuit)
            return None if member is None else member.best_derivative(config, circuit)
        own = {member.best_derivative(config, None) for member in self._members}
        return own.pop() if len(own) == 1 else None

    def binder(self, config: ExecutionConfig, circuit: QuantumScript) -> Binder:
        """What makes circuits ready for the members that get them."""
        return MemberBinder(self._members, self._choose, config)

    def run(self, circuits: Sequence[QuantumScript]) -> Sequence[Result]:
        """Run circuits on the members that get them."""
        return self.perform(Work(tuple(circuits)))

    def perform(self, work: Work) -> Sequence[Result]:
        """Carry out a batch. Bound circuits stay with the member that they were bound for."""
        address = address_of(work.call)
        if address is not None:
            work = replace(work, call=at_address(work.call, address))
            return carried_out_by(self._members[address.member], work)
        results: list[Result] = [None] * len(work.circuits)
        for member, indices in self._choose.parts(work.circuits):
            for index, result in zip(indices, carried_out_by(member, work.part(indices)), strict=True):
                results[index] = result
        return results

    def check_results(self, work: Work, results: Sequence[Result]) -> None:
        """Nothing is checked again: each member has checked its own, with the shots that it has run."""

    def check_kept(self, work: Work, results: Sequence[Result]) -> None:
        """See that a member can have returned each: the rule may have been another one when it was kept."""
        work = replace(work, call=at_address(work.call, address_of(work.call)))
        for index, result in enumerate(results):
            refusals = [_refusal(member, work.part([index]), result) for member in self._members]
            if refusals[0] is not None and None not in refusals:
                raise refusals[0]

    def become_replica(self, number: int) -> None:
        """Members with a seed draw from streams of this replica's own."""
        for member in self._members:
            member.become_replica(number)

    def close(self) -> None:
        """Close the members."""
        for member in self._members:
            member.close()

    @even_incomplete
    def __repr__(self) -> str:
        return f"<Hybrid {self.name!r}: {self.rule if isinstance(self.rule, BySize) else repr(self.rule)}>"


def _refusal(member: Executor, work: Work, result: Result) -> ResultError | None:
    """Why a member cannot have returned a result; ``None`` if it can."""
    try:
        member.check_kept(work, [result])
    except ResultError as error:
        return error
    return None


def _built(members: Any, wires: Any) -> list[Executor]:
    if not isinstance(members, Mapping) or "type" in members:
        return executors(members, wires)
    built = executors(list(members.values()), wires)
    for name, member in zip(members, built, strict=True):
        member.name = str(name)
    return built
