"""The policies that one QuantumExecutor knows by name."""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pennylane_qexec.circuits.frameworks import read
from pennylane_qexec.errors import ConfigurationError, PolicyError, unknown
from pennylane_qexec.experiment import merges, splits
from pennylane_qexec.experiment.merges import ExperimentMerge
from pennylane_qexec.experiment.results import Results
from pennylane_qexec.experiment.splits import (
    BackendCandidate,
    CircuitRequest,
    ExperimentSplit,
    PaperSplit,
    named_backends,
)
from pennylane_qexec.policies import Policies
from pennylane_qexec.policies.merges import Merge

_SPLIT = "(circuit, shots, backends, virtual_provider, data) -> (Dispatch, data)"
_MERGE = "(results, data) -> (merged, data)"


class ExperimentPolicies:
    """Splits and merges by name. A split and a merge of the same name are two policies.

    Args:
        folder: where policies are read from: a file ``NAME.py`` has a function ``split``, one called ``merge``, or
            both.

    Raises:
        ConfigurationError: there is no such folder, or a file in it has neither function.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self._policies = Policies(np.random.default_rng())
        self._splits: dict[str, ExperimentSplit] = {}
        self._merges: dict[str, ExperimentMerge] = {}
        if folder is not None:
            self._read_folder(Path(folder))

    def add(self, name: str, split: Any = None, merge: Any = None) -> None:
        """Give a split, a merge or both a name; what had that name and is not given stays as it is.

        Args:
            name: how to call them.
            split: a function, or a file that has a function ``split``.
            merge: a function, or a file that has a function ``merge``.

        Raises:
            PolicyError: they are no such functions.
            ConfigurationError: neither is given, or there is no such file.
        """
        if split is None and merge is None:
            raise ConfigurationError(f"policy {name!r}: give split_policy=, merge_policy= or both.")
        made_split = None if split is None else _split_of(name, _from_file(split, "split"))
        made_merge = None if merge is None else _merge_of(name, _from_file(merge, "merge"))
        if made_split is not None:
            self._splits[name] = made_split
        if made_merge is not None:
            self._merges[name] = made_merge

    @property
    def split_names(self) -> list[str]:
        """The names that :meth:`split` knows."""
        return sorted({*self._splits, *self._policies.names("split"), *self._policies.names("selector")})

    @property
    def merge_names(self) -> list[str]:
        """The names that :meth:`merge` knows."""
        return sorted({*self._merges, *merges.BUILT_IN, *self._policies.names("merge")})

    def split(self, policy: Any) -> ExperimentSplit:
        """The split that a user's value means.

        Raises:
            PolicyError: nobody knows the name, or the value is no split.
        """
        if isinstance(policy, ExperimentSplit):
            return policy
        if isinstance(policy, str):
            if policy not in self._splits:
                self._splits[policy] = self._split_by_name(policy)
            return self._splits[policy]
        if isinstance(policy, Mapping):
            return splits.SharesSplit(self._policies.resolve("split", policy))
        return _split_of(getattr(policy, "__name__", "split"), policy)

    def merge(self, policy: Any) -> ExperimentMerge:
        """The merge that a user's value means.

        Raises:
            PolicyError: nobody knows the name, or the value is no merge.
        """
        if isinstance(policy, ExperimentMerge):
            return policy
        if not isinstance(policy, str):
            return _merge_of(getattr(policy, "__name__", "merge"), policy)
        if policy in self._merges:
            return self._merges[policy]
        if policy in merges.BUILT_IN:
            return merges.BUILT_IN[policy]
        if policy not in self._policies.names("merge"):
            hint = f"Pass a function {_MERGE}, or add one with add_policy(name=..., merge_policy=...)."
            raise PolicyError(unknown("merge", policy, self.merge_names, hint))
        return merges.of_cluster(policy, self._policies.resolve("merge", policy))

    def default_merge(self, split: Any, adds_up: bool) -> ExperimentMerge:
        """The merge for results of a split, if no other is asked for.

        It is the merge that was added under the split's name; else all shots are put together, unless each backend
        ran all of them.
        """
        if isinstance(split, str) and split in self._merges:
            return self._merges[split]
        return merges.aggregate if adds_up else merges.per_backend

    def split_function(self, name: str) -> PaperSplit:
        """A split by name, as a function with the paper's signature."""
        split = self.split(name)

        def function(circuit: Any, shots: Any, backends: Any, virtual_provider: Any, data: Any = None) -> Any:
            chosen = list(map(BackendCandidate, named_backends(backends, virtual_provider.get_backend)))
            request = CircuitRequest(circuit, read(circuit), 0, shots, chosen, {}, virtual_provider)
            return split.shared(request, data)

        return split.function if isinstance(split, splits.PaperFormSplit) else function

    def merge_function(self, name: str) -> merges.PaperMerge:
        """A merge by name, as a function with the paper's signature."""
        merge = self.merge(name)

        def function(results: Any, data: Any = None) -> tuple[Any, Any]:
            lengths = [len(found) for names in results.values() for found in names.values()]
            return merge.merged(Results.from_raw(results, many=max(lengths, default=1) > 1), data)

        return merge.function if isinstance(merge, merges.PaperFormMerge) else function

    def _split_by_name(self, name: str) -> ExperimentSplit:
        if name in self._policies.names("split"):
            return splits.SharesSplit(self._policies.resolve("split", name))
        if name in self._policies.names("selector"):
            return splits.SelectorSplit(self._policies.resolve("selector", name))
        hint = f"Pass a function {_SPLIT}, or add one with add_policy(name=..., split_policy=...)."
        raise PolicyError(unknown("split", name, self.split_names, hint))

    def _read_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ConfigurationError(f"policies_folder={str(folder)!r} is no folder.")
        for file in sorted(folder.glob("*.py")):
            if not file.stem.startswith("_"):
                found = _functions(file)
                self.add(file.stem, found.get("split"), found.get("merge"))


