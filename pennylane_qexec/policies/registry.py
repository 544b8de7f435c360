"""Names for policies: the built-in ones, those of installed packages (entry points), and a cluster's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, Literal, cast

import numpy as np

from pennylane_qexec.errors import ConfigurationError, PolicyError, unknown
from pennylane_qexec.policies import merges, selectors, splits
from pennylane_qexec.policies.base import PolicyFactory

Kind = Literal["selector", "split", "merge"]

_BUILT_IN: Mapping[str, Mapping[str, Any]] = {
    "selector": selectors.BUILT_IN,
    "split": splits.BUILT_IN,
    "merge": merges.BUILT_IN,
}
_PARAMETRISED: Mapping[str, Mapping[str, Callable[..., Any]]] = {
    "selector": {"weighted": selectors.weighted},
    "split": {"weighted": splits.weighted},
    "merge": {},
}
_SIGNATURE = {
    "selector": "(circuit, executors) -> executor",
    "split": "(circuit, executors) -> [(executor, shots), ...]",
    "merge": "(circuit, outcomes) -> result",
}


class Policies:
    """The policies that one cluster knows by name.

    Args:
        rng: source of randomness of the policies that need one.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._own: dict[str, dict[str, Any]] = {kind: {} for kind in _BUILT_IN}

    def register(self, kind: Kind, name: str, policy: Callable[..., Any] | PolicyFactory | merges.Merge) -> None:
        """Give a policy a name on this cluster. A name given again means the newer policy.

        Args:
            kind: ``"selector"``, ``"split"`` or ``"merge"``.
            name: how to call it.
            policy: a callable with the signature of its kind, or a value such as ``selectors.weighted({...})``.

        Raises:
            ConfigurationError: there is no such kind, or the policy is neither.
        """
        if kind not in self._own:
            raise ConfigurationError(unknown("kind of policy", kind, self._own))
        if not _is_policy(policy):
            raise ConfigurationError(f"a {kind} must be a function {_SIGNATURE[kind]}, not {policy!r}.")
        self._own[kind][name] = policy

    def names(self, kind: Kind) -> list[str]:
        """The names known for this kind, in alphabetical order."""
        return sorted({*_BUILT_IN[kind], *self._own[kind], *(point.name for point in _entry_points(kind))})

    def resolve(self, kind: Kind, policy: Any) -> Any:
        """The policy that a user's value means, ready to be used by this cluster.

        Args:
            kind: ``"selector"``, ``"split"`` or ``"merge"``.
            policy: a name, a callable, or, as TOML files have it, a mapping from a parametrised policy's name to
                its arguments: ``{"weighted": {"lightning.qubit": 2}}``.

        Raises:
            PolicyError: nobody knows the name, or the value is no policy.
        """
        if isinstance(policy, str):
            policy = self._by_name(kind, policy)
        elif isinstance(policy, Mapping):
            policy = _from_mapping(kind, policy)
        if not _is_policy(policy):
            raise PolicyError(f"{policy!r} is no {kind}: give a name or a function {_SIGNATURE[kind]}.")
        if isinstance(policy, PolicyFactory):
            policy = policy.fresh(self._rng)
        return merges.of_callable(policy) if kind == "merge" else policy

    def anew(self, rng: np.random.Generator) -> Policies:
        """The same names, with another source of randomness."""
        policies = Policies(rng)
        policies._own = self._own
        return policies

    def portable(self, kind: Kind, policy: Any) -> Any:
        """A user's value, such that another cluster understands it: for a name known only here, what it means."""
        return self._own[kind].get(policy, policy) if isinstance(policy, str) else policy

    def _by_name(self, kind: Kind, name: str) -> Any:
        for known in (self._own[kind], _BUILT_IN[kind]):
            if name in known:
                return known[name]
        for point in _entry_points(kind):
            if point.name == name:
                return point.load()
        hint = f"Pass a function {_SIGNATURE[kind]}, or register one under the entry point 'pennylane_qexec.{kind}s'."
        raise PolicyError(unknown(kind, name, self.names(kind), hint))


def _is_policy(value: Any) -> bool:
    return callable(value) or isinstance(value, PolicyFactory | merges.Merge)


def _entry_points(kind: str) -> Any:
    return entry_points(group=f"pennylane_qexec.{kind}s")


def _from_mapping(kind: Kind, policy: Mapping[str, Any]) -> Any:
    known = _PARAMETRISED[kind]
    if len(policy) == 1:
        ((name, arguments),) = policy.items()
        if name in known:
            return cast(Any, known[name](arguments))
    raise PolicyError(unknown(f"{kind} with arguments", next(iter(policy), ""), known))
