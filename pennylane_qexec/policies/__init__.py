"""Policies: selectors, splits, merges and retries, and the registry of their names."""

from pennylane_qexec.policies import merges, retries, selectors, splits
from pennylane_qexec.policies.registry import Policies

__all__ = ["Policies", "merges", "retries", "selectors", "splits"]