def _split_of(name: str, function: Any) -> ExperimentSplit:
    if _takes(function, 5):
        return splits.PaperFormSplit(name, function)
    if _takes(function, 2):
        return splits.SharesSplit(function)
    raise PolicyError(
        f"{function!r} is no split: give a name, or a function {_SPLIT} or (circuit, executors) -> [(executor, shots), "
        "...]."
    )


def _merge_of(name: str, function: Any) -> ExperimentMerge:
    if isinstance(function, Merge):
        return merges.of_cluster(name, function)
    if _takes(function, 2):
        return merges.PaperFormMerge(name, function)
    raise PolicyError(f"{function!r} is no merge: give a name, or a function {_MERGE}.")


def _takes(function: Any, number: int) -> bool:
    """Whether a function can be called with so many arguments."""
    if not callable(function):
        return False
    try:
        inspect.signature(function).bind(*[None] * number)
    except TypeError:
        return False
    return True


def _from_file(policy: Any, kind: str) -> Any:
    if not isinstance(policy, str | Path):
        return policy
    found = _functions(Path(policy))
    if kind not in found:
        raise ConfigurationError(f"{str(policy)!r} has no function called {kind!r}.")
    return found[kind]


def _functions(file: Path) -> dict[str, Callable[..., Any]]:
    """The functions ``split`` and ``merge`` of a file."""
    if not file.is_file():
        raise ConfigurationError(f"there is no file {str(file)!r} to read a policy from.")
    spec = importlib.util.spec_from_file_location(f"qexec_policy_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ConfigurationError(f"{str(file)!r} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigurationError(f"{str(file)!r} cannot be read ({type(error).__name__}: {error}).") from error
    found = {kind: value for kind in ("split", "merge") if callable(value := vars(module).get(kind))}
    if not found:
        raise ConfigurationError(f"{str(file)!r} has neither a function split{_SPLIT} nor merge{_MERGE}.")
    return found
