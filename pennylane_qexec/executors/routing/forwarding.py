"""Circuits on their way to a member of a :class:`Hybrid`: how they know which, and how they run there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from pennylane.devices import ExecutionConfig
from pennylane.ops import MidMeasure
from pennylane.tape import QuantumScript

from pennylane_qexec.executors.base import Binder, Bound, Executor
from pennylane_qexec.executors.routing.chooser import Chooser
from pennylane_qexec.job import Call, Result, Work

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
