"""Asks a rule which of several executors gets a circuit, and says why."""

from __future__ import annotations

import time
import weakref
from collections.abc import Sequence
from typing import Any

from pennylane.tape import QuantumScript

from pennylane_qexec.errors import NoExecutorError, PolicyError
from pennylane_qexec.executors.base import Executor
from pennylane_qexec.executors.routing.rules import BySize, Rule, in_figures
from pennylane_qexec.executors.shots import as_asked, objection_to_shots

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
            reason = objection_to_shots(member, circuit) or member.rejects(member.with_shots(circuit))
            if reason is None and not member.status().online:
                reason = "is offline"
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
