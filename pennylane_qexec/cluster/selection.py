"""A cluster's policies at work: who runs a circuit, and with how many shots."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from pennylane.tape import QuantumScript

from pennylane_qexec.engine import ChainLock
from pennylane_qexec.errors import ConfigurationError, PolicyError
from pennylane_qexec.executors import Executor
from pennylane_qexec.job import Share
from pennylane_qexec.policies import selectors, splits


@dataclass(frozen=True, eq=False)
class Selection:
    """A selector and a split.

    Attributes:
        selector: who runs a circuit, whole.
        split: how a circuit's shots are shared out; ``None`` if they are not.
        lock: held while they are asked: they may have a memory.
    """

    selector: Any
    split: Any = None
    lock: ChainLock = field(default_factory=ChainLock)

    @cached_property
    def binds_late(self) -> bool:
        """Whether circuits wait for whoever is free first."""
        return self.selector is selectors.least_loaded and self.split is None

    @cached_property
    def of_one(self) -> bool:
        """Whether it has no say where there is one executor: it sends circuits whole, and is no user's function."""
        return self.split is None and selectors.is_built_in(self.selector)

    def is_split(self, circuit: QuantumScript) -> bool:
        """Whether the shots of a circuit are shared out."""
        return self.split is not None and bool(circuit.shots)

    def keeps_sweeps(self, circuit: QuantumScript) -> bool:
        """Whether who gets one circuit of a sweep gets them all, if that makes a difference.

        A function of the user's is asked for every circuit.
        """
        return splits.is_built_in(self.split) if self.is_split(circuit) else selectors.is_built_in(self.selector)

    def select(self, circuit: QuantumScript, candidates: Sequence[Executor]) -> Executor:
        """Ask the selector who is to run a circuit.

        Raises:
            PolicyError: it returned something that is not one of the candidates.
        """
        with self.lock.held():
            chosen = self.selector(circuit, candidates)
        if chosen not in candidates:
            names = ", ".join(repr(executor.name) for executor in candidates)
            raise PolicyError(
                f"the selector returned {chosen!r}, which is none of the executors that can run this circuit. "
                f"Return one of the executors it is given: {names}."
            )
        return chosen  # type: ignore[no-any-return]

    def shares(self, circuit: QuantumScript, candidates: Sequence[Executor]) -> list[Share]:
        """Ask the policy who is to run a circuit, and with how many shots.

        Raises:
            PolicyError: the policy returned something else.
        """
        total = circuit.shots.total_shots
        if self.split is None or total is None:
            return [Share(self.select(circuit, candidates), total or 0)]
        with self.lock.held():
            returned = self.split(circuit, candidates)
        return splits.checked(returned, total, candidates, adds_up=self.split is not splits.multiplier)

    def copy(self, kept: Iterable[Any]) -> Selection:
        """Copies of the policies, which may be asked without changing what these say next.

        A function is its own copy: what it remembers somewhere else, it remembers.

        Args:
            kept: what the policies may know, and is not copied: the executors.

        Raises:
            ConfigurationError: a policy cannot be copied.
        """
        known = {id(one): one for one in kept}
        with self.lock.held():
            return replace(
                self, selector=_copied(self.selector, known), split=_copied(self.split, known), lock=ChainLock()
            )


def _copied(policy: Any, known: dict[int, Any]) -> Any:
    try:
        return copy.deepcopy(policy, dict(known))
    except Exception as error:
        raise ConfigurationError(
            f"the policy {policy!r} cannot be copied ({error}), and asking it would change what it says next: give its "
            "class a method __deepcopy__."
        ) from error
