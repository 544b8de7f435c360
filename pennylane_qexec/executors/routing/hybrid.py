"""Several executors as one: a rule says which of them gets a circuit, and the circuit carries the answer with it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import astuple, replace
from typing import Any, NamedTuple, Unpack

from pennylane.devices import ExecutionConfig
from pennylane.ops import MidMeasure
from pennylane.tape import QuantumScript

from pennylane_qexec.errors import NoExecutorError, ResultError
from pennylane_qexec.executors import executors
from pennylane_qexec.executors.base import Binder, Executor, status_of_members
from pennylane_qexec.executors.identity import derived, identity_of, of_all, settle
from pennylane_qexec.executors.options import ExecutorOptions, check_options, lists_options
from pennylane_qexec.executors.routing.rules import BySize, Chooser, Rule, rule_of
from pennylane_qexec.job import Bound, Call, Cost, Result, Status, Sweep, Usage, Work
from pennylane_qexec.redaction.display import even_incomplete

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


def sweeps_carried_out_by(member: Executor, work: Work) -> list[list[Result]]:
    """Let a member carry out a batch of sweeps, in parts that are not too many circuits or shots for it.

    Raises:
        ResultError: what came cannot be the results.
    """
    if member.max_circuits is None and member.max_shots is None:
        return _checked_rows(member, work)
    results = []
    for index, sweep in enumerate(work.sweeps):
        shots = member.usage_of(sweep.template, work.call).shots
        by_shots = len(sweep) if member.max_shots is None or not shots else max(1, member.max_shots // shots)
        step, rows = min(by_shots, member.max_circuits or by_shots), []
        for start in range(0, len(sweep), step):
            numbers = tuple([number + start for number in work.numbers[index : index + 1]])
            part = replace(work.part([index]), numbers=numbers, sweeps=(sweep.part(slice(start, start + step)),))
            rows += _checked_rows(member, part)[0]
        results.append(rows)
    return results


def _checked_rows(member: Executor, work: Work) -> list[list[Result]]:
    rows = list(map(list, member.perform_sweeps(work)))
    flat = [result for row in rows for result in row]
    if list(map(len, rows)) == list(map(len, work.sweeps)):
        member.check_results(work.by_template(), flat)
    return rows


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

    def run_sweep(self, sweep: Sweep) -> Sequence[Result]:
        """Run a sweep on the member that gets it, or its circuits on those that get them."""
        return self.perform_sweeps(Work((sweep.template,), sweeps=(sweep,)))[0]

    def perform_sweeps(self, work: Work) -> Sequence[Sequence[Result]]:
        """Carry out a batch of sweeps, each on one member; if the rule divides one, all by their circuits."""
        address = address_of(work.call)
        if address is not None:
            work = replace(work, call=at_address(work.call, address))
            return sweeps_carried_out_by(self._members[address.member], work)
        parts: dict[Executor | None, list[int]] = {}
        for index, sweep in enumerate(work.sweeps):
            parts.setdefault(self._choose.of_sweep(sweep), []).append(index)
        if None in parts:
            return work.by_sweep(self.perform(work.expanded()))
        results: list[list[Result]] = [[] for _ in work.sweeps]
        for member, indices in parts.items():
            assert member is not None
            for index, rows in zip(indices, sweeps_carried_out_by(member, work.part(indices)), strict=True):
                results[index] = rows
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
